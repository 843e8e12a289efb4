"""SRResNet and the discriminator of SRGAN (Ledig et al., 2017, Fig. 4).

https://arxiv.org/abs/1609.04802

No code of the authors is public. Every convolution has a bias, also before batch normalisation,
and a PReLU one slope for all channels, 1/4 at first.
"""

from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from jaxgen.nn.conv import Conv
from jaxgen.nn.norm import BatchNorm
from jaxgen.nn.shuffle import pixel_shuffle

_prelu = partial(nn.PReLU, negative_slope_init=0.25)
_leaky = partial(nn.leaky_relu, negative_slope=0.2)
_conv = partial(Conv, kernel=3, padding=1)


class Generator(nn.Module):
    """Small images [b, h, w, c] in [0, 1], of any size, to images four times as large, about in
    [-1, 1]: the last layer is linear. The paper's has `width` 64 and 16 `blocks`."""

    channels: int = 3
    width: int = 64
    blocks: int = 16

    @property
    def reach(self) -> int:
        """Pixels of the small image on every side that one of the large image's depends on."""
        return 4 + 2 * self.blocks + 1 + 3  # the stem, the blocks, what follows, both doublings

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool = True
    ) -> Float[Array, "b 4*h 4*w c"]:
        x = stem = _prelu()(Conv(self.width, 9, padding=4)(x))
        for _ in range(self.blocks):
            y = _prelu()(BatchNorm()(_conv(self.width)(x), train=train))
            x += BatchNorm()(_conv(self.width)(y), train=train)
        x = stem + BatchNorm()(_conv(self.width)(x), train=train)
        for _ in range(2):
            x = _prelu()(pixel_shuffle(_conv(4 * self.width)(x), 2))
        return Conv(self.channels, 9, padding=4)(x)


class Discriminator(nn.Module):
    """Images in [-1, 1], all of one size, to one logit each [b]. `width`: 64 in the paper."""

    width: int = 64

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = True) -> Float[Array, "b"]:
        x = _leaky(_conv(self.width)(x))
        for level in range(4):
            for stride in (1, 2) if level else (2,):
                x = _conv(self.width << level, stride=stride)(x)
                x = _leaky(BatchNorm()(x, train=train))
        x = _leaky(nn.Dense(16 * self.width)(x.reshape(len(x), -1)))
        return nn.Dense(1)(x)[:, 0]
