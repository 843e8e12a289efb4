"""The mutual information gap (Chen et al., 2018), https://arxiv.org/abs/1802.04942, Eq. 6.

    MIG = mean over factors v of (I(z_1; v) - I(z_2; v)) / H(v)

z_1 and z_2 are the latents that know most and second most of v.  As in the authors' code
I(z_j; v) = H(z_j) - E_v H(z_j | v), clamped at 0; entropies are Monte Carlo estimates under the
aggregate posterior q(z_j) = 1/N sum_n q(z_j | x_n), for H(z_j | v) with both samples and mixture
restricted to one value of v.  10,000 samples an entropy.  On dSprites the reference leaves out the
shape: factors are scale, orientation, x and y.  disentanglement_lib's `discrete_mig` (20-bin
histograms of the means) is another measure.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Num

Codes = Float[Array | np.ndarray, "n k"]
BLOCK = 2**24  # densities at once


class Gap(NamedTuple):
    mig: float
    by_factor: np.ndarray
    """[f], in [0, 1]"""
    information: np.ndarray
    """I(z_j; v) [f, k] in nats"""
    marginal: np.ndarray
    """H(z_j) [k] in nats"""
    conditional: np.ndarray
    """E_v H(z_j | v) [f, k] in nats"""
    entropies: np.ndarray
    """H(v) [f] in nats"""


def mutual_information_gap(
    samples: Codes,
    mean: Codes,
    log_sigma: Codes,
    factors: Num[np.ndarray, "n f"],
    key: jax.Array | None = None,
    most: int = 10_000,
) -> Gap:
    """The gap of Gaussian posteriors N(mean, exp(log_sigma)^2), one an example, one sample of each.

    factors: any numbers, equal for equal values; H(v) is that of their frequencies (log of the
    number of values where all are as frequent).  Above `most` samples an entropy uses a random
    choice of them by `key`.  ValueError for a factor with one value, for fewer than two latents or
    one factor, or if a key is missing.
    """
    if samples.shape[1] < 2 or not np.shape(factors)[1]:
        raise ValueError("the gap is between two latents, of one factor or more")
    samples, mean, log_sigma = map(np.asarray, (samples, mean, log_sigma))

    def entropy(rows, key):
        chosen = rows
        if len(rows) > most:
            if key is None:
                raise ValueError(f"{len(rows)} samples: give a key, to choose {most} of them")
            chosen = rows[np.asarray(jax.random.permutation(key, len(rows)))[:most]]
        z, whole = _padded(samples[chosen]), (_padded(mean[rows]), _padded(log_sigma[rows]))
        return np.asarray(_entropies(z, *whole, len(chosen), len(rows)), np.float64)

    fold = lambda key, i: None if key is None else jax.random.fold_in(key, i)
    marginal = entropy(np.arange(len(samples)), fold(key, 0))
    conditional, of_factors = [], []
    for f, column in enumerate(np.asarray(factors).T):
        values, place, counts = np.unique(column, return_inverse=True, return_counts=True)
        if len(values) < 2:
            raise ValueError(f"factor {f} has one value only; leave it out")
        share = counts / len(column)
        key_factor = fold(key, 1 + f)
        rows = (np.flatnonzero(place == v) for v in range(len(values)))
        of_value = [entropy(mine, fold(key_factor, v)) for v, mine in enumerate(rows)]
        conditional.append(share @ np.stack(of_value))
        of_factors.append(-(share * np.log(share)).sum())
    information = np.maximum(marginal - np.stack(conditional), 0)
    entropies = np.asarray(of_factors)
    each = gaps(information, entropies)
    return Gap(float(each.mean()), each, information, marginal, np.stack(conditional), entropies)


def gaps(information: np.ndarray, entropies: np.ndarray) -> np.ndarray:
    """(I(z_1; v) - I(z_2; v)) / H(v) of each factor, from I [f, k] and H(v) [f]."""
    ordered = np.sort(information, axis=1)
    return (ordered[:, -1] - ordered[:, -2]) / entropies


def turned(
    samples: Codes, mean: Codes, log_sigma: Codes, angle: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two latents [n, 2] turned into each other by `angle` (radians): samples, and mean and log
    deviation of each latent's posterior.

    Together they know of the factors what they knew, and a decoder could turn them back; but not
    each of them by itself, for which the gap asks.
    """
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    variance = np.exp(2 * np.asarray(log_sigma, np.float64)) @ (turn**2).T
    single = lambda x: np.asarray(x, np.float32)
    return single(samples @ turn.T), single(mean @ turn.T), single(np.log(variance) / 2)


def _padded(x):
    """With rows of zeros up to a power of two, so that few programs are compiled."""
    more = (1 << (len(x) - 1).bit_length()) - len(x)
    return np.pad(x, ((0, more), (0, 0)))


@jax.jit
def _entropies(samples, mean, log_sigma, drawn, many):
    """H(z_j) [k]: minus the mean log density of the first `drawn` samples under the mixture of the
    first `many` posteriors."""
    there = jnp.arange(len(mean))[:, None] < many

    def log_density(z):
        standard = (z - mean) * jnp.exp(-log_sigma)
        normal = -0.5 * (standard**2 + jnp.log(2 * jnp.pi)) - log_sigma
        return jax.nn.logsumexp(normal, axis=0, where=there) - jnp.log(many)

    batch = max(1, min(len(samples), BLOCK // mean.size))
    found = lax.map(log_density, samples, batch_size=batch)
    return -found.sum(axis=0, where=jnp.arange(len(samples))[:, None] < drawn) / drawn
