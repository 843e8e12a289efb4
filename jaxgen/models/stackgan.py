"""StackGAN (Zhang et al., 2017), https://arxiv.org/abs/1612.03242: the networks of the authors'
TensorFlow code.

Texts come as vectors [b, e] of an encoder that is no part of them. Only dense layers have biases
besides batch normalisation. The defaults are the paper's for birds and flowers, 64 and 256 pixels;
every doubling of the size is a level more, from 4 to 7 pixels on.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.models.dcgan import pyramid
from jaxgen.models.size import Size
from jaxgen.nn import init
from jaxgen.nn.conv import Conv
from jaxgen.nn.norm import BatchNorm
from jaxgen.nn.resample import enlarge

Images = Float[Array, "_b _h _w _c"]
Latents = Float[Array, "_b _k"]
Texts = Float[Array, "_b _e"]

_weights = init.normal(0.02)
_dense = partial(nn.Dense, kernel_init=_weights)
_norm = partial(BatchNorm, scale_init=init.normal(0.02, mean=1.0))
_conv = partial(Conv, kernel=3, padding=1, use_bias=False, kernel_init=_weights)
_point = partial(_conv, kernel=1, padding=0)
_down = partial(_conv, kernel=4, stride=2)
_leaky = partial(nn.leaky_relu, negative_slope=0.2)


def _beside(x, vector):
    """x [b, h, w, c] with the vector [b, k] behind the channels of every pixel."""
    tiled = jnp.broadcast_to(vector[:, None, None], (*x.shape[:3], vector.shape[1]))
    return jnp.concatenate([x, tiled.astype(x.dtype)], axis=-1)


def _bottleneck(x, act, train):
    """act(x + h(x)), h of a quarter of the channels."""
    inside = max(1, x.shape[-1] // 4)
    y = act(_norm()(_point(inside)(x), train=train))
    y = act(_norm()(_conv(inside)(y), train=train))
    return act(x + _norm()(_conv(x.shape[-1])(y), train=train))


class Augmentation(nn.Module):
    """Conditioning augmentation (Sec. 3.2): texts and eps [b, dimensions] ~ N(0, I) to
    c = mu + sigma eps, with mu and log sigma [b, dimensions] of the text."""

    dimensions: int = 128

    @nn.compact
    def __call__(self, text: Texts, eps: Latents) -> tuple[Latents, Latents, Latents]:
        mu, log_sigma = jnp.split(_leaky(_dense(2 * self.dimensions)(text)), 2, axis=1)
        return mu + jnp.exp(log_sigma) * eps, mu, log_sigma


class StageOne(nn.Module):
    """Latents z [b, k] ~ N(0, I), texts and eps to images in (-1, 1), and the augmentation's mu and
    log sigma. `width` is the channels of the last hidden level."""

    size: Size = 64
    channels: int = 3
    width: int = 128
    condition: int = 128

    @nn.compact
    def __call__(self, z: Latents, text: Texts, eps: Latents, *, train: bool = True):
        c, mu, log_sigma = Augmentation(self.condition, name="augmentation")(text, eps)
        levels, (height, width) = pyramid(self.size)
        channels = self.width << (levels - 1)
        x = _norm()(_dense(height * width * channels)(jnp.concatenate([z, c], axis=1)), train=train)
        x = _bottleneck(x.reshape(len(x), height, width, channels), nn.relu, train)
        for level in reversed(range(levels - 1)):
            x = _norm()(_conv(self.width << level)(enlarge(x)), train=train)
            x = _bottleneck(x, nn.relu, train) if level == levels - 2 else nn.relu(x)
        return jnp.tanh(_conv(self.channels)(enlarge(x))), mu, log_sigma


class StageTwo(nn.Module):
    """Images of Stage I [b, h, w, c], texts and eps to images in (-1, 1) with sides four times as
    long, and mu and log sigma of an augmentation of its own. h and w are multiples of 4.

    From 64 pixels on the image is halved twice, as in the paper, where the text meets 16 x 16
    pixels; smaller ones are halved only as long as 16 are left.
    """

    width: int = 128
    condition: int = 128
    blocks: int = 4

    @nn.compact
    def __call__(self, image: Images, text: Texts, eps: Latents, *, train: bool = True):
        c, mu, log_sigma = Augmentation(self.condition, name="augmentation")(text, eps)
        norm = lambda x: _norm()(x, train=train)
        halvings = sum(min(image.shape[1:3]) >= side for side in (32, 64))
        channels = 4 * self.width
        x = nn.relu(_conv(self.width)(image))
        for level in range(halvings):
            x = nn.relu(norm(_down(2 * self.width << level)(x)))
        x = nn.relu(norm(_conv(channels)(_beside(x, c))))
        for _ in range(self.blocks):
            y = nn.relu(norm(_conv(channels)(x)))
            x = nn.relu(x + norm(_conv(channels)(y)))
        for shift in range(1, 3 + halvings):
            x = nn.relu(norm(_conv(max(1, channels >> shift))(enlarge(x))))
        return jnp.tanh(_conv(image.shape[-1])(x)), mu, log_sigma


class Discriminator(nn.Module):
    """Images in [-1, 1] and texts to logits [b], of either stage: the larger images' features come
    down to 8 `width` channels, where the text enters, compressed to `condition` numbers."""

    width: int = 64
    condition: int = 128

    @nn.compact
    def __call__(self, x: Images, text: Texts, *, train: bool = True) -> Float[Array, "_b"]:
        norm = lambda x: _norm()(x, train=train)
        levels, base = pyramid(x.shape[1:3])
        x = _leaky(_down(self.width)(x))
        layers = [partial(_down, self.width << level) for level in range(1, levels)]
        layers += [partial(_point, self.width << level) for level in range(levels - 2, 2, -1)]
        for layer in layers[:-1]:
            x = _leaky(norm(layer()(x)))
        x = norm(layers[-1]()(x)) if layers else x
        x = _bottleneck(x, _leaky, train)
        told = _leaky(_dense(self.condition)(text))
        x = _leaky(norm(_point(x.shape[-1])(_beside(x, told))))
        return _conv(1, kernel=base, padding=0)(x)[:, 0, 0, 0]
