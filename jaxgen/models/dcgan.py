"""DCGAN (Radford, Metz & Chintala, 2016), https://arxiv.org/abs/1511.06434.

Two forms are published. `Generator` and `Discriminator` are those of dcgan.torch and PyTorch's
example (4x4 kernels, no dense layer), `PaperGenerator` and `PaperDiscriminator` those of the
paper's Theano code (5x5 kernels, a dense layer at the 4x4 end, batch statistics always). Only
batch normalisation has biases. Every doubling of the size is a level more; 64 is the paper's. A
`size` is (height, width), or a number for a square.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.errors import UserError
from jaxgen.models.size import Size, sides
from jaxgen.nn import init
from jaxgen.nn.conv import Conv, ConvTranspose
from jaxgen.nn.norm import BatchNorm

_weights = init.normal(0.02)
_dense = partial(nn.Dense, use_bias=False, kernel_init=_weights)
_norm = partial(BatchNorm, scale_init=init.normal(0.02, mean=1.0))
_paper_norm = partial(_norm, epsilon=1e-8, running=False)
_leaky = partial(nn.leaky_relu, negative_slope=0.2)

_down = partial(Conv, kernel=4, stride=2, padding=1, use_bias=False, kernel_init=_weights)
_up = partial(ConvTranspose, use_bias=False, kernel_init=_weights)  # 4x4, doubles
_paper_down = partial(_down, kernel=5, padding=2)
_paper_up = partial(_up, kernel=5, padding=2, output_padding=1)


def pyramid(size: Size) -> tuple[int, tuple[int, int]]:
    """Number of levels, each of which doubles the sides, and the (height, width) from which they
    make `size`: the smaller one is 4 to 7 pixels. (4, (4, 4)) for 64, (3, (6, 12)) for 48 x 96.
    UserError, which names a size near by, for sizes that cannot be made."""
    height, width = sides(size)
    levels = max((min(height, width) // 4).bit_length() - 1, 1)
    base = height >> levels, width >> levels
    if min(base) < 4 or height % 2**levels or width % 2**levels:
        near = " x ".join(str(max(side, 4) << levels) for side in base)
        raise UserError(
            "DCGAN doubles images of 4 to 7 pixels on the smaller side, so that it makes none of "
            f"{height} x {width}; use {near}"
        )
    return levels, base


class Generator(nn.Module):
    """Latents z [b, k] ~ N(0, I) to images in (-1, 1). `width` is ngf, the channels of the last
    hidden level. `norm=False` leaves out batch normalisation (WGAN, Sec. 4.3)."""

    size: Size = 64
    channels: int = 3
    width: int = 64
    norm: bool = True

    @nn.compact
    def __call__(self, z: Float[Array, "b k"], *, train: bool = True) -> Float[Array, "b h w c"]:
        x = z[:, None, None, :]
        levels, base = pyramid(self.size)
        for level in reversed(range(levels)):
            features = self.width << level
            first = x.shape[1] == 1
            x = _up(features, base, stride=1, padding=0)(x) if first else _up(features)(x)
            if self.norm:
                x = _norm()(x, train=train)
            x = nn.relu(x)
        return jnp.tanh(_up(self.channels)(x))


class Discriminator(nn.Module):
    """Images in [-1, 1] to one logit each [b] (a critic's score, too). `width` is ndf, the channels
    of the first level."""

    size: Size = 64
    width: int = 64
    norm: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = True) -> Float[Array, "b"]:
        levels, base = pyramid(self.size)
        for level in range(levels):
            x = _down(self.width << level)(x)
            if self.norm and level > 0:
                x = _norm()(x, train=train)
            x = _leaky(x)
        return _down(1, kernel=base, stride=1, padding=0)(x)[:, 0, 0, 0]


class PaperGenerator(nn.Module):
    """Latents z [b, k] ~ U(-1, 1) to images in (-1, 1). Always normalises with the batch's own
    statistics, so that an image depends a little on the others of its batch (Theano code)."""

    size: Size = 64
    channels: int = 3
    width: int = 128

    @nn.compact
    def __call__(self, z: Float[Array, "b k"], *, train: bool = True) -> Float[Array, "b h w c"]:
        levels, (height, width) = pyramid(self.size)
        top = levels - 1
        x = _dense(height * width * (self.width << top))(z)
        x = nn.relu(_paper_norm()(x))  # one gain and bias for each of the dense features
        x = x.reshape(len(x), height, width, self.width << top)
        for level in reversed(range(top)):
            x = nn.relu(_paper_norm()(_paper_up(self.width << level)(x)))
        return jnp.tanh(_paper_up(self.channels)(x))


class PaperDiscriminator(nn.Module):
    """Images in [-1, 1] to one logit each [b]; batch statistics always, as in `PaperGenerator`."""

    size: Size = 64
    width: int = 128

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = True) -> Float[Array, "b"]:
        x = _leaky(_paper_down(self.width)(x))
        for level in range(1, pyramid(self.size)[0]):
            x = _leaky(_paper_norm()(_paper_down(self.width << level)(x)))
        return _dense(1)(x.reshape(len(x), -1))[:, 0]
