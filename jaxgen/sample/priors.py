"""Priors of latents: functions (key, n) -> float32 [n, latent], drawn by example."""

import dataclasses
from collections.abc import Callable

import jax

from jaxgen import draw


@dataclasses.dataclass(frozen=True)
class Prior:
    """(key, n) -> latents.  name: of the distribution; numpy: Python that draws a {} of it."""

    draws: Callable[[jax.Array, int], jax.Array]
    name: str
    numpy: str

    def __call__(self, key: jax.Array, n: int) -> jax.Array:
        return self.draws(key, n)


def normal(latent: int) -> Prior:
    """N(0, I)."""
    draws = lambda key, n: draw.normal(key, n, (latent,))
    return Prior(draws, "N(0, 1)", "np.random.default_rng(0).normal(0, 1, {})")


def uniform(latent: int, low: float = -1.0, high: float = 1.0) -> Prior:
    """Uniform in [low, high), each number on its own."""
    draws = lambda key, n: draw.uniform(key, n, (latent,), low, high)
    name = f"uniform in [{low:g}, {high:g})"
    return Prior(draws, name, f"np.random.default_rng(0).uniform({low:g}, {high:g}, {{}})")
