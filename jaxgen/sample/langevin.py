"""Langevin dynamics: images that walk downhill on an energy, with noise."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxgen import draw

Images = Float[Array, "b *d"]


def langevin(
    energy: Callable[[jax.Array], jax.Array],
    x: Images,
    key: jax.Array,
    *,
    steps: int,
    size: float,
    noise: float = 0.005,
    largest: float | None = None,
    kept: Bool[Array, "#b *#d"] | None = None,
    path: bool = False,
) -> Float[Array, "..."]:
    """x [b, ...] in [0, 1] after `steps` of  x <- clip(x + n - size dE/dx, 0, 1),  n ~ N(0,
    noise^2), with the slope at x + n, cut to +-`largest` (Du & Mordatch, 2019, Alg. 1).

    energy: images -> energies [b].
    kept: where x stays as it is; broadcast against x.
    path: whether the images after every step are wanted, [steps, b, ...].
    """
    slope = jax.grad(lambda x: energy(x).sum())

    def step(x, key):
        moved = x + noise * draw.normal(key, len(x), x.shape[1:])
        downhill = slope(moved)
        if largest is not None:
            downhill = jnp.clip(downhill, -largest, largest)
        new = jnp.clip(moved - size * downhill, 0, 1)
        new = new if kept is None else jnp.where(kept, x, new)
        return new, new if path else None

    last, passed = jax.lax.scan(step, x, jax.random.split(key, steps))
    return jnp.asarray(passed) if path else last
