"""DCGAN (Radford, Metz & Chintala, 2016), https://arxiv.org/abs/1511.06434.

Two forms are published. `Generator` and `Discriminator` are those of dcgan.torch and PyTorch's
example (4x4 kernels, no dense layer), `PaperGenerator` and `PaperDiscriminator` those of the
paper's Theano code (5x5 kernels, a dense layer at the 4x4 end, batch statistics always). Only
batch normalisation has biases. Every doubling of the size is a level more; 64 is the paper's.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.errors import UserError
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


def levels(size: int) -> int:
    """How often 4 pixels are doubled to make `size`: 4 for 64."""
    n = size.bit_length() - 3
    if n < 1 or size != 4 << n:
        raise UserError(f"DCGAN makes images of 8, 16, 32, 64, 128, ... pixels, not {size}")
    return n


class Generator(nn.Module):
    """Latents z [b, k] ~ N(0, I) to images in (-1, 1). `width` is ngf, the channels of the last
    hidden level. `norm=False` leaves out batch normalisation (WGAN, Sec. 4.3)."""

    size: int = 64
    channels: int = 3
    width: int = 64
    norm: bool = True

    @nn.compact
    def __call__(self, z: Float[Array, "b k"], *, train: bool = True) -> Float[Array, "b h w c"]:
        x = z[:, None, None, :]
        for level in reversed(range(levels(self.size))):
            features = self.width << level
            first = x.shape[1] == 1
            x = _up(features, stride=1, padding=0)(x) if first else _up(features)(x)
            if self.norm:
                x = _norm()(x, train=train)
            x = nn.relu(x)
        return jnp.tanh(_up(self.channels)(x))


class Discriminator(nn.Module):
    """Images in [-1, 1] to one logit each [b] (a critic's score, too). `width` is ndf, the channels
    of the first level."""

    size: int = 64
    width: int = 64
    norm: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = True) -> Float[Array, "b"]:
        for level in range(levels(self.size)):
            x = _down(self.width << level)(x)
            if self.norm and level > 0:
                x = _norm()(x, train=train)
            x = _leaky(x)
        return _down(1, stride=1, padding=0)(x)[:, 0, 0, 0]


class PaperGenerator(nn.Module):
    """Latents z [b, k] ~ U(-1, 1) to images in (-1, 1). Always normalises with the batch's own
    statistics, so that what a latent makes depends a little on its company (Theano code)."""

    size: int = 64
    channels: int = 3
    width: int = 128

    @nn.compact
    def __call__(self, z: Float[Array, "b k"], *, train: bool = True) -> Float[Array, "b h w c"]:
        top = levels(self.size) - 1
        x = _dense(4 * 4 * (self.width << top))(z)
        x = nn.relu(_paper_norm()(x))  # one gain and bias for each of the dense features
        x = x.reshape(len(x), 4, 4, self.width << top)
        for level in reversed(range(top)):
            x = nn.relu(_paper_norm()(_paper_up(self.width << level)(x)))
        return jnp.tanh(_paper_up(self.channels)(x))


class PaperDiscriminator(nn.Module):
    """Images in [-1, 1] to one logit each [b]; batch statistics always, as in `PaperGenerator`."""

    size: int = 64
    width: int = 128

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = True) -> Float[Array, "b"]:
        x = _leaky(_paper_down(self.width)(x))
        for level in range(1, levels(self.size)):
            x = _leaky(_paper_norm()(_paper_down(self.width << level)(x)))
        return _dense(1)(x.reshape(len(x), -1))[:, 0]
