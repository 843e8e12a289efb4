"""Latents: the priors that they are drawn from, and the paths between two of them.

A prior is a function (key, n) -> float32 [n, latent], drawn by example.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float

from jaxgen import draw


@dataclasses.dataclass(frozen=True)
class Prior:
    """(key, n) -> latents.  name: of the distribution; numpy: Python that draws a shape {}."""

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


def truncated(z: Float[Array, "*b k"], tau: float) -> Float[Array, "*b k"]:
    """Draws z ~ N(0, I) as draws of the normal distribution of which numbers outside of [-tau, tau]
    are drawn anew (Brock et al., 2019, Sec. 3.1): the same quantile of the one as of the other, so
    that a number keeps its place among the others."""
    low = ndtr(-jnp.float32(tau))
    return ndtri(low + ndtr(z) * (1 - 2 * low)).clip(-tau, tau)


def lerp(a: Float[Array, "*b k"], b: Float[Array, "*b k"], t) -> Float[Array, "*tb k"]:
    """The straight line, a at t = 0 and b at t = 1. `t` [...] broadcasts against the vectors."""
    t = jnp.asarray(t)[..., None]
    return (1 - t) * a + t * b


def slerp(a: Float[Array, "*b k"], b: Float[Array, "*b k"], t) -> Float[Array, "*tb k"]:
    """Along the arc: sin((1-t)w)/sin(w) a + sin(tw)/sin(w) b, with w the angle between a and b
    (White, 2016, https://arxiv.org/abs/1609.04468), so that Gaussian latents keep their usual
    length; a straight line shortens them by up to sqrt(2). `t` [...] broadcasts against the
    vectors. Where a and b are parallel, or opposite (no arc is the shortest), it is `lerp`.
    """
    t = jnp.asarray(t)[..., None]
    unit_a, unit_b = _unit(a), _unit(b)
    # the half-angle's tangent: exact for small angles too, where arccos is not
    w = 2 * jnp.arctan2(_norm(unit_a - unit_b), _norm(unit_a + unit_b))
    straight = jnp.sin(w) < 1e-5
    w = jnp.where(straight, 1.0, w)
    arc = (jnp.sin((1 - t) * w) * a + jnp.sin(t * w) * b) / jnp.sin(w)
    return jnp.where(straight, (1 - t) * a + t * b, arc)


def _norm(x):
    return jnp.linalg.norm(x, axis=-1, keepdims=True)


def _unit(x):
    return x / jnp.maximum(_norm(x), 1e-12)
