"""DCGAN (Radford, Metz & Chintala, 2016), https://arxiv.org/abs/1511.06434.

A GAN of strided convolutions with batch normalisation.  D and G play

    min_G max_D  E_x log D(x) + E_z log(1 - D(G(z))),

G by its non-saturating form, as all codes of the paper do.

Deviations.  The paper's Theano code steps G first, then D, on alternating minibatches, and adds
an L2 penalty of 1e-5 that the paper does not mention; here as in dcgan.torch D steps first and G
learns from the same fakes, without the penalty.
"""

import jax.numpy as jnp
import optax

from jaxgen.losses.adversarial import non_saturating as game
from jaxgen.models import dcgan as models
from jaxgen.sample.interpolation import lerp, slerp
from jaxgen.train import draw
from jaxgen.train.game import Player, System, Turn, Use

LATENT = 100


def dcgan(
    size: int,
    channels: int,
    variant: str = "torch",
    width: int = 64,
    lr: float = 2e-4,
) -> System:
    """variant: "torch" (4x4 kernels, z ~ N(0, I)) or "paper" (5x5, z ~ U(-1, 1), width 128)."""
    paper = variant == "paper"
    generator = models.PaperGenerator if paper else models.Generator
    discriminator = models.PaperDiscriminator if paper else models.Discriminator

    def noise(key, n):
        if paper:
            return draw.uniform(key, n, (LATENT,), -1.0, 1.0)
        return draw.normal(key, n, (LATENT,))

    def discriminator_loss(nets, batch, key):
        real = batch["image"]  # [b, H, W, C] in [-1, 1]
        on_real = nets.discriminator(real)  # two passes: each has its own batch statistics
        on_fake = nets.discriminator(nets.generator(noise(key, len(real))))
        accuracy = ((on_real > 0).mean() + (on_fake < 0).mean()) / 2
        return game.tell(on_real, on_fake), {"accuracy": accuracy}

    def generator_loss(nets, batch, key):
        fake = nets.generator(noise(key, len(batch["image"])))
        return game.fool(nets.discriminator(fake)), {}

    def show(nets, batch, key):
        return {"samples": generate(nets, noise(key, len(batch["image"])))}

    def generate(nets, z):
        return nets.generator(z, train=False)

    adam = optax.adam(lr, b1=0.5, b2=0.999)
    return System(
        players={
            "generator": Player(generator(size, channels, width), [(2, LATENT)], adam),
            "discriminator": Player(
                discriminator(size, width), [jnp.zeros((2, size, size, channels))], adam
            ),
        },
        turns=(
            Turn(("discriminator",), discriminator_loss),
            Turn(("generator",), generator_loss, fresh=False),
        ),
        show=show,
        use=Use(noise, generate, lerp if paper else slerp),
    )
