"""Conditional generative adversarial nets (Mirza & Osindero, 2014),
https://arxiv.org/abs/1411.1784.

Both players of a GAN are told a label y (Eq. 2):

    min_G max_D V(D, G) = E_x log D(x|y) + E_z log(1 - D(G(z|y))).

The code of DCGAN (Radford et al., 2016), https://arxiv.org/abs/1511.06434, plays it on MNIST.  That
of the projection discriminator (Miyato & Koyama, 2018), https://arxiv.org/abs/1802.05637, has the
hinge loss.  AC-GAN's D (Odena et al., 2017), https://arxiv.org/abs/1610.09585, is not told the
label but reads it: both players also descend the cross-entropy of what it reads, D of data and of
samples, G of samples (their L_C).

Deviations.  G ascends log D(G(z|y)), as the codes do.  A sample's label is that of the example
beside it, so that both have one distribution.  DCGAN's code lets G learn first, and has a penalty
of 2.5e-5 on the squares of the weights, which its paper does not mention; here D learns first,
without it.  The projection's G learns from twice as many samples as D, at a rate that falls; here
from as many, at a constant rate.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.latents import Prior
from jaxgen.losses.adversarial import GANLoss, non_saturating
from jaxgen.systems.gan.conditional import LEGENDS, by_class
from jaxgen.train.abilities import DiscriminatorScores, Sampler
from jaxgen.train.game import Player, System, Turn

LATENT = 100


def cgan(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    classes: int,
    prior: Prior,
    interpolate: Callable,
    optimizers: Sequence[optax.GradientTransformation],
    gan_loss: GANLoss = non_saturating,
    reads: bool = False,
    steps: int = 1,
    ema: float | None = None,
) -> System:
    """Networks of `models.cgan` on images of `shape` [H, W, C] with labels below `classes`.

    optimizers: the generator's and the discriminator's.
    reads: the discriminator is AC-GAN's, which gives logits of the classes.
    steps: the discriminator's a round.  ema: decay of the generator's averaged weights.
    """

    def judged(nets, image, label):
        """D's logits [b], and the cross-entropy of the labels that it reads, if it does."""
        if not reads:
            return nets.discriminator(image, label), 0.0
        logits, read = nets.discriminator(image)
        return logits, optax.softmax_cross_entropy_with_integer_labels(read, label).mean()

    def made(nets, batch, key):
        return nets.generator(prior(key, len(batch["label"])), batch["label"])

    def both(nets, batch, key):
        real, fake = batch["image"], made(nets, batch, key)
        return judged(nets, real, batch["label"]), judged(nets, fake, batch["label"])

    def scores(nets, batch, key):
        (on_real, _), (on_fake, _) = both(nets, batch, key)
        return on_real, on_fake

    def discriminator_loss(nets, batch, key):
        (on_real, read_real), (on_fake, read_fake) = both(nets, batch, key)
        accuracy = ((on_real > 0).mean() + (on_fake < 0).mean()) / 2
        loss = gan_loss.discriminator(on_real, on_fake) + read_real + read_fake
        return loss, {"accuracy": accuracy}

    def generator_loss(nets, batch, key):
        on_fake, read = judged(nets, made(nets, batch, key), batch["label"])
        return gan_loss.generator(on_fake) + read, {}

    def generate(nets, z, condition, key):
        return nets.generator(z, condition["label"], train=False)

    label = jnp.zeros(2, jnp.int32)
    of_generator, of_discriminator = optimizers
    return System(
        players={
            "generator": Player(generator, [(2, LATENT), label], of_generator, ema=ema),
            "discriminator": Player(
                discriminator, [(2, *shape), *[label] * (not reads)], of_discriminator
            ),
        },
        turns=(
            Turn(("discriminator",), discriminator_loss, times=steps),
            Turn(("generator",), generator_loss, reuse="batch"),
        ),
        show=by_class(prior, classes, generate),
        legends=LEGENDS,
        abilities=(
            Sampler(prior, generate, interpolate, ("label",)),
            DiscriminatorScores(scores, log_odds=gan_loss is non_saturating),
        ),
    )
