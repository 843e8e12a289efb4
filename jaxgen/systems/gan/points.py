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

from jaxgen import draw
from jaxgen.losses.adversarial import GANLoss
from jaxgen.losses.penalties import wgan_gp
from jaxgen.models.mlp import ToyCritic, ToyGenerator
from jaxgen.train.game import Player, System, Turn

LATENT = 2


def noise(key, n):
    return draw.normal(key, n, (LATENT,))


def points(
    gan_loss: GANLoss,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    penalty: float = 0.0,
    discriminator_steps: int = 1,
    width: int = 128,
) -> System:
    """penalty: WGAN-GP's weight lambda on D's slopes; 0 goes without."""

    def discriminator_loss(nets, batch, key):
        k1, k2 = jax.random.split(key)
        x = batch["x"]  # [b, 2]
        fake = nets.generator(noise(k1, len(x)))
        value = loss = gan_loss.discriminator(nets.discriminator(x), nets.discriminator(fake))
        if penalty:
            loss += penalty * wgan_gp(nets.discriminator.still, x, fake, k2)
        return loss, {"value": -value}

    def generator_loss(nets, batch, key):
        fake = nets.generator(noise(key, len(batch["x"])))
        return gan_loss.generator(nets.discriminator(fake)), {}

    def show(nets, batch, key):
        """Where 4,096 samples lie in [-2, 2]^2: the more, the darker."""
        drawn = nets.generator(noise(key, 4096))
        counts, _, _ = jnp.histogram2d(*drawn.T, bins=128, range=[[-2, 2]] * 2)
        return {"samples": 1 - 2 * jnp.minimum(counts.T[None, ::-1, :, None] / 4, 1)}

    return System(
        players={
            "generator": Player(ToyGenerator(width=width), [(2, LATENT)], generator_optimizer),
            "discriminator": Player(ToyCritic(width), [(2, 2)], discriminator_optimizer),
        },
        turns=(
            Turn(("discriminator",), discriminator_loss, times=discriminator_steps),
            Turn(("generator",), generator_loss),
        ),
        show=show,
        legends={"samples": "4,096 samples in [-2, 2] x [-2, 2]; the more, the darker"},
    )


def judge(gan_loss: GANLoss, nets, x, key):
    """(samples [n, 2], mean D(x), mean D(G(z)), V): D's logits as probabilities, V as by `game`."""
    drawn = nets.generator(noise(key, len(x)))
    on_real, on_fake = nets.discriminator(x), nets.discriminator(drawn)
    mean = lambda logits: jax.nn.sigmoid(logits).mean()
    return drawn, mean(on_real), mean(on_fake), -gan_loss.discriminator(on_real, on_fake)
