"""Invertible conditional GANs (Perarnau et al., 2016), https://arxiv.org/abs/1611.06355.

The networks of the authors' Torch code, which are DCGAN's with biases everywhere. Attributes y
[b, a] are -1 or +1. Every doubling of the size is a level more; 64 is the paper's.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.models.dcgan import pyramid
from jaxgen.models.size import Size
from jaxgen.nn import init
from jaxgen.nn.conv import Conv, ConvTranspose
from jaxgen.nn.norm import BatchNorm

Images = Float[Array, "_b _h _w _c"]
Attributes = Float[Array, "_b _a"]

_weights = init.normal(0.02)
_norm = partial(BatchNorm, scale_init=init.normal(0.02, mean=1.0))
_leaky = partial(nn.leaky_relu, negative_slope=0.2)
_down = partial(Conv, kernel=4, stride=2, padding=1, kernel_init=_weights)
_up = partial(ConvTranspose, kernel_init=_weights)  # 4x4, doubles
_see = partial(Conv, kernel=5, stride=2, padding=2)


class Generator(nn.Module):
    """Latents z [b, k] ~ N(0, I) and attributes to images in (-1, 1). `width` is the channels of
    the last hidden level."""

    size: Size = 64
    channels: int = 3
    width: int = 64

    @nn.compact
    def __call__(self, z: Float[Array, "_b _k"], y: Attributes, *, train: bool = True) -> Images:
        levels, base = pyramid(self.size)
        x = jnp.concatenate([z, y], axis=1)[:, None, None]
        x = _up(self.width << (levels - 1), base, stride=1, padding=0)(x)
        for level in reversed(range(levels - 1)):
            x = _up(self.width << level)(nn.relu(_norm()(x, train=train)))
        return jnp.tanh(_up(self.channels)(nn.relu(_norm()(x, train=train))))


class Discriminator(nn.Module):
    """Images in [-1, 1] and attributes to logits [b]. The attributes enter behind the first layer,
    as channels of one value each, where they worked best."""

    size: Size = 64
    width: int = 64

    @nn.compact
    def __call__(self, x: Images, y: Attributes, *, train: bool = True) -> Float[Array, "_b"]:
        levels, base = pyramid(self.size)
        x = _leaky(_down(self.width)(x))
        told = jnp.broadcast_to(y[:, None, None], (*x.shape[:3], y.shape[1]))
        x = jnp.concatenate([x, told.astype(x.dtype)], axis=-1)
        for level in range(1, levels):
            x = _leaky(_norm()(_down(self.width << level)(x), train=train))
        return _down(1, kernel=base, stride=1, padding=0)(x)[:, 0, 0, 0]


class Encoder(nn.Module):
    """Images in [-1, 1] to `out` numbers [b, out]: the latent z with 4,096 `units`, or the
    attributes, of which the sign counts, with 512."""

    out: int
    units: int = 4096
    width: int = 32

    @nn.compact
    def __call__(self, x: Images, *, train: bool = True) -> Float[Array, "_b out"]:
        for level in range(pyramid(x.shape[1:3])[0]):
            x = nn.relu(BatchNorm()(_see(self.width << level)(x), train=train))
        x = nn.Dense(self.units)(x.reshape(len(x), -1))
        return nn.Dense(self.out)(nn.relu(BatchNorm()(x, train=train)))
