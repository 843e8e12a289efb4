"""LAPGAN (Denton et al., 2015), https://arxiv.org/abs/1506.05751.

The networks of one level of the pyramid: those of its coarsest image, of dense layers, and those of
the differences of a finer level, of convolutions that are given the coarse image, enlarged. Layers
and initial weights are those of the authors' code. All are linear at the end. A network that has
`classes` is told the image's label: dense layers by numbers beside their input, convolutions by a
plane.
"""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.errors import UserError
from jaxgen.nn import init
from jaxgen.nn.conv import Conv
from jaxgen.nn.dropout import Dropout
from jaxgen.nn.norm import BatchNorm

Images = Float[Array, "b h w c"]
Noise = Float[Array, "b k"]
Labels = Int[Array, "b"]
Training = Float[Array, "n h w c"]


class Standard(nn.Module):
    """Images to and from numbers of mean 0 and variance 1, pixel by pixel, by the mean and the
    deviation of `images`, which are given when the weights start."""

    least: float = 0.05  # deviation: few images differ in some pixels, at the rim

    @nn.compact
    def __call__(self, x: Images, images: Training | None = None, *, back: bool = False) -> Images:
        some = jnp.zeros((1, *x.shape[1:])) if images is None else images
        mean = self.variable("pixels", "mean", lambda: some.mean(0)).value
        deviation = self.variable("pixels", "deviation", lambda: some.std(0)).value
        deviation = jnp.maximum(deviation, self.least)
        return mean + deviation * x if back else (x - mean) / deviation


class BaseGenerator(nn.Module):
    """Latents z [b, 100] ~ U(-1, 1) to the coarsest images. `width`: 1200 for the paper's 8x8, 600
    for LSUN's. `images` are those of the training, given when the weights start."""

    shape: tuple[int, int, int] = (8, 8, 3)
    width: int = 1200
    classes: int = 0

    @nn.compact
    def __call__(
        self,
        z: Noise,
        label: Labels | None = None,
        images: Training | None = None,
        *,
        train: bool = True,
    ) -> Images:
        dense = partial(nn.Dense, kernel_init=init.normal(0.05))
        x = _beside(z, label, self.classes)
        for _ in range(2):
            x = nn.relu(dense(self.width)(x))
        x = dense(math.prod(self.shape))(x).reshape(len(z), *self.shape)
        return Standard()(x, images, back=True)


class BaseDiscriminator(nn.Module):
    """The coarsest images to logits [b]; half of the hidden units are dropped. `images` are those
    of the training, given when the weights start."""

    width: int = 600
    classes: int = 0

    @nn.compact
    def __call__(
        self,
        x: Images,
        label: Labels | None = None,
        images: Training | None = None,
        *,
        train: bool = True,
    ) -> Float[Array, "b"]:
        dense = partial(nn.Dense, kernel_init=init.normal(0.005))
        x = Standard()(x, images)
        y = _beside(x.reshape(len(x), -1), label, self.classes)
        for _ in range(2):
            y = Dropout(0.5)(nn.relu(dense(self.width)(y)), train=train)
        return dense(1)(y)[:, 0]


class Generator(nn.Module):
    """Noise [b, h * w] ~ U(-1, 1), a number a pixel, and coarse images, enlarged, to what the fine
    images differ by from these."""

    channels: int = 3
    width: int = 64
    classes: int = 0

    @nn.compact
    def __call__(
        self, z: Noise, coarse: Images, label: Labels | None = None, *, train: bool = True
    ) -> Images:
        x = jnp.concatenate([_plane(z, coarse), _told(coarse, label, self.classes)], axis=-1)
        x = nn.relu(_conv(x, self.width, 7, padding=3))
        x = nn.relu(_conv(x, self.width, 7, padding=3))
        return _conv(x, self.channels, 5, padding=2)


