"""Networks that are told a label: conditional GANs, four ways for the label to enter.

`MaxoutGenerator` and `MaxoutDiscriminator` are those of the first paper (Mirza & Osindero, 2014),
https://arxiv.org/abs/1411.1784, for MNIST. `ConcatGenerator` and `ConcatDiscriminator` are DCGAN's
for MNIST (Radford et al., 2016), as its Theano code has them: the label goes into every layer.
`ProjectionDiscriminator` (Miyato & Koyama, 2018), https://arxiv.org/abs/1802.05637, adds to the
score of an image how well its features fit the label; `AuxiliaryDiscriminator` (AC-GAN, Odena et
al., 2017), https://arxiv.org/abs/1610.09585, reads the label off them. The generator of these two
is `models.wgan_gp.CifarGenerator` with classes. Labels are int32 [b], at first one-hot vectors.
"""

from collections.abc import Sequence
from functools import partial
from math import prod

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.models.dcgan import pyramid
from jaxgen.models.size import Size
from jaxgen.nn import init
from jaxgen.nn.conv import Conv, ConvTranspose
from jaxgen.nn.dropout import Dropout
from jaxgen.nn.maxout import Maxout
from jaxgen.nn.norm import BatchNorm
from jaxgen.nn.pool import average_pool
from jaxgen.nn.spectral import SpectralConv, SpectralDense, SpectralEmbed

Images = Float[Array, "_b _h _w _c"]
Latents = Float[Array, "_b _k"]
Label = Int[Array, "_b"]


# Conditional generative adversarial nets (Mirza & Osindero, 2014)


class MaxoutGenerator(nn.Module):
    """Latents z [b, 100] ~ U(0, 1) and labels to images in (-1, 1): `hidden` units of z and of the
    label, then of both together. Dropout halves the units of every hidden layer, also when images
    are made: it is most of the noise that this network learns with, and without it they are alike.
    """

    shape: tuple[int, int, int] = (28, 28, 1)
    classes: int = 10
    hidden: tuple[int, int, int] = (200, 1000, 1200)
    dropout: float = 0.5

    @nn.compact
    def __call__(self, z: Latents, label: Label, *, train: bool = True) -> Images:
        of_z, of_label, joint = self.hidden
        drop = lambda x: Dropout(self.dropout)(x)
        dense = partial(nn.Dense, kernel_init=init.uniform(0.05))
        x = drop(nn.relu(dense(of_z, name="z")(z)))
        y = drop(nn.relu(dense(of_label, name="label")(nn.one_hot(label, self.classes))))
        x = drop(nn.relu(dense(joint, name="joint")(jnp.concatenate([x, y], axis=1))))
        x = dense(prod(self.shape), name="out")(x)
        return jnp.tanh(x / 2).reshape(len(x), *self.shape)  # a sigmoid's pixels in (-1, 1)


class MaxoutDiscriminator(nn.Module):
    """Images in [-1, 1] and labels to logits [b]: (units, pieces) of a maxout layer of the image,
    of one of the label, and of one of both, each with dropout."""

    classes: int = 10
    image: tuple[int, int] = (240, 5)
    label: tuple[int, int] = (50, 5)
    joint: tuple[int, int] = (240, 4)
    dropout: float = 0.5

    @nn.compact
    def __call__(self, x: Images, label: Label, *, train: bool = True) -> Float[Array, "_b"]:
        drop = lambda x: Dropout(self.dropout)(x, train=train)
        start = init.uniform(0.005)
        x = (x.reshape(len(x), -1) + 1) / 2
        x = drop(Maxout(*self.image, start, name="of_image")(x))
        y = drop(Maxout(*self.label, start, name="of_label")(nn.one_hot(label, self.classes)))
        x = drop(Maxout(*self.joint, start, name="of_both")(jnp.concatenate([x, y], axis=1)))
        return nn.Dense(1, kernel_init=start, name="out")(x)[:, 0]


# DCGAN for MNIST (Radford, Metz & Chintala, 2016)

_weights = init.normal(0.02)
_dense = partial(nn.Dense, use_bias=False, kernel_init=_weights)
_norm = partial(BatchNorm, affine=False)
_down = partial(Conv, kernel=5, stride=2, padding=2, use_bias=False, kernel_init=_weights)
_up = partial(ConvTranspose, kernel=5, padding=2, output_padding=1, use_bias=False)
_up = partial(_up, kernel_init=_weights)
_leaky = partial(nn.leaky_relu, negative_slope=0.2)


def _told(x, label, classes: int):
    """x [b, ..., c] with the one-hot label behind the channels of every pixel."""
    y = nn.one_hot(label, classes, dtype=x.dtype)
    y = y.reshape(len(x), *(1,) * (x.ndim - 2), classes)
    return jnp.concatenate([x, jnp.broadcast_to(y, (*x.shape[:-1], classes))], axis=-1)


