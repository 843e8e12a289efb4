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
    """One Gaussian on vectors [b, d], for gradients: log p(x) [b, 1], which has one maximum.

    U (s - mean) is N(0, I), where s are the vectors by mean and deviations of those that the module
    is made with, and U is lower triangular with the exponential of its parameters on the diagonal.
    """

    @nn.compact
    def __call__(self, x: Vectors) -> Float[Array, "b 1"]:
        d = x.shape[1]
        self.variable("start", "moments", lambda: jnp.stack([x.mean(0), x.std(0)]))
        self.param("mean", nn.initializers.zeros, (d,))
        self.param("factor", nn.initializers.zeros, (d, d))
        mean, whiten = self.whitening()
        z = (x - mean) @ whiten.T
        height = jnp.log(jnp.diagonal(whiten)).sum() - d / 2 * math.log(2 * math.pi)
        return (height - (z**2).sum(1) / 2)[:, None]

    def whitening(self) -> tuple[Float[Array, "d"], Float[Array, "d d"]]:
        """(m, W), where W (x - m) is N(0, I)."""
        weights, (mean, deviations) = (
            self.variables["params"],
            self.get_variable("start", "moments"),
        )
        free = weights["factor"]
        factor = jnp.tril(free, -1) + jnp.diag(jnp.exp(jnp.diagonal(free)))
        return mean + deviations * weights["mean"], factor / deviations
