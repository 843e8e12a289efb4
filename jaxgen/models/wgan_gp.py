"""The networks of WGAN-GP (Gulrajani et al., 2017), https://arxiv.org/abs/1704.00028.

`Generator` and `Critic` are DCGAN-like (5x5, TF's padding), for MNIST, CIFAR and any other size;
`Cifar...` the residual networks for 32 pixels, `Good...` those for 64 (the code's name), `Deep...`
those of 101 layers. Critics have no batch normalisation: the penalty is on each example's own
slope. All sizes and widths are arguments; the defaults are the paper's.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.errors import UserError
from jaxgen.models.size import Size, doublings, sides
from jaxgen.nn.conv import Conv, ConvTranspose
from jaxgen.nn.init import improved_wgan
from jaxgen.nn.norm import BatchNorm, ClassBatchNorm, LayerNorm
from jaxgen.nn.shuffle import pixel_shuffle

_dense = partial(nn.Dense, kernel_init=improved_wgan(gain=1))
_conv = partial(Conv, kernel=3, kernel_init=improved_wgan())
_plain_conv = partial(_conv, kernel_init=improved_wgan(gain=1))
_down = partial(Conv, kernel=5, stride=2, padding="SAME", kernel_init=improved_wgan(down=2))
_up = partial(ConvTranspose, kernel=5, stride=2, padding="SAME", kernel_init=improved_wgan(up=2))
_leaky = partial(nn.leaky_relu, negative_slope=0.2)


def _pyramid(size: Size) -> list[tuple[int, int]]:
    """The (height, width) of each level, from `size` by halves, rounded up, to a smaller side of 3
    or 4 pixels: (28, 28), (14, 14), (7, 7), (4, 4)."""
    height, width = sides(size)
    if min(height, width) < 5:
        raise UserError(
            "WGAN-GP's networks make images of 5 pixels or more on each side, not "
            f"{height} x {width}"
        )
    levels = [(height, width)]
    while min(levels[-1]) > 4:
        height, width = levels[-1]
        levels.append(((height + 1) // 2, (width + 1) // 2))
    return levels


def _doublings(size: Size) -> int:
    return doublings(size, 8, "WGAN-GP with residual networks")


class Generator(nn.Module):
    """Latents z [b, 128] ~ N(0, I) to images in (-1, 1). CIFAR's defaults; MNIST's are size=28,
    channels=1, dim=64, norm=False, unit=True. `unit` is for data the paper keeps in [0, 1]: its
    sigmoid, moved to (-1, 1). A level too large is cropped (8 to 7 for MNIST)."""

    size: Size = 32
    channels: int = 3
    dim: int = 128
    norm: bool = True
    unit: bool = False

    @nn.compact
    def __call__(self, z: Float[Array, "b k"], *, train: bool = True) -> Float[Array, "b h w c"]:
        (height, width), *larger = reversed(_pyramid(self.size))
        widths = [self.dim << i for i in reversed(range(len(larger)))]
        normalise = lambda x: BatchNorm()(x, train=train) if self.norm else x
        x = nn.relu(normalise(_dense(height * width * widths[0])(z)))  # by dense feature
        x = x.reshape(len(z), height, width, widths[0])
        for (height, width), features in zip(larger[:-1], widths[1:], strict=True):
            x = nn.relu(normalise(_up(features)(x)[:, :height, :width]))
        height, width = larger[-1]
        x = _up(self.channels)(x)[:, :height, :width]
        return jnp.tanh(x / 2 if self.unit else x)


class Critic(nn.Module):
    """Images to one score each [b]. With `unit` it reads pixels in [0, 1] as the paper's MNIST
    critic does; a slope of 1 there is 1/2 for images in [-1, 1] (`target` of the penalty)."""

    dim: int = 128
    unit: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = True) -> Float[Array, "b"]:
        levels = len(_pyramid(x.shape[1:3])) - 1
        x = (x + 1) / 2 if self.unit else x
        for level in range(levels):
            x = _leaky(_down(self.dim << level)(x))
        return _dense(1)(x.reshape(len(x), -1))[:, 0]


def _double(x):
    return x.repeat(2, 1).repeat(2, 2)


def _halve(x):
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


class Block(nn.Module):
    """shortcut(x) + conv(relu(norm(conv(relu(norm(x)))))), doubled before the first convolution
    (`up`) or halved after the second (`down`). A block that doubles is as wide inside as its
    output, any other as its input. `leads=False` is the critic's first block: no leading ReLU,
    as wide inside as its output."""

    features: int
    up: bool = False
    down: bool = False
    bias: bool = True
    leads: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], norm=lambda x: x) -> Float[Array, "b h2 w2 d"]:
        up = _double if self.up else lambda x: x
        down = _halve if self.down else lambda x: x
        inside = self.features if self.up or not self.leads else x.shape[-1]
        y = nn.relu(norm(x)) if self.leads else x
        y = _conv(inside, use_bias=self.bias)(up(y))
        y = down(_conv(self.features)(nn.relu(norm(y))))
        if self.up or self.down or self.features != x.shape[-1]:
            # at the smaller size: a 1x1 convolution commutes with doubling and with halving
            x = up(_plain_conv(self.features, kernel=1)(down(x)))
        return x + y


class CifarGenerator(nn.Module):
    """Latents z [b, 128] ~ N(0, I), and labels if there are `classes`, to images in (-1, 1)."""

    size: Size = 32
    channels: int = 3
    dim: int = 128
    classes: int = 0

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "b k"],
        label: Int[Array, "b"] | None = None,
        *,
        train: bool = True,
    ) -> Float[Array, "b h w c"]:
        plain = lambda x: BatchNorm()(x, train=train)
        by_class = lambda x: ClassBatchNorm(self.classes)(x, label, train=train)
        x = _dense(4 * 4 * self.dim)(z).reshape(len(z), 4, 4, self.dim)
        for _ in range(_doublings(self.size)):
            x = Block(self.dim, up=True)(x, by_class if self.classes else plain)
        return jnp.tanh(_plain_conv(self.channels)(nn.relu(plain(x))))


class CifarCritic(nn.Module):
    """Images to one score each [b]; with `classes`, (scores, class logits [b, classes])."""

    dim: int = 128
    classes: int = 0

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], *, train: bool = True
    ) -> Float[Array, "b"] | tuple[Float[Array, "b"], Float[Array, "b classes"]]:
        x = Block(self.dim, down=True, leads=False)(x)
        x = Block(self.dim, down=True)(x)
        for _ in range(2):
            x = Block(self.dim)(x)
        x = nn.relu(x).mean((1, 2))
        score = _dense(1)(x)[:, 0]
        return (score, _dense(self.classes)(x)) if self.classes else score


class GoodGenerator(nn.Module):
    """Latents z [b, 128] ~ N(0, I) to images in (-1, 1), `dim` channels at the full size."""

    size: Size = 64
    channels: int = 3
    dim: int = 64

    @nn.compact
    def __call__(self, z: Float[Array, "b k"], *, train: bool = True) -> Float[Array, "b h w c"]:
        norm = lambda x: BatchNorm()(x, train=train)
        widths = [self.dim << i for i in reversed(range(_doublings(self.size)))]
        x = _dense(4 * 4 * widths[0])(z).reshape(len(z), 4, 4, widths[0])
        for width in widths:
            x = Block(width, up=True, bias=False)(x, norm)
        return jnp.tanh(_conv(self.channels)(nn.relu(norm(x))))


class GoodCritic(nn.Module):
    """Images to one score each [b]; layer normalisation."""

    dim: int = 64

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = True) -> Float[Array, "b"]:
        levels = _doublings(x.shape[1:3])
        x = _plain_conv(self.dim)(x)
        for level in range(1, levels + 1):
            width = self.dim << min(level, levels - 1)
            x = Block(width, down=True, bias=False)(x, lambda x: LayerNorm()(x))
        return _dense(1)(x.reshape(len(x), -1))[:, 0]


class Bottleneck(nn.Module):
    """shortcut(x) + 0.3 norm(conv1(relu(conv3(relu(conv1(relu(x))))))), where the windows are of 1,
    3 and 1 pixels, and half as many channels as outside are between. A doubling (`up`) is that of a
    transposed convolution, a halving (`down`) of a strided one. (The code's doubled shortcut has
    its channels in TensorFlow's order, not torch's: the same but for the order of weights.)"""

    features: int
    up: bool = False
    down: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], norm=lambda x: x) -> Float[Array, "b h2 w2 d"]:
        start = improved_wgan(down=2 if self.down else 1)
        stride, inside = 2 if self.down else 1, self.features // 2
        y = _conv(x.shape[-1] // 2, kernel=1)(nn.relu(x))
        if self.up:
            middle = _up(inside, kernel=3)
        else:
            middle = _conv(inside, stride=stride, kernel_init=start)
        y = _conv(self.features, kernel=1, use_bias=False)(nn.relu(middle(nn.relu(y))))
        if self.up:
            x = pixel_shuffle(_plain_conv(4 * self.features, kernel=1)(x), 2)
        elif self.down:
            start = improved_wgan(gain=1, down=2)
            x = _conv(self.features, kernel=1, stride=2, kernel_init=start)(x)
        return x + 0.3 * norm(y)


def _stairs(size: Size, dim: int) -> list[int]:
    """The width of each level from `size` to 4 pixels: half of `dim`, `dim`, twice as much, ..."""
    if dim % 4:
        raise UserError(f"WGAN-GP's networks of 101 layers have widths of 4, 8, ..., not {dim}")
    return [(dim << i) // 2 for i in range(_doublings(size) + 1)]


class DeepGenerator(nn.Module):
    """Latents z [b, 128] ~ N(0, I) to images in (-1, 1), `dim` / 2 channels at the full size and
    `blocks` at each level, one fewer at the last: 101 layers at 64 pixels."""

    size: Size = 64
    channels: int = 3
    dim: int = 64
    blocks: int = 6

    @nn.compact
    def __call__(self, z: Float[Array, "b k"], *, train: bool = True) -> Float[Array, "b h w c"]:
        norm = lambda x: BatchNorm()(x, train=train)
        *finer, first = _stairs(self.size, self.dim)
        x = _dense(4 * 4 * first)(z).reshape(len(z), 4, 4, first)
        for _ in range(self.blocks):
            x = Bottleneck(first)(x, norm)
        for level in reversed(range(len(finer))):
            x = Bottleneck(finer[level], up=True)(x, norm)
            for _ in range(self.blocks if level else self.blocks - 1):
                x = Bottleneck(finer[level])(x, norm)
        return jnp.tanh(_plain_conv(self.channels, kernel=1)(x) / 5)


class DeepCritic(nn.Module):
    """Images to one score each [b]: the generator's blocks in the opposite order, with layer
    normalisation."""

    dim: int = 64
    blocks: int = 6

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = True) -> Float[Array, "b"]:
        norm = lambda x: LayerNorm()(x)
        first, *coarser = _stairs(x.shape[1:3], self.dim)
        x = _plain_conv(first, kernel=1)(x)
        for _ in range(self.blocks - 1):
            x = Bottleneck(first)(x, norm)
        for width in coarser:
            x = Bottleneck(width, down=True)(x, norm)
            for _ in range(self.blocks):
                x = Bottleneck(width)(x, norm)
        return _dense(1)(x.reshape(len(x), -1))[:, 0] / 5
