"""The Frechet inception distance (Heusel et al., 2017), https://arxiv.org/abs/1706.08500, Eq. 6.

    d^2 = |mu_1 - mu_2|^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))

between Gaussians with the means and covariances of two sets of features.  Covariances divide by
N - 1, as numpy.cov does in the TTUR code, pytorch-fid, torch-fidelity and clean-fid.  The number is
called FID only with 50,000 samples and the 2,048 pooled features of the 2015 Inception network; it
falls as N grows, so that numbers of different N are never compared.

No covariance matrix is ever formed and no matrix root is taken.  A set is summarised by a factor R
with R'R = sum (x - mu)(x - mu)', kept up to date by QR decompositions.  With F = R / sqrt(N - 1),

    Tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)) = min over orthogonal U of |F_1 - U F_2|^2

(the Bures distance as a Procrustes problem), and the best U is W V' where F_1 F_2' = W D V'; the
trace of the root is the sum of the singular values D.  The right-hand side is a sum of squares: it
stays exact in float32, with fewer samples than dimensions, and for two sets that are nearly the
same, where the left-hand side is a small difference of large numbers.
"""

from collections.abc import Iterable
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float

from jaxgen.parallel import AXIS

Features = Float[Array | np.ndarray, "n d"]
Keep = Bool[Array | np.ndarray, "n"]
Scalar = Float[Array, ""]
BLOCK = 4096  # rows of one QR decomposition, or four times the dimensions


class Moments(NamedTuple):
    """What FID needs to know of N features of d dimensions."""

    count: jax.Array
    """N, as a float."""
    mean: jax.Array
    """[d]"""
    factor: jax.Array
    """R [r, d], r <= d: R'R is the sum of (x - mean)(x - mean)'."""


def moments(features: Features, keep: Keep | None = None) -> Moments:
    """The moments of a set that is at hand; rows where `keep` is False (padding) do not count."""
    keep = np.ones(len(features), bool) if keep is None else keep
    step = max(BLOCK, 4 * features.shape[1])
    starts = range(0, max(len(features), 1), step)
    return reduce(merge, (_moments(features[i : i + step], keep[i : i + step]) for i in starts))


@jax.jit
def merge(a: Moments, b: Moments) -> Moments:
    """The moments of both sets (Chan et al., 1979, on factors), associative up to rounding."""
    count = a.count + b.count
    share = b.count / jnp.maximum(count, 1)
    apart = b.mean - a.mean
    shift = jnp.sqrt(a.count * share) * apart
    rows = jnp.concatenate([a.factor, b.factor, shift[None]])
    return Moments(count, a.mean + share * apart, _short(rows))


def stream(batches: Iterable[tuple[Features, Keep]], mesh: Mesh) -> Moments:
    """The moments of batches [B, d], each with the rows to keep, split over the devices of `mesh`.

    Every device sums up its own rows; they meet once, at the end, as one factor [d, d] a device.
    Features are held back until a device has d rows (one QR decomposition then pays) and are not
    moved.  With several processes the arrays are global and every process gets the result.
    """
    held, spread = [], None
    for batch in batches:
        held.append(batch)
        rows = sum(len(features) for features, _ in held)
        if rows >= mesh.devices.size * batch[0].shape[1]:
            spread, held = _add(spread, held, mesh=mesh), []
    if held:
        spread = _add(spread, held, mesh=mesh)
    if spread is None:
        raise ValueError("no batches: there are no features to summarise")
    everywhere = NamedSharding(mesh, P())
    return jax.jit(_together, out_shardings=everywhere)(spread)


def from_covariance(
    mean: Float[np.ndarray, "d"], covariance: Float[np.ndarray, "d d"], count: int
) -> Moments:
    """From published statistics (`mu`, `sigma`) of `count` samples; float64 until factored."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
    factor = np.sqrt(np.maximum(values, 0) * (count - 1))[:, None] * vectors.T
    return Moments(jnp.asarray(float(count)), jnp.asarray(mean), jnp.asarray(factor))


@jax.jit
def fid(a: Moments, b: Moments) -> Scalar:
    """The squared distance of Eq. 6, never negative; NaN where a set has fewer than two samples."""
    rows = max(len(a.factor), len(b.factor))
    f1, f2 = (
        jnp.pad(m.factor / jnp.sqrt(m.count - 1), ((0, rows - len(m.factor)), (0, 0)))
        for m in (a, b)
    )
    product = partial(jnp.matmul, precision="highest")
    w, _, v = jnp.linalg.svd(product(f1, f2.T))
    apart = f1 - product(product(w, v), f2)
    return ((a.mean - b.mean) ** 2).sum() + (apart**2).sum()


@jax.jit
def _moments(features, keep):
    x = jnp.where(keep[:, None], features, 0)
    count = keep.sum().astype(x.dtype)
    mean = x.sum(axis=0) / jnp.maximum(count, 1)
    centred = jnp.where(keep[:, None], x - mean, 0)
    # Rounding of the first mean is larger than that of the mean of what it leaves.
    rest = centred.sum(axis=0) / jnp.maximum(count, 1)
    return Moments(count, mean + rest, _short(jnp.where(keep[:, None], centred - rest, 0)))


def _short(rows):
    """At most d rows with the same product R'R."""
    return jnp.linalg.qr(rows, mode="r") if rows.shape[0] > rows.shape[1] else rows


@partial(jax.jit, static_argnames="mesh")
def _add(spread, held, mesh):
    """`spread` is one `Moments` a device, stacked and split along the mesh."""

    def add(spread, held):
        features, keep = (jnp.concatenate(x) for x in zip(*held, strict=True))
        new = moments(features, keep)
        if spread is not None:
            new = merge(jax.tree.map(lambda x: x[0], spread), new)
        return jax.tree.map(lambda x: x[None], new)

    split = P(AXIS)
    return jax.shard_map(add, mesh=mesh, in_specs=(split, split), out_specs=split)(spread, held)


def _together(spread):
    device = lambda i: jax.tree.map(lambda x: x[i], spread)
    return reduce(merge, map(device, range(len(spread.count))))
