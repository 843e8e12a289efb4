"""A GAN of points in the plane, by any of the adversarial losses.

The generator g and the discriminator D play `game` (`jaxgen.losses.adversarial`) on a distribution
that can be seen at a glance, as in the toy study of WGAN-GP (Gulrajani et al., 2017, Fig. 2),
https://arxiv.org/abs/1704.00028.  D gives logits; where they stand for probabilities, theory has
them at equilibrium (Goodfellow et al., 2014, Theorem 1):

    p_g = p_data,    D(x) = 1/2 everywhere,    V(D, G) = -log 4.

With `wasserstein` and a `penalty` it is WGAN-GP, and V is its estimate of the distance, which goes
to 0.
"""

import jax
import jax.numpy as jnp
import optax

from jaxgen.losses.adversarial import Pair
from jaxgen.losses.penalties import wgan_gp
from jaxgen.models.mlp import ToyCritic, ToyGenerator
from jaxgen.train import draw
from jaxgen.train.game import Player, System, Turn

LATENT = 2
SIDE = 2.0  # pictures show [-SIDE, SIDE]^2


def noise(key, n):
    return draw.normal(key, n, (LATENT,))


def points(
    game: Pair,
    penalty: float = 0.0,
    discriminator_steps: int = 1,
    width: int = 128,
    lr: float = 1e-4,
    generator_lr: float | None = None,
    betas: tuple[float, float] = (0.5, 0.9),
) -> System:
    """penalty: WGAN-GP's weight lambda on D's slope; 0 goes without. generator_lr: `lr` by default."""

    def discriminator_loss(nets, batch, key):
        k1, k2 = jax.random.split(key)
        x = batch["x"]  # [b, 2]
        fake = nets.generator(noise(k1, len(x)))
        on_real, on_fake = nets.discriminator(x), nets.discriminator(fake)
        loss = value = game.tell(on_real, on_fake)
        if penalty:
            loss += penalty * wgan_gp(nets.discriminator.still, x, fake, k2)
        return loss, {"value": -value}

    def generator_loss(nets, batch, key):
        fake = nets.generator(noise(key, len(batch["x"])))
        return game.fool(nets.discriminator(fake)), {}

    def show(nets, batch, key):
        drawn = nets.generator(noise(key, 4096))
        counts, _, _ = jnp.histogram2d(*drawn.T, bins=128, range=[[-SIDE, SIDE]] * 2)
        return {"samples": 1 - 2 * jnp.minimum(counts.T[None, ::-1, :, None] / 4, 1)}

    def adam(rate):
        return optax.adam(rate, *betas)

    return System(
        players={
            "generator": Player(ToyGenerator(width=width), [(2, LATENT)], adam(generator_lr or lr)),
            "discriminator": Player(ToyCritic(width), [(2, 2)], adam(lr)),
        },
        turns=(
            Turn(("discriminator",), discriminator_loss, times=discriminator_steps),
            Turn(("generator",), generator_loss),
        ),
        show=show,
    )