class ConcatGenerator(nn.Module):
    """Latents z [b, 100] ~ U(-1, 1) and labels to images in (-1, 1). Two dense layers, then
    transposed convolutions down to `width` channels. Batch normalisation learns nothing; running
    averages stand for the batch's statistics when images are made."""

    size: Size = 28
    channels: int = 1
    width: int = 64
    classes: int = 10

    @nn.compact
    def __call__(self, z: Latents, label: Label, *, train: bool = True) -> Images:
        told = lambda x: _told(x, label, self.classes)
        hidden = lambda x: nn.relu(_norm()(x, train=train))
        levels, (height, width) = pyramid(self.size)
        top = self.width << (levels - 1)
        x = hidden(_dense(16 * self.width)(told(z)))
        x = hidden(_dense(height * width * top)(told(x))).reshape(len(x), height, width, top)
        for level in reversed(range(levels - 1)):
            x = hidden(_up(self.width << level)(told(x)))
        return jnp.tanh(_up(self.channels)(told(x)) / 2)  # a sigmoid's pixels in (-1, 1)


class ConcatDiscriminator(nn.Module):
    """Images in [-1, 1] and labels to logits [b]: convolutions of `width` channels and more, then
    two dense layers."""

    width: int = 64
    classes: int = 10

    @nn.compact
    def __call__(self, x: Images, label: Label, *, train: bool = True) -> Float[Array, "_b"]:
        told = lambda x: _told(x, label, self.classes)
        hidden = lambda x: _leaky(_norm()(x, train=train))
        levels, _ = pyramid(x.shape[1:3])
        x = _leaky(_down(self.width)(told((x + 1) / 2)))
        for level in range(1, levels):
            x = hidden(_down(self.width << level)(told(x)))
        x = hidden(_dense(16 * self.width)(told(x.reshape(len(x), -1))))
        return _dense(1)(told(x))[:, 0]


# cGANs with projection discriminator (Miyato & Koyama, 2018), and AC-GAN's head

_score = partial(SpectralDense, 1, use_bias=False, kernel_init=init.improved_wgan(gain=1))


class SpectralBlock(nn.Module):
    """shortcut(x) + conv(relu(conv(relu(x)))), spectrally normalised, as wide inside as its input;
    halved at its end with `down`. `leads=False` is the first block: no leading ReLU, and as wide
    inside as its output, which with `wide` (SAGAN, BigGAN) all blocks are."""

    features: int
    down: bool = False
    leads: bool = True
    wide: bool = False
    kernel_init: init.Initializer = init.improved_wgan()
    shortcut_init: init.Initializer = init.improved_wgan(gain=1)

    @nn.compact
    def __call__(self, x: Images, *, train: bool = True) -> Float[Array, "_b _h2 _w2 _d"]:
        halve = lambda x: average_pool(x, 2, 2) if self.down else x
        inside = self.features if self.wide or not self.leads else x.shape[-1]
        conv = partial(SpectralConv, kernel_init=self.kernel_init)
        y = nn.relu(x) if self.leads else x
        y = nn.relu(conv(inside, name="first")(y, train=train))
        y = halve(conv(self.features, name="second")(y, train=train))
        if self.down or self.features != x.shape[-1]:
            # at the smaller size: a 1x1 convolution commutes with halving
            plain = partial(SpectralConv, kernel=1, kernel_init=self.shortcut_init)
            x = plain(self.features, name="shortcut")(halve(x), train=train)
        return x + y


class Residual(nn.Module):
    """Images in [-1, 1] to features [b, c]: blocks of `widths`, halved where `downs` says so, and
    the sum over all pixels. The defaults are those for 32 pixels."""

    widths: Sequence[int] = (128, 128, 128, 128)
    downs: Sequence[bool] = (True, True, False, False)

    @nn.compact
    def __call__(self, x: Images, *, train: bool = True) -> Float[Array, "_b _d"]:
        for i, (width, down) in enumerate(zip(self.widths, self.downs, strict=True)):
            x = SpectralBlock(width, down, leads=i > 0, name=f"block_{i}")(x, train=train)
        return nn.relu(x).sum((1, 2))


class ProjectionDiscriminator(nn.Module):
    """Images in [-1, 1] and labels to scores [b], psi(h) + <V y, h> of the features h (Eq. 3)."""

    body: nn.Module
    classes: int = 10

    @nn.compact
    def __call__(self, x: Images, label: Label, *, train: bool = True) -> Float[Array, "_b"]:
        h = self.body(x, train=train)
        start = init.improved_wgan(gain=1)
        v = SpectralEmbed(self.classes, h.shape[-1], start, name="embed")(label, train=train)
        return _score(name="score")(h, train=train)[:, 0] + (v * h).sum(1)


class AuxiliaryDiscriminator(nn.Module):
    """Images in [-1, 1] to logits [b] and to those of their classes, [b, classes]."""

    body: nn.Module
    classes: int = 10

    @nn.compact
    def __call__(
        self, x: Images, *, train: bool = True
    ) -> tuple[Float[Array, "_b"], Float[Array, "_b classes"]]:
        h = self.body(x, train=train)
        return _score(name="score")(h, train=train)[:, 0], nn.Dense(self.classes, name="class")(h)
