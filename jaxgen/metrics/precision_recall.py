"""Fidelity and diversity apart, by nearest neighbours among features.

A set's manifold is a ball around each of its points, up to the k-th nearest other point.

Precision and recall (Kynkaanniemi et al., 2019, https://arxiv.org/abs/1904.06991, Eq. 1-2): the
share of samples in any real ball, the share of real points in any sample's ball; k = 3, 50,000 of
each, the second hidden layer of VGG-16; boundaries belong to the balls (<=).  Realism (Eq. 3): how
deep in the real manifold a sample is.

Density and coverage (Naeem et al., 2020, https://arxiv.org/abs/2002.09797, Sec. 3): the number of
real balls around a sample, over k (1 for equal distributions, unlike precision it may exceed 1);
the share of real balls that hold a sample; k = 5, boundaries excluded (<), as in the `prdc` code.

Distances are computed in blocks: n m of them are never in memory together.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

Real = Float[Array | np.ndarray, "n d"]
Fake = Float[Array | np.ndarray, "m d"]
BLOCK = 2**24  # distances at once


class PrecisionRecall(NamedTuple):
    precision: jax.Array
    recall: jax.Array


class DensityCoverage(NamedTuple):
    density: jax.Array
    coverage: jax.Array


@partial(jax.jit, static_argnames="k")
def precision_recall(real: Real, fake: Fake, k: int = 3) -> PrecisionRecall:
    """Both in [0, 1].  ValueError where a set has k points or fewer."""
    real, fake = _centred(real, fake)

    def covered(points, by):
        radii = _squared_radii(by, k)
        return _by_row(lambda row, _: (_squared_distances(row, by) <= radii).any(), points, by)

    return PrecisionRecall(covered(fake, real).mean(), covered(real, fake).mean())


@partial(jax.jit, static_argnames="k")
def density_coverage(real: Real, fake: Fake, k: int = 5) -> DensityCoverage:
    """Density in [0, n/k], coverage in [0, 1].  ValueError where `real` has k points or fewer."""
    real, fake = _centred(real, fake)
    radii = _squared_radii(real, k)
    balls = _by_row(lambda row, _: (_squared_distances(row, real) < radii).sum(), fake, real)
    nearest = _by_row(lambda row, _: _squared_distances(row, fake).min(), real, fake)
    return DensityCoverage(balls.mean() / k, (nearest < radii).mean())


@partial(jax.jit, static_argnames=("k", "prune"))
def realism(real: Real, fake: Fake, k: int = 3, prune: bool = True) -> Float[Array, "m"]:
    """max_r radius(r) / (|g - r| + 1e-5) of each sample g; 1 or more inside the manifold.

    prune: leave out the half of the real balls that are larger than the median, as the paper does.
    """
    real, fake = _centred(real, fake)
    radii = jnp.sqrt(_squared_radii(real, k))
    radii = jnp.where(prune & (radii > jnp.median(radii)), 0, radii)
    depth = lambda row, _: (radii / (jnp.sqrt(_squared_distances(row, real)) + 1e-5)).max()
    return _by_row(depth, fake, real)


@partial(jax.jit, static_argnames="k")
def radii(points: Real, k: int = 3) -> Float[Array, "n"]:
    """The distance of each point to its k-th nearest other point."""
    return jnp.sqrt(_squared_radii(_centred(points)[0], k))


def _squared_radii(points, k):
    n = len(points)
    if n <= k:
        raise ValueError(f"{n} points have no {k}-th nearest neighbours; take more, or a smaller k")

    def kth(row, i):
        others = jnp.where(jnp.arange(n) == i, jnp.inf, _squared_distances(row, points))
        # The last of the k, not by index: XLA would sort all n of them for that.
        return -lax.top_k(-others, k)[0].min()

    return _by_row(kth, points, points)


def _centred(real, *others):
    """Around the origin the rounding of |x|^2 - 2 x.y + |y|^2 is smallest."""
    mean = jnp.mean(real, axis=0)
    return tuple(x - mean for x in (real, *others))


def _squared_distances(row, points):
    products = jnp.matmul(points, row, precision="highest")
    return jnp.maximum((points**2).sum(axis=1) - 2 * products + row @ row, 0)


def _by_row(f, rows, points):
    """f(row, its index) of every row, as many at once as distances to all `points` may be."""
    batch = max(1, min(len(rows), BLOCK // len(points)))
    return lax.map(lambda xs: f(*xs), (rows, jnp.arange(len(rows))), batch_size=batch)
