"""Reducing the dimensionality of data with neural networks (Hinton & Salakhutdinov, Science 2006),
https://doi.org/10.1126/science.1127647.

A deep autoencoder of logistic units, with a linear code, learns to give back its input,

    - sum_i (p_i log q_i + (1 - p_i) log(1 - q_i)),   p the pixel, q what is given back.

It starts as a stack of restricted Boltzmann machines, each trained on the hidden probabilities of
the one below by contrastive divergence (CD-1, the authors' code):

    dW = rate (<v h>_data - <v h>_reconstruction - cost W),   with momentum,

and unrolled: the decoder has the transposed weights.

Deviations.  Adam fine-tunes, the paper has conjugate gradients.  A machine learns from the
probabilities that the finished one below gives, the authors' code from those of its last epoch.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen import draw
from jaxgen.losses.likelihood import bernoulli_log_likelihood
from jaxgen.models.autoencoder import RBM, unrolled
from jaxgen.train.abilities import Autoencoder
from jaxgen.train.game import Player, System, Turn


def contrastive_divergence(params, v, noise, linear: bool) -> tuple[jax.Array, jax.Array]:
    """(loss, summed squared error [b]) of one step from visible probabilities v [b, n]: the loss's
    gradient is minus the differences of the statistics.

    noise: uniform in [0, 1), or normal for linear hidden units, [b, hidden].
    """
    fixed = jax.lax.stop_gradient(params)
    mean = lambda v: v @ fixed["weights"] + fixed["hidden"]
    probability = mean if linear else lambda v: nn.sigmoid(mean(v))
    up = probability(v)
    h = up + noise if linear else jnp.float32(up > noise)
    again = nn.sigmoid(h @ fixed["weights"].T + fixed["visible"])
    down = probability(again)
    statistics = {
        "weights": (v.T @ up - again.T @ down) / len(v),
        "visible": (v - again).mean(0),
        "hidden": (up - down).mean(0),
    }
    loss = -jnp.asarray(optax.tree.vdot(statistics, params))
    return loss, ((v - again) ** 2).sum(1)


def rbm_optimizer(rate: float, cost: float = 2e-4, late: int = 0) -> optax.GradientTransformation:
    """The authors': momentum 0.5, from step `late` on 0.9, and a cost of the weights alone."""
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


def machine(
    below: Sequence[RBM],
    module: RBM,
    shape: tuple[int, int, int],
    optimizer: optax.GradientTransformation,
) -> System:
    """An RBM on the hidden probabilities of those `below`, which are finished."""
    size = shape[0] * shape[1] * shape[2]
    widths = [size, *(m.hidden for m in below)]
    names = [f"rbm_{i}" for i in range(len(below) + 1)]

    def visible(nets, batch):
        v = ((batch["image"] + 1) / 2).reshape(-1, size)
        for name in names[:-1]:
            v = getattr(nets, name)(v)
        return v

    def loss(nets, batch, key):
        v = visible(nets, batch)
        net = getattr(nets, names[-1])
        noise = (draw.normal if module.linear else draw.uniform)(key, len(v), (module.hidden,))
        value, error = contrastive_divergence(net.params, v, noise, module.linear)
        return value, {"squared_error": error.mean()}

    def show(nets, batch, key):
        """Images beside what all machines, up and down again, make of them."""
        x = batch["image"][:32]
        h = ((x + 1) / 2).reshape(len(x), -1)
        for name in names:
            h = getattr(nets, name)(h)
        for name in names[::-1]:
            p = getattr(nets, name).params
            h = nn.sigmoid(h @ p["weights"].T + p["visible"])
        return {"reconstructions": jnp.concatenate([x, 2 * h.reshape(x.shape) - 1], axis=2)}

    players = {
        name: Player(m, [(2, width)]) for name, m, width in zip(names, below, widths, strict=False)
    }
    players[names[-1]] = Player(module, [(2, widths[-1])], optimizer)
    return System(players, (Turn((names[-1],), loss),), show)


def autoencoder(
    encoder: nn.Module,
    decoder: nn.Module,
    shape: tuple[int, int, int],
    latent: int,
    optimizer: optax.GradientTransformation,
) -> System:
    """Networks of `models.autoencoder` on images of `shape` [H, W, C], with `latent` numbers."""

    def loss(nets, batch, key):
        x = (batch["image"] + 1) / 2
        logits = nets.decoder(nets.encoder(x))
        error = ((x - nn.sigmoid(logits)) ** 2).sum((1, 2, 3)).mean()
        return -bernoulli_log_likelihood(x, logits).mean(), {"squared_error": error}

    def encode(nets, images):
        return nets.encoder((images + 1) / 2)

    def decode(nets, z):
        return 2 * nn.sigmoid(nets.decoder(z)) - 1

    def show(nets, batch, key):
        """Images beside their reconstructions; and, where codes have two numbers, the plane of
        them."""
        x = batch["image"][:32]
        again = decode(nets, encode(nets, x))
        pictures = {"reconstructions": jnp.concatenate([x, again], axis=2)}
        if latent == 2:
            z = encode(nets, batch["image"])
            low, high = z.min(0), z.max(0)
            a, b = (jnp.linspace(low[i], high[i], 20) for i in (0, 1))
            grid = jnp.stack(jnp.meshgrid(a, b), axis=-1).reshape(-1, 2)
            rows = decode(nets, grid).reshape(20, 20, *shape).swapaxes(1, 2)
            pictures["plane"] = rows.reshape(1, 20 * shape[0], 20 * shape[1], shape[2])
        return pictures

    return System(
        players={
            "encoder": Player(encoder, [(2, *shape)], optimizer),
            "decoder": Player(decoder, [(2, latent)], optimizer),
        },
        turns=(Turn(("encoder", "decoder"), loss),),
        show=show,
        abilities=(Autoencoder(encode, decode),),
    )


def unroll(old, fresh):
    """The states of an autoencoder that starts from machines; for `Stage.carry`."""
    machines = [old[name].params for name in sorted(old)]
    up, down = unrolled(machines)
    return {
        "encoder": fresh["encoder"].replace(params=up),
        "decoder": fresh["decoder"].replace(params=down),
    }
