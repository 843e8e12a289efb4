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

from jaxgen.losses.adversarial import Pair, non_saturating
from jaxgen.sample.interpolation import lerp
from jaxgen.train import draw
from jaxgen.train.game import Judge, Player, System, Turn, Use

LATENT = 100
SQRT3 = 3**0.5  # z ~ U(-sqrt 3, sqrt 3) has variance 1


def noise(key, n):
    return draw.uniform(key, n, (LATENT,), -SQRT3, SQRT3)


def generate(nets, z):
    return nets.generator(z, train=False)


def show(nets, batch, key):
    return {"samples": generate(nets, noise(key, len(batch["image"])))}


def judge(nets, batch, key):
    """Logits of real images [b, H, W, C] in [-1, 1] and of as many samples."""
    real = batch["image"]
    return nets.discriminator(real), nets.discriminator(nets.generator(noise(key, len(real))))


def gan(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    game: Pair = non_saturating,
    steps: int = 1,
) -> System:
    """The players of Sec. 5 (`models.mlp.mnist` and its like) on images of `shape` [H, W, C].

    game: `non_saturating`, or `minimax` for Eq. 1 to the letter.  steps: k of Alg. 1.
    """

    def discriminator_loss(nets, batch, key):
        on_real, on_fake = judge(nets, batch, key)
        says_real = nn.sigmoid(on_real).mean(), nn.sigmoid(on_fake).mean()
        metrics = {"d_real": says_real[0], "d_fake": says_real[1]}
        return game.tell(on_real, on_fake) / 2, metrics  # the code's mean of the two terms

    def generator_loss(nets, batch, key):
        fake = nets.generator(noise(key, len(batch["image"])))
        return game.fool(nets.discriminator(fake)), {}

    return System(
        players={
            "generator": Player(generator, [(2, LATENT)], generator_optimizer),
            "discriminator": Player(
                discriminator, [jnp.zeros((2, *shape))], discriminator_optimizer
            ),
        },
        turns=(
            Turn(("discriminator",), discriminator_loss, times=steps),
            Turn(("generator",), generator_loss, fresh=False, own_noise=True),
        ),
        show=show,
        use=Use(noise, generate, lerp),
        judge=Judge(judge),
    )
