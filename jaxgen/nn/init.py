"""Initial weights that flax.linen does not name: each is `init(key, shape, dtype) -> array`.

A kernel's shape is (*window, in, out), that of a transposed convolution (*window, out, in).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Initializer = Callable[..., Any]


def normal(stddev: float, mean: float = 0.0) -> Initializer:
    """N(mean, stddev^2); DCGAN: `normal(0.02)` for weights, `normal(0.02, mean=1)` for BN gains."""
    return lambda key, shape, dtype=jnp.float32: (
        mean + stddev * jax.random.normal(key, shape, dtype)
    )


def uniform(limit: float) -> Initializer:
    """U(-limit, limit), the GAN paper's `irange`; torch's linear layers have 1/sqrt(fan_in)."""
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(
        key, shape, dtype, minval=-limit, maxval=limit
    )


def improved_wgan(gain: float = 2.0, up: int = 1, down: int = 1) -> Initializer:
    """Uniform with variance 2 * gain / (fan_in + fan_out), as in the code of WGAN-GP.

    `gain` is 2 before a nonlinearity (He), 1 elsewhere (Glorot). A convolution of stride `down`
    divides its fan_out by down^2, a transposed one of stride `up` its fan_in by up^2: each counts
    the connections that a unit really has.
    """

    def init(key, shape, dtype=jnp.float32):
        window, (inside, outside) = math.prod(shape[:-2]), shape[-2:]
        if up > 1:
            inside, outside = outside, inside
        fan_in, fan_out = window * inside / up**2, window * outside / down**2
        return uniform(math.sqrt(3 * 2 * gain / (fan_in + fan_out)))(key, shape, dtype)

    return init
