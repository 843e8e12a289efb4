"""PatchGAN: discriminators that judge overlapping patches, not the image (Isola et al., 2017,
https://arxiv.org/abs/1611.07004, Sec. 3.2; CycleGAN).

Layers, biases and initial weights are those of the authors' PyTorch code. Their option without
norms, which leaves the biases out too, has them here.
"""

from functools import partial
from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxgen.nn import init, norm
from jaxgen.nn.conv import Conv

Norm = Literal["batch", "instance", "none"]

_conv = partial(Conv, kernel=4, padding=1, kernel_init=init.normal(0.02))
_leaky = partial(nn.leaky_relu, negative_slope=0.2)


def normalise(kind: Norm, x, *, train: bool):
    """x after a normalisation layer of that kind; a submodule of the compact module that calls."""
    if kind == "batch":
        return norm.BatchNorm(scale_init=init.normal(0.02, mean=1.0))(x, train=train)
    return norm.InstanceNorm()(x) if kind == "instance" else x


class PatchGAN(nn.Module):
    """Images (a pair: stacked along the channels) to a map of logits, one for each patch.

    `layers` is how often the stride is 2; a patch has 16, 34, 70, 142, 286 pixels a side for 1 to
    5, and 256 pixels give maps of 126, 62, 30, 14, 6.  `width` is ndf, the first level's channels.
    """

    width: int = 64
    layers: int = 3
    norm: Norm = "batch"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = True) -> Float[Array, "b m n"]:
        x = _leaky(_conv(self.width, stride=2)(x))
        for level in range(1, self.layers + 1):
            stride = 2 if level < self.layers else 1
            features = self.width * min(2**level, 8)
            x = _conv(features, stride=stride, use_bias=self.norm != "batch")(x)
            x = _leaky(normalise(self.norm, x, train=train))
        return _conv(1)(x)[..., 0]


class PixelGAN(nn.Module):
    """The 1x1 "patches": a logit for each pixel on its own, so that only colours are judged."""

    width: int = 64
    norm: Norm = "batch"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = True) -> Float[Array, "b h w"]:
        pixel = partial(_conv, kernel=1, padding=0)
        bias = self.norm != "batch"  # of the last layer too, as in the code
        x = _leaky(pixel(self.width)(x))
        x = _leaky(normalise(self.norm, pixel(2 * self.width, use_bias=bias)(x), train=train))
        return pixel(1, use_bias=bias)(x)[..., 0]
