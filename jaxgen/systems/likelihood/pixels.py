"""What a decoder's output says of the pixels: p(x | z)."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen import draw
from jaxgen.losses.likelihood import bernoulli_log_likelihood, gaussian_log_likelihood
from jaxgen.models.vae import LEVEL


@dataclasses.dataclass(frozen=True)
class Pixels:
    """p(x | z): what the decoder's output says of the pixels.

    preprocess: (grey levels [b, h, w, c] in [0, 1], key) -> x of the same shape.
    log_likelihood: (x, output) -> log p(x | z) [b].
    mean: output -> E[x | z], images in [0, 1].
    """

    preprocess: Callable[[jax.Array, jax.Array], jax.Array]
    log_likelihood: Callable[[jax.Array, Any], jax.Array]
    mean: Callable[[Any], jax.Array]


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


# The Bernoulli decoder of black and white pixels; of grey levels, which is customary but no
# likelihood; and the Gaussian decoder.
binary = Pixels(binarise, bernoulli_log_likelihood, nn.sigmoid)
grey = Pixels(lambda levels, key: levels, bernoulli_log_likelihood, nn.sigmoid)
gaussian = Pixels(dequantise, _levels_log_likelihood, lambda output: output[0])
