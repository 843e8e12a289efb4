"""Networks of dense layers: the first GAN's (2014), WGAN's, and those for points in the plane.

The GAN paper's images lie in [0, 1]; here, as everywhere, they lie in [-1, 1] outside a network,
and its first or last operation converts (`unit`): its weights see what the paper's saw.
"""

from collections.abc import Callable
from math import prod, sqrt

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.nn import init
from jaxgen.nn.conv import conv_transpose
from jaxgen.nn.dropout import Dropout
from jaxgen.nn.init import Initializer
from jaxgen.nn.maxout import Maxout, MaxoutConv

Activation = Callable[[jax.Array], jax.Array]


# Generative adversarial nets (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661


class Generator(nn.Module):
    """Latents z [b, 100] to images [b, *shape]: two hidden layers, then sigmoid pixels (`unit`) or
    linear ones. For MNIST z ~ U(-sqrt 3, sqrt 3). Weights start in U(-spread, spread). With `mean`
    [h, w, c], given when they do, the first samples look like that mean training image."""

    shape: tuple[int, int, int] = (28, 28, 1)
    hidden: tuple[int, ...] = (1200, 1200)
    activations: tuple[Activation, ...] = (nn.relu, nn.relu)
    unit: bool = True
    spread: float = 0.05

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "b k"],
        mean: Float[Array, "h w c"] | None = None,
        *,
        train: bool = True,
    ) -> Float[Array, "b h w c"]:
        x, start = z, init.uniform(self.spread)
        bias = nn.initializers.zeros if mean is None else marginal(mean)
        for width, activation in zip(self.hidden, self.activations, strict=True):
            x = activation(nn.Dense(width, kernel_init=start)(x))
        x = nn.Dense(prod(self.shape), kernel_init=start, bias_init=bias)(x)
        return _pixels(x, self.unit).reshape(len(x), *self.shape)


class Discriminator(nn.Module):
    """Images [b, h, w, c] to logits [b] by two maxout layers. Dropout, in both players' updates,
    keeps .8 of the input and half of the hidden units."""

    units: int = 240
    pieces: int = 5
    unit: bool = True
    spread: float = 0.005

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = True) -> Float[Array, "b"]:
        start = init.uniform(self.spread)
        x = Dropout(0.2)(_read(x, self.unit).reshape(len(x), -1), train=train)
        for _ in range(2):
            x = Maxout(self.units, self.pieces, start)(x)
            x = Dropout(0.5)(x, train=train)
        return nn.Dense(1, kernel_init=start)(x)[:, 0]