class Discriminator(nn.Module):
    """Differences, real or generated, to logits [b]; it looks at the images that they make of the
    coarse ones. Its convolutions pad nothing."""

    width: int = 64
    classes: int = 0
    smallest = 9  # side of an image in pixels

    @nn.compact
    def __call__(
        self, x: Images, coarse: Images, label: Labels | None = None, *, train: bool = True
    ) -> Float[Array, "b"]:
        y = _told(x + coarse, label, self.classes)
        _check(y, self.smallest)
        y = nn.relu(_conv(y, self.width, 5))
        y = nn.relu(_conv(y, self.width, 5, stride=2))
        return _score(Dropout(0.5)(y.reshape(len(y), -1), train=train))


class LargeGenerator(nn.Module):
    """`Generator` of the code for LSUN: grouped convolutions, all normalised. Two drop half of
    their channels, one has pairs of channels give their length."""

    channels: int = 3
    classes: int = 0

    @nn.compact
    def __call__(
        self, z: Noise, coarse: Images, label: Labels | None = None, *, train: bool = True
    ) -> Images:
        def layer(x, features, kernel, groups):
            x = nn.relu(_conv(x, features, kernel, padding=kernel // 2, groups=groups))
            return norm(x, train=train)

        norm = lambda x, train: BatchNorm(affine=False)(x, train=train)
        drop = lambda x: x * Dropout(0.5)(jnp.ones_like(x[:, :1, :1]), train=train)
        x = jnp.concatenate([_plane(z, coarse), _told(coarse, label, self.classes)], axis=-1)
        x = layer(x, 64, 7, 1)
        x = drop(layer(x, 368, 7, 4))
        x = layer(x, 128, 7, 4)
        # The root has no slope at 0.
        x = jnp.sqrt((x.reshape(*x.shape[:3], 64, 2) ** 2).sum(-1) + 1e-12)
        x = drop(layer(x, 224, 5, 2))
        return norm(_conv(x, self.channels, 7, padding=3), train=train)


class LargeDiscriminator(nn.Module):
    """`Discriminator` of the code for LSUN: three convolutions, two of them grouped."""

    classes: int = 0
    smallest = 13

    @nn.compact
    def __call__(
        self, x: Images, coarse: Images, label: Labels | None = None, *, train: bool = True
    ) -> Float[Array, "b"]:
        y = _told(x + coarse, label, self.classes)
        _check(y, self.smallest)
        for features, kernel, groups in ((48, 3, 1), (448, 5, 4), (416, 7, 16)):
            y = nn.relu(_conv(y, features, kernel, groups=groups))
        return _score(y.reshape(len(y), -1))


def _beside(x, label, classes):
    """Vectors, and behind them their labels: a number for each class, 0 or 1."""
    return jnp.concatenate([x, jax.nn.one_hot(label, classes)], axis=-1) if classes else x


def _told(x, label, classes):
    """Images, and behind their channels a plane that a dense layer makes of the label."""
    if not classes:
        return x
    dense = _torch(nn.Dense, math.prod(x.shape[1:3]), classes)
    plane = _plane(nn.relu(dense(jax.nn.one_hot(label, classes))), x)
    return jnp.concatenate([x, plane], axis=-1)


def _plane(numbers, like):
    return numbers.reshape(*like.shape[:3], 1)


def _conv(x, features, kernel, stride=1, padding=0, groups=1):
    fan_in = kernel**2 * x.shape[-1] // groups
    if groups == 1:
        return _torch(Conv, features, fan_in, kernel=kernel, stride=stride, padding=padding)(x)
    options = {"padding": padding, "feature_group_count": groups}
    return _torch(nn.Conv, features, fan_in, kernel_size=(kernel, kernel), **options)(x)


def _score(x):
    return _torch(nn.Dense, 1, x.shape[-1])(x)[:, 0]


def _torch(layer, features, fan_in, **options):
    """A layer with torch's first weights and biases, U(-1, 1) / sqrt(fan_in)."""
    start = init.uniform(1 / math.sqrt(fan_in))
    return layer(features, kernel_init=start, bias_init=start, **options)


def _check(x, smallest):
    if (least := min(x.shape[1:3])) < smallest:
        raise UserError(
            f"a level's discriminator sees images of {smallest} pixels or more, not {least}; leave "
            "that level out"
        )
