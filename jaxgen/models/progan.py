"""Progressive GAN (Karras et al., 2018), https://arxiv.org/abs/1710.10196.

The networks of one resolution. Layers are named after the level they work at, so that the next,
larger network has all the layers of the one before under their names. While its newest level is
faded in, it still has the smaller network's RGB layer, and blends: at `fade` 0 it is the smaller
network, enlarged, at 1 it has grown.

All sizes are arguments; the defaults are the paper's. A level of r pixels has 2 `base` / r
channels, at most `width`. No tanh: images are linear and are clipped when they are shown.
"""

import math
from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from jaxgen.models.size import Size, doublings
from jaxgen.nn.equalised import EqualConv, EqualDense
from jaxgen.nn.minibatch import minibatch_stddev
from jaxgen.nn.norm import PixelNorm
from jaxgen.nn.resample import enlarge, shrink

_GAIN = math.sqrt(2)  # before a leaky ReLU, which itself has none
_conv = partial(EqualConv, gain=_GAIN)
_rgb = partial(EqualConv, kernel=1)
_leaky = partial(nn.leaky_relu, negative_slope=0.2)


def sides(size: Size) -> list[int]:
    """Sides of the levels of a network for squares of `size` pixels: [4, 8, ..., size]. UserError
    for sizes that are not squares of 4, 8, 16, ... pixels."""
    return [4 << i for i in range(doublings(size, 4, "Progressive GAN") + 1)]


def features(side: int, base: int, width: int) -> int:
    """Channels of the level of `side` pixels."""
    return min(2 * base // side, width)


def blend(old, new, fade):
    """(1 - fade) old + fade new."""
    return old + fade * (new - old)


class Generator(nn.Module):
    """Latents z [b, k] ~ N(0, I), which it brings to length sqrt(k), to images."""

    size: int = 1024
    channels: int = 3
    base: int = 8192
    width: int = 512

    @nn.compact
    def __call__(
        self, z: Float[Array, "b k"], fade: float | Float[Array, ""] = 1.0
    ) -> Float[Array, "b h w c"]:
        first, *larger = sides(self.size)
        wide = partial(features, base=self.base, width=self.width)
        bias = partial(self.param, "bias_4", nn.initializers.zeros)
        to_rgb = lambda x, side: _rgb(self.channels, name=f"to_rgb_{side}")(x)
        settle = lambda x: PixelNorm()(_leaky(x))

        n = wide(first)
        # The gain is that of a convolution with a 4x4 kernel from one pixel: one bias a channel.
        dense = EqualDense(first * first * n, gain=_GAIN / 4, use_bias=False, name="dense_4")
        x = dense(PixelNorm()(z)).reshape(len(z), first, first, n)
        x = settle(x + bias((n,)).astype(x.dtype))
        x = settle(_conv(n, name="conv_4")(x))
        for side in larger:
            if side == self.size:
                old = enlarge(to_rgb(x, side // 2))
            x = settle(_conv(wide(side), name=f"conv_{side}_0")(enlarge(x)))
            x = settle(_conv(wide(side), name=f"conv_{side}_1")(x))
        new = to_rgb(x, self.size)
        return blend(old, new, fade) if larger else new


class Critic(nn.Module):
    """Images to one score each [b], which depends a little on the other images of the batch
    (`group`: see `minibatch_stddev`)."""

    base: int = 8192
    width: int = 512
    group: int = 4

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w c"], fade: float | Float[Array, ""] = 1.0
    ) -> Float[Array, "b"]:
        first, *larger = sides(images.shape[1:3])
        size = images.shape[1]
        wide = partial(features, base=self.base, width=self.width)
        from_rgb = lambda x, side: _leaky(_rgb(wide(side), gain=_GAIN, name=f"from_rgb_{side}")(x))

        x = from_rgb(images, size)
        for side in reversed(larger):
            x = _leaky(_conv(wide(side), name=f"conv_{side}_0")(x))
            x = self.down(x, wide(side // 2), f"conv_{side}_1")
            if side == size:
                x = blend(from_rgb(shrink(images), side // 2), x, fade)
        x = _leaky(_conv(wide(first), name="conv_4")(minibatch_stddev(x, self.group)))
        x = x.reshape(len(x), -1)
        x = _leaky(EqualDense(wide(2), gain=_GAIN, name="dense_4")(x))
        return EqualDense(1, name="score")(x)[:, 0]

    def down(self, x, channels, name):
        """The last layer of a level, to half the size."""
        return shrink(_leaky(_conv(channels, name=name)(x)))
