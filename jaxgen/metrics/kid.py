"""The kernel inception distance (Binkowski et al., 2018), https://arxiv.org/abs/1801.01401, Sec. 4.

The squared maximum mean discrepancy between two sets of features under k(x, y) = (x.y/d + 1)^3.
The estimate is unbiased (Gretton et al., 2012, Eq. 3: no pair of a sample with itself), so that it
may be negative, and its mean does not depend on the number of samples as FID does.  torch-fidelity
and clean-fid report the mean over 100 subsets of 1,000, torch-fidelity with the population standard
deviation; often multiplied by 1,000.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

Features = Float[Array | np.ndarray, "n d"]
BLOCK = 2**24  # kernel values at once


@jax.jit
def kid(x: Features, y: Float[Array | np.ndarray, "m d"]) -> Float[Array, ""]:
    """The estimate on whole sets, in blocks: n m values are never in memory together."""
    # Each sample's means are subtracted before they are averaged: they are nearly equal.
    return (_within(x) - _across(x, y)).mean() + (_within(y) - _across(y, x)).mean()


def kid_subsets(
    x: Features,
    y: Float[Array | np.ndarray, "m d"],
    key: jax.Array,
    subsets: int = 100,
    size: int = 1000,
) -> Float[Array, "subsets"]:
    """The estimate on random subsets, each drawn without repetition: report the values' mean and
    (population) standard deviation.  ValueError where a set is smaller than a subset."""
    if min(len(x), len(y)) < size:
        raise ValueError(
            f"KID's subsets of {size} need as many samples; there are {min(len(x), len(y))}: "
            "make more, or take smaller subsets"
        )
    return _subsets(x, y, jax.random.split(key, subsets), size)


def _subsets(x, y, keys, size):
    def one(key):
        of_x, of_y = jax.random.split(key)
        draw = lambda k, n: jax.random.choice(k, n, (size,), replace=False)
        return kid(x[draw(of_x, len(x))], y[draw(of_y, len(y))])

    return lax.map(one, keys)


_subsets = jax.jit(_subsets, static_argnames="size")


def _kernel(x, y):
    return (jnp.matmul(y, x, precision="highest") / x.shape[-1] + 1) ** 3


def _across(x, y):
    """[n]: the mean kernel of each x with all y."""
    batch = max(1, min(len(x), BLOCK // len(y)))
    return lax.map(lambda row: _kernel(row, y).mean(), x, batch_size=batch)


def _within(x):
    """[n]: the mean kernel of each x with all others."""
    with_itself = ((x**2).sum(axis=1) / x.shape[1] + 1) ** 3
    return (_across(x, x) * len(x) - with_itself) / (len(x) - 1)
