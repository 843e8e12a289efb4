"""Maxout units (Goodfellow et al., 2013), https://arxiv.org/abs/1302.4389: the largest of several
linear pieces."""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxgen.nn.conv import Conv, Padding
from jaxgen.nn.init import Initializer


def maxout(x: Float[Array, "*b up"], pieces: int) -> Float[Array, "*b u"]:
    """The largest of each `pieces` channels in a row."""
    return x.reshape(*x.shape[:-1], -1, pieces).max(-1)


class Maxout(nn.Module):
    """A dense layer to units * pieces, then `maxout`."""

    units: int
    pieces: int
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "b k"]) -> Float[Array, "b u"]:
        layer = nn.Dense(self.units * self.pieces, kernel_init=self.kernel_init)
        return maxout(layer(x), self.pieces)


class MaxoutConv(nn.Module):
    """A convolution to units * pieces channels, then `maxout`."""

    units: int
    pieces: int
    kernel: int
    padding: Padding
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 u"]:
        layer = Conv(
            self.units * self.pieces,
            self.kernel,
            padding=self.padding,
            kernel_init=self.kernel_init,
        )
        return maxout(layer(x), self.pieces)
