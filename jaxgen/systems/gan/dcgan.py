"""DCGAN (Radford, Metz & Chintala, 2016), https://arxiv.org/abs/1511.06434.

A GAN of strided convolutions with batch normalisation.  D and G play

    min_G max_D  E_x log D(x) + E_z log(1 - D(G(z))),

G by its non-saturating form, as all codes of the paper do.

Deviations.  The paper's Theano code steps G first, then D, on alternating minibatches, and adds
an L2 penalty of 1e-5 that the paper does not mention; here as in dcgan.torch D steps first and G
learns from the same fakes, without the penalty. As there, a round moves the running statistics of
G once and those of D three times: by real images, by fakes, and by the fakes again in G's turn.
"""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.latents import Prior, normal, slerp
from jaxgen.losses.adversarial import GANLoss, non_saturating
from jaxgen.systems.gan import plain
from jaxgen.train.abilities import DiscriminatorScores, Sampler
from jaxgen.train.game import Player, System, Turn

LATENT = 100


def dcgan(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    prior: Prior = normal(LATENT),  # noqa: B008
    interpolate: Callable = slerp,
    lr: float = 2e-4,
    discriminator_lr: float = 2e-4,
    gan_loss: GANLoss = non_saturating,
    augment: plain.Augmentation = plain.NONE,
) -> System:
    """Networks of `models.dcgan` on images of `shape` [H, W, C].

    prior: N(0, I) for the 4x4 networks of dcgan.torch, U(-1, 1) for the paper's 5x5 ones.
    interpolate: along the arc for N(0, I), `lerp` for the uniform prior.
    augment: what the discriminator is shown.
    """
    scores = plain.scores(prior, augment, again=True)

    def discriminator_loss(nets, batch, key):
        on_real, on_fake = scores(nets, batch, key)
        accuracy = ((on_real > 0).mean() + (on_fake < 0).mean()) / 2
        metrics = {"accuracy": accuracy} | augment.adapt(nets, on_real)
        return gan_loss.discriminator(on_real, on_fake), metrics

    generator_loss = plain.generator_loss(gan_loss, prior, augment)
    adam = lambda lr: optax.adam(lr, b1=0.5, b2=0.999)
    return System(
        players={
            "generator": Player(generator, [(2, LATENT)], adam(lr)),
            "discriminator": Player(
                discriminator, [jnp.zeros((2, *shape))], adam(discriminator_lr)
            ),
            **augment.players,
        },
        turns=(
            Turn(("discriminator",), discriminator_loss),
            Turn(("generator",), generator_loss, reuse="batch+noise"),
        ),
        abilities=(Sampler(prior, interpolate=interpolate), DiscriminatorScores(scores)),
    )
