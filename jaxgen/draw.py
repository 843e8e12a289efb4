"""Random numbers by example, so that they do not depend on the number of devices.

Example i of the global batch draws with `fold_in(key, i)` wherever it is computed.  Everything a
loss, an augmentation, a dropout or a noise layer draws by example comes from here; a number that
the whole batch shares (one crossover layer, one crop) is `jax.random` on the key itself.

A key has one use: `fold_in(key, i)` is also the i-th of `split(key)`, so a key that was split, or
has drawn, is spent.
"""

import jax
import jax.numpy as jnp

from jaxgen import parallel


def _keys(key, n):
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    return fold(key, parallel.place(n) + jnp.arange(n))


def each(draw, key: jax.Array, n: int):
    """`draw(key_i)` for each of this device's `n` examples, stacked: [n, ...]."""
    return jax.vmap(draw)(_keys(key, n))


def normal(key: jax.Array, n: int, shape: tuple[int, ...] = ()) -> jax.Array:
    """Standard normal numbers [n, *shape]."""
    return each(lambda k: jax.random.normal(k, shape), key, n)


def uniform(key, n: int, shape: tuple[int, ...] = (), minval=0.0, maxval=1.0) -> jax.Array:
    """Uniform numbers in [minval, maxval), [n, *shape]."""
    return each(lambda k: jax.random.uniform(k, shape, minval=minval, maxval=maxval), key, n)


def bernoulli(key, p, n: int, shape: tuple[int, ...] = ()) -> jax.Array:
    """True with probability p, [n, *shape]."""
    return each(lambda k: jax.random.bernoulli(k, p, shape), key, n)


def randint(key, n: int, shape: tuple[int, ...], minval, maxval) -> jax.Array:
    """Integers in [minval, maxval), [n, *shape]."""
    return each(lambda k: jax.random.randint(k, shape, minval, maxval), key, n)
