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
from flax import linen as nn

from jaxgen.losses.adversarial import non_saturating as game
from jaxgen.sample.interpolation import lerp, slerp
from jaxgen.train import draw
from jaxgen.train.game import Judge, Player, System, Turn, Use

LATENT = 100


def normal(key, n):
    return draw.normal(key, n, (LATENT,))


def uniform(key, n):
    return draw.uniform(key, n, (LATENT,), -1.0, 1.0)


def dcgan(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    noise=normal,
    lr: float = 2e-4,
) -> System:
    """Networks of `models.dcgan` on images of `shape` [H, W, C].

    noise: `normal` for the 4x4 networks of dcgan.torch, `uniform` for the paper's 5x5 ones.
    """

    def judge(nets, batch, key):
        """Logits of real images [b, H, W, C] in [-1, 1] and of as many samples."""
        real = batch["image"]
        on_real = nets.discriminator(real)  # two passes: each has its own batch statistics
        return on_real, nets.discriminator(nets.generator(noise(key, len(real))))

    def discriminator_loss(nets, batch, key):
        on_real, on_fake = judge(nets, batch, key)
        accuracy = ((on_real > 0).mean() + (on_fake < 0).mean()) / 2
        return game.tell(on_real, on_fake), {"accuracy": accuracy}

    def generator_loss(nets, batch, key):
        fake = nets.generator(noise(key, len(batch["image"])))
        return game.fool(nets.discriminator(fake)), {}

    def generate(nets, z):
        return nets.generator(z, train=False)

    def show(nets, batch, key):
        return {"samples": generate(nets, noise(key, len(batch["image"])))}

    adam = optax.adam(lr, b1=0.5, b2=0.999)
    return System(
        players={
            "generator": Player(generator, [(2, LATENT)], adam),
            "discriminator": Player(discriminator, [jnp.zeros((2, *shape))], adam),
        },
        turns=(
            Turn(("discriminator",), discriminator_loss),
            Turn(("generator",), generator_loss, fresh=False),
        ),
        show=show,
        use=Use(noise, generate, slerp if noise is normal else lerp),
        judge=Judge(judge),
    )
