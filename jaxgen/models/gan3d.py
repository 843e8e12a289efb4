"""3D-GAN's networks (Wu et al., 2016), https://arxiv.org/abs/1610.07584: DCGAN's in space.

Convolutions of 4x4x4 without biases, as in the released networks, each of which doubles or halves
the side of the cube; 64 is the paper's. Batch normalisation and ReLU follow each of the
generator's but the last, leaky ReLU each of the discriminator's but the last, and batch
normalisation those between its ends. Voxels are [b, side, side, side, 1], from 0 to 1.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.errors import UserError
from jaxgen.nn import init
from jaxgen.nn.conv import Conv, ConvTranspose
from jaxgen.nn.norm import BatchNorm

Voxels = Float[Array, "b n n n 1"]

_weights = init.normal(0.02)
_down = partial(Conv, kernel=4, stride=2, padding=1, use_bias=False, kernel_init=_weights)
_up = partial(ConvTranspose, use_bias=False, kernel_init=_weights)  # 4x4x4, doubles
_leaky = partial(nn.leaky_relu, negative_slope=0.2)


def doublings(side: int) -> int:
    """How often 4 voxels are doubled to make `side`: 4 for 64. UserError for other sides."""
    times = (side // 4).bit_length() - 1
    if times < 1 or side != 4 << times:
        near = 4 << max(times, 1)
        raise UserError(
            f"3D-GAN makes cubes of 8, 16, 32, 64, ... voxels, not of {side}; use {near}"
        )
    return times


class Generator(nn.Module):
    """Latents z [b, k] to the probability that each voxel is filled. `width` is the
    channels of the last hidden level, 64 in the paper; each level before it has twice as many."""

    side: int = 64
    width: int = 64

    @nn.compact
    def __call__(self, z: Float[Array, "b k"], *, train: bool = True) -> Voxels:
        x = z[:, None, None, None, :]
        for level in reversed(range(doublings(self.side))):
            first = {"stride": 1, "padding": 0} if x.shape[1] == 1 else {}
            x = _up(self.width << level, **first)(x)
            x = nn.relu(BatchNorm()(x, train=train))
        return nn.sigmoid(_up(1)(x))


class Discriminator(nn.Module):
    """Voxels to one logit each [b]. `width` is the channels of the first level, 64 in the paper.

    features: give the maxima of the last three hidden levels over the eight octants of the cube
      instead, [b, k], by which the paper classifies shapes (Sec. 4.2).
    """

    side: int = 64
    width: int = 64

    @nn.compact
    def __call__(
        self, x: Voxels, *, train: bool = True, features: bool = False
    ) -> Float[Array, "b"] | Float[Array, "b k"]:
        found = []
        for level in range(doublings(self.side)):
            x = _down(self.width << level)(x)
            if level > 0:
                x = BatchNorm()(x, train=train)
            x = _leaky(x)
            found.append(_octants(x))
        if features:
            return jnp.concatenate(found[-3:], axis=1)
        return _down(1, stride=1, padding=0)(x)[:, 0, 0, 0, 0]


def _octants(x):
    """The maximum of each channel in each of the eight octants, [b, 8 c]."""
    b, n, _, _, c = x.shape
    halves = x.reshape(b, 2, n // 2, 2, n // 2, 2, n // 2, c)
    return halves.max(axis=(2, 4, 6)).reshape(b, 8 * c)
