"""Optimizer pieces that optax lacks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgen.train.game import counts


def clip_weights(limit: float) -> optax.GradientTransformation:
    """Changes updates so that the new weights stay in [-limit, limit] (WGAN, Alg. 1, line 7)."""

    def update(updates, state, params):
        clip = lambda w, u: jnp.clip(w + u, -limit, limit) - w
        return jax.tree.map(clip, params, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def rmsprop(learning_rate) -> optax.GradientTransformation:
    """RMSProp as torch has it, g / (sqrt(v) + 1e-8) with v's decay 0.99.

    optax's own defaults differ (decay 0.9, epsilon inside the root), and with gradients as small
    as a clipped critic's the steps come out up to 3.5 times smaller.
    """
    return optax.rmsprop(learning_rate, decay=0.99, eps=1e-8, eps_in_sqrt=False)


def linear_decay(lr: float, constant: int, decay: int, steps_per_epoch: int = 1) -> optax.Schedule:
    """`lr` for `constant` epochs, then down to 0 in `decay` epochs (pix2pix, CycleGAN).

    As their PyTorch code does it, by the epoch e = 1, 2, ...: lr (1 - max(0, e - constant + 1) /
    (decay + 1)). So the last epoch of the constant ones is lower already, and the last one of all
    learns nothing. (The Torch code subtracts lr / decay after each of the last `decay` epochs.)
    """

    def schedule(step):
        epoch = step // steps_per_epoch + 1
        share = jnp.clip((epoch - constant + 1) / (decay + 1), 0, 1)
        return lr * (1 - share)

    return schedule


def exponential_decay(lr: float, steps: int, factor: float) -> optax.Schedule:
    """`lr`, times `factor` in so many steps.  (optax's own decides by `factor`.)"""

    def schedule(step):
        return jnp.where(step <= 0, lr, lr * jnp.power(factor, step / steps))

    return schedule


def warm_up_cosine(lr: float, warm_up: int, steps: int) -> optax.Schedule:
    """From 0 to `lr` in a line of `warm_up` steps, then to 0 at `steps` as a cosine.  (optax's own
    decides by `lr`, so that it takes no traced one.)"""
    rise = optax.linear_schedule(0.0, lr, warm_up)
    fall = optax.cosine_decay_schedule(lr, steps - warm_up)
    return optax.join_schedules([rise, fall], [warm_up])


def sgd_goodfellow(
    learning_rate: float, rounds: int, decay: float = 1.000004
) -> optax.GradientTransformation:
    """SGD of GAN (2014): rate / decay after every minibatch, momentum from 0.5 to 0.7.

    The released code raises the momentum linearly over 250 epochs; here over `rounds`.  It is the
    classic one, v <- m v - lr g: the rate scales what enters the velocity.
    """

    def init(params):
        return optax.TraceState(jax.tree.map(jnp.zeros_like, params)), jnp.zeros((), jnp.int32)

    def update(updates, state, params=None):
        trace, count = state
        rate = jnp.maximum(learning_rate * decay ** -count.astype(jnp.float32), 1e-6)
        momentum = 0.5 + 0.2 * jnp.clip(count / rounds, 0, 1)
        velocity = jax.tree.map(lambda v, g: momentum * v - rate * g, trace.trace, updates)
        return velocity, (optax.TraceState(velocity), count + 1)

    return optax.GradientTransformation(init, update)


def lazy_adam(
    lr: float, every: int, b1: float = 0.0, b2: float = 0.99
) -> optax.GradientTransformation:
    """Adam for a player of which a regulariser is played in every so many rounds, as a step of its
    own (Karras et al., 2020, https://arxiv.org/abs/1912.04958, App. B): its constants suit
    `every` + 1 steps where there were `every`. 0: there is none, and it is plain Adam."""
    c = every / (every + 1) if every else 1.0
    return optax.adam(lr * c, b1=b1**c, b2=b2**c)


def half_life(images: float, batch_size: int, ramp_up: float = 0.0) -> Callable[[jax.Array], Any]:
    """The decay by round (`Player.ema`) of weights averaged with a half-life of so many images;
    with `ramp_up` it is that share of the images seen so far, as long as that is less (the code of
    ADA, https://arxiv.org/abs/2006.06676)."""

    def decay(round):
        seen = (round + 1.0) * batch_size
        swept = isinstance(ramp_up, jax.Array)  # and 0 may be among its values
        share = jnp.where(ramp_up == 0, jnp.inf, ramp_up) if swept else ramp_up
        life = jnp.minimum(images, seen * share) if counts(share) else images
        return 0.5 ** (batch_size / life)

    return decay


def rbm(rate: float, cost: float = 2e-4, late: int = 0) -> optax.GradientTransformation:
    """Gradient steps of Hinton & Salakhutdinov's code for Boltzmann machines (2006): momentum 0.5,
    from step `late` on 0.9, and a cost of the weights alone."""
    is_weight = lambda params: {name: name == "weights" for name in params}

    def update(grads, state, params):
        step, moving = state
        momentum = jnp.where(step < late, 0.5, 0.9)
        moving = jax.tree.map(lambda m, g: momentum * m - rate * g, moving, grads)
        return moving, (step + 1, moving)

    start = lambda params: (jnp.zeros((), jnp.int32), optax.tree.zeros_like(params))
    return optax.chain(
        optax.add_decayed_weights(cost, is_weight), optax.GradientTransformation(start, update)
    )
