"""Gaussians with a full covariance, and mixtures of them: densities of vectors [b, d]."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from jaxgen.nn import init

Vectors = Float[Array, "b d"]


class Mixture(nn.Module):
    """K Gaussians on vectors [b, d], held by what maximum likelihood counts: their weights [K],
    means [K, d] and covariances [K, d, d].

    They start with equal weights, the covariance I and means drawn from N(0, I), for vectors of
    about unit variance; a single one's mean starts at 0.
    """

    components: int = 1

    @nn.compact
    def __call__(self, x: Vectors) -> Float[Array, "b K"]:
        """log (weight N(x; mean, covariance)) of each component; their logsumexp is log p(x)."""
        k, d = self.components, x.shape[1]
        weights = self.param("weights", nn.initializers.constant(1 / k), (k,))
        means = self.param("means", init.normal(float(k > 1)), (k, d))
        covariances = self.param("covariances", lambda _: jnp.tile(jnp.eye(d), (k, 1, 1)))

        def one(weight, mean, covariance):
            factor = jnp.linalg.cholesky(covariance)
            z = solve_triangular(factor, (x - mean).T, lower=True)
            spread = jnp.log(jnp.diagonal(factor)).sum()
            return jnp.log(weight) - (z**2).sum(0) / 2 - spread - d / 2 * math.log(2 * math.pi)

        return jax.vmap(one, out_axes=1)(weights, means, covariances)


class Factor(nn.Module):
    """One Gaussian N(m, L L') on vectors [b, d], for gradients: L is lower triangular with the
    softplus of its parameters on the diagonal.  log p(x) [b, 1]."""

    @nn.compact
    def __call__(self, x: Vectors) -> Float[Array, "b 1"]:
        d = x.shape[1]
        mean = self.param("mean", nn.initializers.zeros, (d,))
        factor = lower(self.param("factor", nn.initializers.zeros, (d, d)))
        z = solve_triangular(factor, (x - mean).T, lower=True)
        spread = jnp.log(jnp.diagonal(factor)).sum()
        return (-(z**2).sum(0) / 2 - spread - d / 2 * math.log(2 * math.pi))[:, None]


def lower(free: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The factor L of free parameters."""
    return jnp.tril(free, -1) + jnp.diag(jax.nn.softplus(jnp.diagonal(free)))
