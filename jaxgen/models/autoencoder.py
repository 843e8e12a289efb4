"""The deep autoencoder of Hinton & Salakhutdinov (2006), https://doi.org/10.1126/science.1127647,
the restricted Boltzmann machines that it is made of, and a convolutional one.

Images are in [0, 1] here.
"""

from collections.abc import Callable, Sequence
from math import prod

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.nn import init
from jaxgen.nn.conv import Conv, ConvTranspose

Images = Float[Array, "b h w c"]
Codes = Float[Array, "b k"]


class RBM(nn.Module):
    """A restricted Boltzmann machine: weights [visible, hidden] and both layers' biases.

    linear: whether hidden units are Gaussian with variance 1, whose mean is what others' logit is.
    """

    hidden: int
    linear: bool = False

    @nn.compact
    def __call__(self, v: Float[Array, "b n"]) -> Codes:
        """The probabilities (or the means) of the hidden units."""
        weights = self.param("weights", init.normal(0.1), (v.shape[-1], self.hidden))
        self.param("visible", nn.initializers.zeros, v.shape[-1:])
        h = v @ weights + self.param("hidden", nn.initializers.zeros, (self.hidden,))
        return h if self.linear else nn.sigmoid(h)


class Encoder(nn.Module):
    """Images to codes: dense layers with logistic units, the last one linear."""

    widths: Sequence[int] = (1000, 500, 250, 30)
    activation: Callable[[jax.Array], jax.Array] = nn.sigmoid

    @nn.compact
    def __call__(self, x: Images) -> Codes:
        h = x.reshape(len(x), -1)
        for i, width in enumerate(self.widths):
            h = nn.Dense(width, name=f"dense_{i}")(self.activation(h) if i else h)
        return h


class Decoder(nn.Module):
    """Codes to the logits of images: the encoder's layers in reverse."""

    shape: tuple[int, int, int] = (28, 28, 1)
    widths: Sequence[int] = (250, 500, 1000)
    activation: Callable[[jax.Array], jax.Array] = nn.sigmoid

    @nn.compact
    def __call__(self, z: Codes) -> Images:
        for i, width in enumerate((*self.widths, prod(self.shape))):
            z = nn.Dense(width, name=f"dense_{i}")(self.activation(z) if i else z)
        return z.reshape(-1, *self.shape)


class ConvEncoder(nn.Module):
    """Images to codes: strided convolutions with ReLU, then a dense layer."""

    latent: int = 30
    widths: Sequence[int] = (32, 64)

    @nn.compact
    def __call__(self, x: Images) -> Codes:
        for width in self.widths:
            x = nn.relu(Conv(width, 4, 2, 1)(x))
        return nn.Dense(self.latent)(x.reshape(len(x), -1))


class ConvDecoder(nn.Module):
    """Codes to the logits of images of `shape`, whose sides 2^len(widths) divides."""

    shape: tuple[int, int, int] = (28, 28, 1)
    widths: Sequence[int] = (64, 32)

    @nn.compact
    def __call__(self, z: Codes) -> Images:
        height, width, channels = self.shape
        part = 2 ** len(self.widths)
        small = (height // part, width // part, self.widths[0])
        x = nn.Dense(prod(small))(z).reshape(-1, *small)
        for features in (*self.widths[1:], channels):
            x = ConvTranspose(features, 4, 2, 1)(nn.relu(x))
        return x


def unrolled(machines: Sequence[dict]) -> tuple[dict, dict]:
    """The weights of an encoder and a decoder from those of RBMs, the lowest first: the decoder has
    the transposes, and the visible layers' biases."""
    up = [{"kernel": m["weights"], "bias": m["hidden"]} for m in machines]
    down = [
        {"kernel": jnp.swapaxes(m["weights"], -1, -2), "bias": m["visible"]} for m in machines[::-1]
    ]
    name = lambda layers: {f"dense_{i}": layer for i, layer in enumerate(layers)}
    return name(up), name(down)
