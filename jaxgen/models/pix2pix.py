"""The U-Net of pix2pix (Isola et al., 2017), https://arxiv.org/abs/1611.07004, Sec. 3.2.

As in the authors' PyTorch code, or with `variant="torch"` in the paper's own Lua code. The two
differ in biases and in the place of the dropout.
"""

from functools import partial
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.models.patchgan import Norm, normalise
from jaxgen.models.size import Size, sides
from jaxgen.nn import init
from jaxgen.nn.conv import Conv, ConvTranspose
from jaxgen.nn.dropout import Dropout

DEEPEST = 8  # halvings of the paper's 256 pixels, to one


def depth_of(size: Size) -> int:
    """Number of halvings of images of that size: until a side is odd, and 8 at most."""
    return min(*((side & -side).bit_length() - 1 for side in sides(size)), DEEPEST)


class UNet(nn.Module):
    """Images [b, h, w, c] in [-1, 1] to images of `channels` in (-1, 1); h and w are multiples of
    2^depth. unet_256 has depth 8, unet_128 has 7.

    train: the global batch's statistics, else the running ones. noise: with dropout, in training
    and, in the paper, afterwards too: it is the only noise.

    width: ngf, the channels of the first level.
    skips: False is the paper's encoder-decoder.
    dropout: the rate, after the norms of some of the inner levels of the way up. "pytorch": all of
      8 * width channels but the innermost, which are depth - 5: three at 256 pixels, one at 64
      (whose 4x4 pixels it makes) and none at 32. "torch": the three innermost.
    variant: "torch" has biases before batch normalisation too.
    """

    depth: int = DEEPEST
    channels: int = 3
    width: int = 64
    norm: Norm = "batch"
    skips: bool = True
    dropout: float = 0.5
    variant: Literal["pytorch", "torch"] = "pytorch"

    @property
    def noisy(self) -> range:
        """The levels that dropout follows on the way up; level 0 makes the image."""
        if self.variant == "torch":
            return range(max(self.depth - 3, 1), self.depth)
        return range(4, self.depth - 1)

    @property
    def reach(self) -> int:
        """Pixels on every side that one depends on, but for the norms' moments: the innermost
        level's windows."""
        return 3 * (2**self.depth - 1)

    @nn.compact
    def __call__(
        self, a: Float[Array, "b h w c"], *, train: bool = True, noise: bool = True
    ) -> Float[Array, "b h w k"]:
        bias = self.norm != "batch" or self.variant == "torch"
        weights = init.normal(0.02)
        down = partial(Conv, kernel=4, stride=2, padding=1, use_bias=bias, kernel_init=weights)
        up = partial(ConvTranspose, kernel_init=weights)  # 4x4, doubles
        widths = [self.width * min(2**level, 8) for level in range(self.depth)]
        innermost = self.depth - 1

        x, seen = a, []
        for level, features in enumerate(widths):
            x = down(features)(nn.leaky_relu(x, 0.2) if level else x)
            if 0 < level < innermost:  # one pixel's statistics over a batch of one would erase it
                x = normalise(self.norm, x, train=train)
            seen.append(x)
        for level in reversed(range(1, self.depth)):
            x = up(widths[level - 1], use_bias=bias)(nn.relu(x))
            x = normalise(self.norm, x, train=train)
            if level in self.noisy:
                x = Dropout(self.dropout)(x, train=noise)
            if self.skips:
                x = jnp.concatenate([seen[level - 1], x], axis=-1)
        return jnp.tanh(up(self.channels)(nn.relu(x)))
