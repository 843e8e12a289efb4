"""Generative adversarial nets (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661.

Two networks play a minimax game with the value (Eq. 1)

    min_G max_D V(D, G) = E_x log D(x) + E_z log(1 - D(G(z))).

Algorithm 1: k minibatches ascend the discriminator, then one descends the generator, which in
practice ascends log D(G(z)) instead (Sec. 3).  At the optimum D = 1/2 and V = -log 4.

Deviations.  The released code updates both networks at once, from the same weights; here as in
Alg. 1 the discriminator goes first.  The limit on the norm of the weights' columns, which the code
has for the Toronto faces, is left out.
"""

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.latents import lerp, uniform
from jaxgen.losses.adversarial import GANLoss, non_saturating
from jaxgen.systems.gan import plain
from jaxgen.train.abilities import DiscriminatorScores, Sampler
from jaxgen.train.game import Player, System, Turn

LATENT = 100
prior = uniform(LATENT, -(3**0.5), 3**0.5)  # of variance 1


def gan(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    gan_loss: GANLoss = non_saturating,
    steps: int = 1,
    from_mean: bool = True,
    augment: plain.Augmentation = plain.NONE,
) -> System:
    """The players of Sec. 5 (`models.mlp.mnist` and its like) on images of `shape` [H, W, C].

    gan_loss: `non_saturating`, or `minimax` for Eq. 1 to the letter.  steps: k of Alg. 1.
    from_mean: start the generator at the mean training image, as in the released code.
    augment: what the discriminator is shown.
    """
    scores = plain.scores(prior, augment)

    def start(examples):
        latents = jnp.zeros((2, LATENT))
        return (latents, examples(1000)["image"].mean(axis=0)) if from_mean else (latents,)

    def discriminator_loss(nets, batch, key):
        on_real, on_fake = scores(nets, batch, key)
        says_real = nn.sigmoid(on_real).mean(), nn.sigmoid(on_fake).mean()
        metrics = {"d_real": says_real[0], "d_fake": says_real[1]}
        loss = gan_loss.discriminator(on_real, on_fake) / 2  # the code's mean of the two terms
        return loss, metrics | augment.adapt(nets, on_real)

    return System(
        players={
            "generator": Player(generator, start, generator_optimizer),
            "discriminator": Player(
                discriminator, [jnp.zeros((2, *shape))], discriminator_optimizer
            ),
            **augment.players,
        },
        turns=(
            Turn(("discriminator",), discriminator_loss, times=steps),
            Turn(("generator",), plain.generator_loss(gan_loss, prior, augment), reuse="batch"),
        ),
        abilities=(Sampler(prior, interpolate=lerp), DiscriminatorScores(scores)),
    )
