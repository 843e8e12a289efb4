"""Energies of images (Du & Mordatch, 2019), https://arxiv.org/abs/1903.08689.

The networks are those of the authors' code.  Every convolution is spectrally normalised and has no
bias.  In a residual block each has a bias by channel before it, and the second a gain after it;
with classes these are tables.
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float, Int

from jaxgen.nn import init
from jaxgen.nn.dropout import Dropout
from jaxgen.nn.spectral import SpectralConv, SpectralDense

Maps = Float[Array, "_b _h _w _c"]
Label = Int[Array, "b"] | None
conv = partial(SpectralConv, use_bias=False)


class Table(nn.Module):
    """A number for each channel, or one for each class and channel: [c] or [b, 1, 1, c]."""

    channels: int
    classes: int
    start: float

    @nn.compact
    def __call__(self, label: Label):
        shape = (self.classes, self.channels) if self.classes else (self.channels,)
        table = self.param("table", nn.initializers.constant(self.start), shape)
        return table[label][:, None, None] if self.classes else table


class Block(nn.Module):
    """A residual block without normalisation: x, or a convolution of it where the width changes,
    plus two convolutions; with `down` the mean of 2 x 2 pixels; then the nonlinearity."""

    features: int
    down: bool = False
    classes: int = 0
    dropout: float = 0.0
    slope: float = 0.2

    @nn.compact
    def __call__(self, x: Maps, label: Label = None, *, train: bool = True) -> Maps:
        n, act = self.features, lambda x: nn.leaky_relu(x, self.slope)
        table = lambda channels, start, name: Table(channels, self.classes, start, name=name)(label)
        y = x + table(x.shape[-1], 0.0, "bias_first")
        y = act(conv(n, name="first")(y, train=train))
        y = Dropout(self.dropout)(y, train=train) if self.dropout else y
        y = y + table(n, 0.0, "bias_second")
        tiny = init.normal(1e-10)
        y = conv(n, clamped=True, kernel_init=tiny, name="second")(y, train=train)
        y = y * table(n, 1.0, "gain")
        if x.shape[-1] != n:
            x = conv(n, name="adaptive")(x, train=train)
        y = x + y
        return act(nn.avg_pool(y, (2, 2), (2, 2)) if self.down else y)


class ResNet(nn.Module):
    """Images [b, h, w, c] in [0, 1] to energies [b]: a convolution, residual blocks of `widths`,
    halved where `downs` says so, the sum over all pixels, a dense layer."""

    width: int = 128
    widths: Sequence[int] = (128, 128, 128, 256, 256, 256, 512, 512, 512)
    downs: Sequence[bool] = (True, False, False) * 3
    classes: int = 0
    dropout: float = 0.5

    @nn.compact
    def __call__(self, x: Maps, label: Label = None, *, train: bool = True) -> Float[Array, "b"]:
        x = nn.leaky_relu(conv(self.width, name="first")(x, train=train), 0.2)
        for width, down in zip(self.widths, self.downs, strict=True):
            x = Block(width, down, self.classes, self.dropout)(x, label, train=train)
        return nn.Dense(1, name="last")(nn.relu(x).sum((1, 2)))[:, 0]


class DigitNet(nn.Module):
    """The net for digits, [b, 28, 28, 1] in [0, 1] to energies [b]: four convolutions and two dense
    layers."""

    width: int = 64

    @nn.compact
    def __call__(self, x: Maps, *, train: bool = True) -> Float[Array, "b"]:
        act = lambda x: nn.leaky_relu(x, 0.2)
        x = act(conv(self.width)(x, train=train))
        for times in (1, 2, 4):
            x = act(conv(times * self.width, 4, 2)(x, train=train))
        x = act(SpectralDense(2 * self.width)(x.reshape(len(x), -1), train=train))
        return nn.Dense(1)(x)[:, 0]
