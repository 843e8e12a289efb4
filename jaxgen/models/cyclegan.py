"""CycleGAN's generator (Zhu et al., 2017), https://arxiv.org/abs/1703.10593: two halvings, residual
blocks, two doublings.

Layers, biases and initial weights are those of the authors' PyTorch code. The discriminators are
`patchgan.PatchGAN(norm="instance")`.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxgen.nn import init
from jaxgen.nn.conv import Conv, ConvTranspose
from jaxgen.nn.norm import InstanceNorm

_weights = init.normal(0.02)
_conv = partial(Conv, padding=0, kernel_init=_weights)
_up = partial(ConvTranspose, kernel=3, output_padding=1, kernel_init=_weights)  # doubles


def reflect(x: Float[Array, "b h w c"], n: int) -> Float[Array, "b _ _ c"]:
    """`n` pixels more on each side, a mirror image without the edge itself; n is below h and w."""
    for axis in (1, 2):  # by `jnp.pad` the gradient takes 1.3 to 1.6 times as long on a CPU
        part = lambda start, stop, x=x, axis=axis: lax.slice_in_dim(x, start, stop, axis=axis)
        low, high = part(1, n + 1), part(-n - 1, -1)
        x = jnp.concatenate([jnp.flip(low, axis), x, jnp.flip(high, axis)], axis)
    return x


class Block(nn.Module):
    """x plus two convolutions of it."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        y = nn.relu(InstanceNorm()(_conv(x.shape[-1])(reflect(x, 1))))
        return x + InstanceNorm()(_conv(x.shape[-1])(reflect(y, 1)))


class Generator(nn.Module):
    """Images to images in (-1, 1); h and w are multiples of 4, from 8 on.

    `width` is ngf, the channels at full size. The paper has 6 `blocks` for 128 pixels, 9 for 256.
    """

    channels: int = 3
    width: int = 64
    blocks: int = 9

    @property
    def reach(self) -> int:
        """Pixels on every side that one depends on, but for the norms' moments."""
        return 6 + 8 * self.blocks + 6  # down, the blocks at a quarter of the size, up

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        x = nn.relu(InstanceNorm()(_conv(self.width, kernel=7)(reflect(x, 3))))
        for features in (2 * self.width, 4 * self.width):  # here the padding is of zeros
            x = nn.relu(InstanceNorm()(_conv(features, stride=2, padding=1)(x)))
        for _ in range(self.blocks):
            x = Block()(x)
        for features in (2 * self.width, self.width):
            x = nn.relu(InstanceNorm()(_up(features)(x)))
        return jnp.tanh(_conv(self.channels, kernel=7)(reflect(x, 3)))
