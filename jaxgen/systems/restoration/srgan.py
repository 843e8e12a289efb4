"""SRGAN (Ledig et al., 2017), https://arxiv.org/abs/1609.04802.

Photo-realistic single image super-resolution using a generative adversarial network. G enlarges
fourfold. It first learns pixels (SRResNet, Eq. 4), then the features phi of a classifier and to
fool D, which tells its images from true ones (Eqs. 2, 3 and 5):

    min_G max_D  E |phi(x) - phi(G(x_low))|^2 + 10^-3 (E log D(x) + E log(1 - D(G(x_low)))),

G by its non-saturating form -log D(G(x_low)), as in the paper.

Deviations. Small images are rounded to 8 bits, as the files are that G is used on. The paper does
not say whether D and G learn from the same minibatch; here they do.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.losses.adversarial import non_saturating as game
from jaxgen.nn.resample import matlab_bicubic
from jaxgen.train.game import Apply, Judge, Player, System, Turn

SCALE = 4
STRIPS = 24  # examples in a picture


def low(images):
    """A quarter of the size: [b, H, W, C] in [-1, 1] to [b, H/4, W/4, C] in [0, 1]."""
    small = matlab_bicubic((images + 1) / 2, 1 / SCALE).clip(0, 1)
    return jnp.round(small * 255) / 255


def upscale(nets, images, key):
    """Images in [-1, 1] of any size, four times as large."""
    return nets.generator(jnp.asarray(images + 1) / 2, train=False).clip(-1, 1)


def pair(batch):
    """(small images in [-1, 1], the true ones)."""
    return low(batch["image"]) * 2 - 1, batch["image"]


def show(nets, batch, key):
    """Strips: bicubic, enlarged by G, true."""
    small, true = pair({"image": batch["image"][:STRIPS]})
    bicubic = matlab_bicubic(small, SCALE).clip(-1, 1)
    return {"samples": jnp.concatenate([bicubic, upscale(nets, small, key), true], axis=2)}


APPLY = {"upscale": Apply(upscale, pair, scale=SCALE)}


def _enlarging(module: nn.Module, shape, optimizer) -> Player:
    height, width, channels = shape
    return Player(module, [(2, height // SCALE, width // SCALE, channels)], optimizer)


def srresnet(
    generator: nn.Module, shape: tuple[int, int, int], optimizer: optax.GradientTransformation
) -> System:
    """G alone, by the mean square error of pixels (Eq. 4). `shape` [H, W, C] is that of the large
    images; their sides are multiples of 4."""

    def loss(nets, batch, key):
        true = batch["image"]
        square = ((nets.generator(low(true)) - true) ** 2).mean((1, 2, 3))
        return square.mean(), {"psnr": -10 * jnp.log10(square / 4 + 1e-9).mean()}

    players = {"generator": _enlarging(generator, shape, optimizer)}
    return System(players, (Turn(("generator",), loss),), show, apply=APPLY)


def srgan(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    optimizers: Sequence[optax.GradientTransformation],
    features: Callable[[Any, jax.Array], jax.Array],
    frozen: Mapping[str, Player],
    adversarial: float = 1e-3,
) -> System:
    """G and D, with an optimizer each. Content is compared by `features` (nets, images in [-1, 1])
    of `frozen` players; the pixels themselves are SRGAN-MSE. `adversarial` is that loss's weight.
    """

    def judge(nets, batch, key):
        """Logits of true images and of enlarged ones."""
        true = batch["image"]
        return nets.discriminator(true), nets.discriminator(nets.generator(low(true)))

    def discriminator_loss(nets, batch, key):
        on_true, on_made = judge(nets, batch, key)
        accuracy = ((on_true > 0).mean() + (on_made < 0).mean()) / 2
        return game.tell(on_true, on_made), {"accuracy": accuracy}

    def generator_loss(nets, batch, key):
        true = batch["image"]
        made = nets.generator(low(true))
        content = ((features(nets, made) - features(nets, true)) ** 2).mean()
        fool = game.fool(nets.discriminator(made))
        return content + adversarial * fool, {"content": content, "fool": fool}

    players = {
        "generator": _enlarging(generator, shape, optimizers[0]),
        "discriminator": Player(discriminator, [(2, *shape)], optimizers[1]),
        **frozen,
    }
    turns = (
        Turn(("discriminator",), discriminator_loss),
        Turn(("generator",), generator_loss, fresh=False),
    )
    return System(players, turns, show, apply=APPLY, judge=Judge(judge))
