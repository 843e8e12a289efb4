"""Wasserstein GAN (Arjovsky, Chintala & Bottou, 2017), https://arxiv.org/abs/1701.07875.

A critic f estimates the earth-mover distance between data and samples (Eqs. 2 and 3),

    W(P_r, P_g) = max_{|f|_L <= 1}  E_{x ~ P_r} f(x) - E_{z ~ N(0, I)} f(g(z)),

and the generator g descends the estimate.  f is kept Lipschitz by clipping its weights (Alg. 1).

Deviations.  As Alg. 1 says, and unlike the authors' code, the clipping follows each step rather
than precedes it: the code's generator sees a critic one step outside of the box, and our critic's
very first step starts outside.  The code's signs are both the other way round: the same game.
"""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.losses.adversarial import wasserstein as game
from jaxgen.train import draw
from jaxgen.train.game import Judge, Player, System, Turn, Use
from jaxgen.train.optim import clip_weights, rmsprop

LATENT = 100


def authors_schedule(few: int = 5, many: int = 100, first: int = 25, again: int = 500):
    """Critic steps by round: the code trains the critic well early, and again now and then."""
    return lambda round: many if round < first or round % again == 0 else few


def noise(key, n):
    return draw.normal(key, n, (LATENT,))


def judge(nets, batch, key):
    """Scores of real images [b, H, W, C] in [-1, 1] and of as many samples."""
    real = batch["image"]
    return nets.critic(real), nets.critic(nets.generator(noise(key, len(real))))


def critic_loss(nets, batch, key):
    on_real, on_fake = judge(nets, batch, key)
    return game.tell(on_real, on_fake), {"distance": on_real.mean() - on_fake.mean()}


def generator_loss(nets, batch, key):
    fake = nets.generator(noise(key, len(batch["image"])))
    return game.fool(nets.critic(fake)), {}


def generate(nets, z):
    return nets.generator(z, train=False)


def show(nets, batch, key):
    return {"samples": generate(nets, noise(key, len(batch["image"])))}


def wgan(
    generator: nn.Module,
    critic: nn.Module,
    shape: tuple[int, int, int],
    lr: float = 5e-5,
    clip: float = 0.01,
    critic_steps: int | Callable[[int], int] = 5,
) -> System:
    """DCGAN's networks without the sigmoid, or those of Sec. 4.3, on images of `shape` [H, W, C].

    critic_steps: a round; `authors_schedule()` is the released code's.
    """
    clipped = optax.chain(rmsprop(lr), clip_weights(clip))
    return System(
        players={
            "generator": Player(generator, [(2, LATENT)], rmsprop(lr)),
            "critic": Player(critic, [jnp.zeros((2, *shape))], clipped),
        },
        turns=(
            Turn(("critic",), critic_loss, times=critic_steps),
            Turn(("generator",), generator_loss, fresh=False, own_noise=True),
        ),
        show=show,
        use=Use(noise, generate),
        judge=Judge(judge, log_odds=False),
    )
