"""What a network's output says of the pixels: p(x | z), or p(x_i | x_1 ... x_(i-1))."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen import draw
from jaxgen.losses.likelihood import (
    bernoulli_log_likelihood,
    categorical_log_likelihood,
    conditional_means,
    gaussian_log_likelihood,
    logistic_mixture,
    logistic_mixture_log_likelihood,
)
from jaxgen.models.vae import LEVEL


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The distribution of pixels that a network's output stands for.

    of: what x is; likelihoods of different things are not compared.
    preprocess: (grey levels [b, h, w, c] in [0, 1], key) -> x of the same shape.
    log_likelihood: (x, output) -> log p(x) [b].
    mean: output -> the mean of x, images in [0, 1].
    invert: (u, output) -> x in [0, 1] [..., c], for uniform u [..., 1 + c]: equal shares of u are
      equally likely x.
    likelihood: whether it is a distribution over x.
    """

    of: str
    preprocess: Callable[[jax.Array, jax.Array], jax.Array]
    log_likelihood: Callable[[jax.Array, Any], jax.Array]
    mean: Any = None
    invert: Any = None
    likelihood: bool = True


def sheet(images: jax.Array, columns: int) -> jax.Array:
    """Images [rows * columns, h, w, c] side by side as one, [1, rows * h, columns * w, c]."""
    n, h, w, c = images.shape
    rows = images.reshape(n // columns, columns, h, w, c).swapaxes(1, 2)
    return rows.reshape(1, n // columns * h, columns * w, c)


def binarise(levels, key):
    """1 with the grey level's probability, else 0."""
    n, *shape = levels.shape
    return jnp.float32(draw.uniform(key, n, tuple(shape)) < levels)


def dequantise(levels, key):
    """Each of the 256 levels spread over its share of [0, 1)."""
    n, *shape = levels.shape
    return (levels * 255 + draw.uniform(key, n, tuple(shape))) * LEVEL


def _levels_log_likelihood(x, output):
    return gaussian_log_likelihood(x, *output) + math.prod(x.shape[1:]) * math.log(LEVEL)


def _as_they_are(levels, key):
    return levels


def _choose(u, logits):
    """The position along the last axis at which the distribution function passes u [...]."""
    passed = jnp.cumsum(jax.nn.softmax(logits), axis=-1) < u[..., None]
    return jnp.minimum(passed.sum(-1), logits.shape[-1] - 1)


def _invert_binary(u, logits):
    return jnp.float32(u[..., 1:] < nn.sigmoid(logits))


def _invert_levels(u, logits):
    return jnp.float32(_choose(u[..., 1:], logits[..., None, :])) / (logits.shape[-1] - 1)


def _invert_mixture(u, numbers):
    channels = u.shape[-1] - 1
    weights, means, scales, coefficients = logistic_mixture(numbers, channels)
    chosen = jax.nn.one_hot(_choose(u[..., 0], weights), weights.shape[-1])[..., None, :]
    pick = lambda values: (values * chosen).sum(-1, keepdims=True)
    means, coefficients = pick(means), pick(coefficients)
    noise = jax.scipy.special.logit(jnp.clip(u[..., 1:], 1e-5, 1 - 1e-5))
    noise *= jnp.exp(pick(scales)[..., 0])
    x: list[jax.Array] = []
    for c in range(channels):  # the channels before have been drawn
        before = jnp.stack([*x, *[jnp.zeros_like(noise[..., 0])] * (channels - c)], axis=-1)
        mean = conditional_means(means, coefficients, before)[..., c, 0]
        x.append(jnp.clip(mean + noise[..., c], -1, 1))
    return (jnp.round((jnp.stack(x, axis=-1) + 1) * 127.5)) / 255


BINARY, LEVELS, SPREAD = "binary pixels", "grey levels", "grey levels, dequantised"

# The Bernoulli decoder of black and white pixels; of grey levels, which is customary but no
# likelihood; and the Gaussian decoder.
binary = Pixels(BINARY, binarise, bernoulli_log_likelihood, nn.sigmoid, _invert_binary)
grey = Pixels(
    "grey levels as probabilities",
    _as_they_are,
    bernoulli_log_likelihood,
    nn.sigmoid,
    likelihood=False,
)
gaussian = Pixels(SPREAD, dequantise, _levels_log_likelihood, lambda output: output[0])


# Of an image of one channel, 256 logits a pixel; and PixelCNN++'s mixture of logistics.
def _categorical(x, logits):
    return categorical_log_likelihood(x, logits[..., None, :])


def _mixture(x, numbers):
    return logistic_mixture_log_likelihood(2 * x - 1, numbers)


categorical = Pixels(LEVELS, _as_they_are, _categorical, invert=_invert_levels)
logistics = Pixels(LEVELS, _as_they_are, _mixture, invert=_invert_mixture)