class ConvGenerator(nn.Module):
    """The convolutional CIFAR generator: two dense layers, then one transposed convolution (5x5,
    stride 3) from 10x10 to linear pixels with a bias each. [b, 100] to [b, 32, 32, 3]."""

    hidden: int = 8000
    spread: float = 0.05

    @nn.compact
    def __call__(self, z: Float[Array, "b k"], *, train: bool = True) -> Float[Array, "b 32 32 3"]:
        start = init.uniform(self.spread)
        x = nn.relu(nn.Dense(self.hidden, kernel_init=start)(z))
        x = nn.sigmoid(nn.Dense(self.hidden, kernel_init=start)(x))
        x = x.reshape(len(x), 10, 10, self.hidden // 100)
        kernel = self.param("kernel", start, (5, 5, 3, x.shape[-1])).astype(x.dtype)
        x = conv_transpose(x, kernel, stride=3, padding=0)
        return x + self.param("bias", nn.initializers.zeros, x.shape[1:]).astype(x.dtype)


class ConvDiscriminator(nn.Module):
    """The convolutional CIFAR discriminator, [b, 32, 32, 3] to logits [b]: three maxout
    convolutions, each pooled, and a maxout layer."""

    spread: float = 0.005

    @nn.compact
    def __call__(self, x: Float[Array, "b 32 32 3"], *, train: bool = True) -> Float[Array, "b"]:
        start = init.uniform(self.spread)
        x = Dropout(0.2)(x, train=train)
        for units, kernel, padding, pool in ((32, 8, 4, 4), (32, 8, 3, 4), (192, 5, 3, 2)):
            x = _pool(MaxoutConv(units, 2, kernel, padding, start)(x), pool)
            x = Dropout(0.5)(x, train=train)
        x = Maxout(500, 5, start)(x.reshape(len(x), -1))
        return nn.Dense(1, kernel_init=start)(Dropout(0.5)(x, train=train))[:, 0]


def _pool(x, size):
    """Largest of size x size at stride 2; windows that stick out count (pylearn2)."""
    rest = [(0, -(x.shape[axis] - size) % 2) for axis in (1, 2)]
    return nn.max_pool(x, (size, size), (2, 2), rest)


def marginal(mean: Float[Array, "h w c"]) -> Initializer:
    """The start of a sigmoid output's bias: the logit of the mean training image in [-1, 1]."""
    p = jnp.clip((mean.reshape(-1) + 1) / 2, 1e-4, 1 - 1e-4)
    return lambda key, shape, dtype=jnp.float32: jax.scipy.special.logit(p).astype(dtype)


def mnist() -> tuple[Generator, Discriminator]:
    return Generator(), Discriminator()


def tfd() -> tuple[Generator, Discriminator]:
    """Toronto faces, 48x48x1. The second layer's sigmoid is the paper's code's."""
    two = (nn.relu, nn.sigmoid)
    return Generator((48, 48, 1), (8000, 8000), two), Discriminator(1200)


def cifar() -> tuple[Generator, Discriminator]:
    """CIFAR-10, fully connected, linear pixels."""
    two = (nn.relu, nn.sigmoid)
    return Generator((32, 32, 3), (8000, 8000), two, unit=False), Discriminator(1600, unit=False)


# Wasserstein GAN (Arjovsky et al., 2017, Sec. 4.3), https://arxiv.org/abs/1701.07875


class WganGenerator(nn.Module):
    """Latents z [b, 100] ~ N(0, I) to images, three hidden layers, linear pixels."""

    shape: tuple[int, int, int] = (64, 64, 3)
    width: int = 512

    @nn.compact
    def __call__(self, z: Float[Array, "b k"], *, train: bool = True) -> Float[Array, "b h w c"]:
        x = _torch_layers(z, (self.width,) * 3 + (prod(self.shape),))
        return x.reshape(len(x), *self.shape)


class WganCritic(nn.Module):
    """Images to one score each [b], three hidden layers."""

    width: int = 64

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = True) -> Float[Array, "b"]:
        return _torch_layers(x.reshape(len(x), -1), (self.width,) * 3 + (1,))[:, 0]


# Points in the plane (Gulrajani et al., 2017), https://arxiv.org/abs/1704.00028


class ToyGenerator(nn.Module):
    """Latents z [b, 2] ~ N(0, I) to points [b, out]."""

    out: int = 2
    width: int = 512

    @nn.compact
    def __call__(self, z: Float[Array, "b k"], *, train: bool = True) -> Float[Array, "b out"]:
        return _toy_layers(z, (self.width,) * 3 + (self.out,))


class ToyCritic(nn.Module):
    """Points [b, 2] to one score each [b]."""

    width: int = 512

    @nn.compact
    def __call__(self, x: Float[Array, "b k"], *, train: bool = True) -> Float[Array, "b"]:
        return _toy_layers(x, (self.width,) * 3 + (1,))[:, 0]


def _torch_layers(x, widths):
    """Dense layers with ReLU between, weights and biases in U(-1, 1) / sqrt(fan_in)."""
    for i, width in enumerate(widths):
        start = init.uniform(1 / sqrt(x.shape[-1]))
        x = nn.Dense(width, kernel_init=start, bias_init=start)(nn.relu(x) if i else x)
    return x


def _toy_layers(x, widths):
    """Dense layers with ReLU between; He's variance 2 / fan_in before each, Glorot's at the end."""
    for width in widths[:-1]:
        start = init.uniform(sqrt(3 * 2 / x.shape[-1]))
        x = nn.relu(nn.Dense(width, kernel_init=start)(x))
    return nn.Dense(widths[-1], kernel_init=init.improved_wgan(gain=1))(x)


def _pixels(x, unit):
    """Sigmoid pixels, converted from [0, 1] to [-1, 1]; or x itself."""
    return jnp.tanh(x / 2) if unit else x


def _read(x, unit):
    return (x + 1) / 2 if unit else x
