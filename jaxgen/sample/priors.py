"""Priors of latents: functions (key, n) -> float32 [n, latent], drawn by example."""

from collections.abc import Callable

import jax

from jaxgen import draw

Prior = Callable[[jax.Array, int], jax.Array]


def normal(latent: int) -> Prior:
    """N(0, I)."""
    return lambda key, n: draw.normal(key, n, (latent,))


def uniform(latent: int, low: float = -1.0, high: float = 1.0) -> Prior:
    """Uniform in [low, high), each number on its own."""
    return lambda key, n: draw.uniform(key, n, (latent,), low, high)
