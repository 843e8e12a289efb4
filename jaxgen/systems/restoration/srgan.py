"""SRGAN (Ledig et al., 2017), https://arxiv.org/abs/1609.04802.

Photo-realistic single image super-resolution using a generative adversarial network. G enlarges
fourfold. It first learns pixels (SRResNet, Eq. 4), then the features phi of a classifier and to
fool D, which tells its images from true ones (Eqs. 2, 3 and 5):

    min_G max_D  E |phi(x) - phi(G(x_low))|^2 + 10^-3 (E log D(x) + E log(1 - D(G(x_low)))),

G by its non-saturating form -log D(G(x_low)), as in the paper.

Deviations. Small images are rounded to 8 bits, as the files are that G is used on. The paper does
not say whether D and G learn from the same minibatch; here they do.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.losses.adversarial import non_saturating as gan_loss
from jaxgen.nn.resample import matlab_bicubic
from jaxgen.train.abilities import DiscriminatorScores, Translator
from jaxgen.train.game import Player, System, Turn

SCALE = 4
STRIPS = 24  # examples in a picture


def low(images):
    """A quarter of the size: [b, H, W, C] in [-1, 1] to [b, H/4, W/4, C] in [0, 1]."""
    small = matlab_bicubic((images + 1) / 2, 1 / SCALE).clip(0, 1)
    return jnp.round(small * 255) / 255


def upscale(nets, inputs, key):
    """Images in [-1, 1] of any size, four times as large."""
    return nets.generator((inputs["image"] + 1) / 2, train=False).clip(-1, 1)


def pair(batch):
    """(small images in [-1, 1], their ground truth)."""
    return {"image": low(batch["image"]) * 2 - 1}, batch["image"]


def show(nets, batch, key):
    """Strips: bicubic, enlarged by G, true."""
    inputs, true = pair({"image": batch["image"][:STRIPS]})
    bicubic = matlab_bicubic(inputs["image"], SCALE).clip(-1, 1)
    return {"samples": jnp.concatenate([bicubic, upscale(nets, inputs, key), true], axis=2)}


LEGENDS = {"samples": "Each strip: enlarged bicubically, enlarged by G, the true image"}


def _upscaling(generator: nn.Module) -> Translator:
    return Translator(upscale, pair, scale=SCALE, reach=getattr(generator, "reach", None))


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
    return System(players, (Turn(("generator",), loss),), show, (_upscaling(generator),), LEGENDS)


def srgan(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    optimizers: Sequence[optax.GradientTransformation],
    phi: Callable[[Any, jax.Array], jax.Array] = lambda nets, images: images,
    classifier: Player | None = None,
    adversarial: float = 1e-3,
) -> System:
    """G and D, with an optimizer each.

    phi: (nets, images in [-1, 1]) -> what compares content, by default the pixels (SRGAN-MSE).
    classifier: the frozen player `classifier` that phi may ask.
    adversarial: the adversarial loss's weight.
    """

    def scores(nets, batch, key):
        """Logits of true images and of enlarged ones."""
        true = batch["image"]
        fake = nets.generator.still(low(true))  # its running statistics are moved by its own turn
        return nets.discriminator(true), nets.discriminator(fake)

    def discriminator_loss(nets, batch, key):
        on_true, on_fake = scores(nets, batch, key)
        accuracy = ((on_true > 0).mean() + (on_fake < 0).mean()) / 2
        return gan_loss.discriminator(on_true, on_fake), {"accuracy": accuracy}

    def generator_loss(nets, batch, key):
        true = batch["image"]
        fake = nets.generator(low(true))
        content = ((phi(nets, fake) - phi(nets, true)) ** 2).mean()
        fooling = gan_loss.generator(nets.discriminator(fake))
        return content + adversarial * fooling, {"content": content, "adversarial": fooling}

    players = {
        "generator": _enlarging(generator, shape, optimizers[0]),
        "discriminator": Player(discriminator, [(2, *shape)], optimizers[1]),
    }
    if classifier:
        players["classifier"] = classifier
    turns = (
        Turn(("discriminator",), discriminator_loss),
        Turn(("generator",), generator_loss, reuse="batch+noise"),
    )
    abilities = (_upscaling(generator), DiscriminatorScores(scores))
    return System(players, turns, show, abilities, LEGENDS)
