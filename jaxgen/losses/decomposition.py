"""The KL term of a VAE in three parts (Chen et al., 2018), https://arxiv.org/abs/1802.04942, Eq. 2:

    E KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || prod_j q(z_j)) + sum_j KL(q(z_j) || p(z_j)),

the mutual information, the total correlation, and what each latent by itself departs from the
prior.  q(z), the mean of q(z|x) over the data, is estimated from a minibatch.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Latents = Float[Array, "b k"]
Others = Float[Array, "B k"]
Weights = Float[Array, "b B"]


def log_normal(z, mean, log_sigma):
    """log N(z; mean, sigma^2), number by number."""
    return -((z - mean) ** 2) * jnp.exp(-2 * log_sigma) / 2 - log_sigma - math.log(2 * math.pi) / 2


def decomposition(
    z: Latents, mean: Others, log_sigma: Others, log_weights: Weights, own: Float[Array, "b"]
) -> tuple[Float[Array, "b"], Float[Array, "b"], Float[Array, "b"]]:
    """(mutual information, total correlation, the rest) of each z [b, k], drawn from q(z|x) whose
    logarithm is `own`; mean and log_sigma are of the q(z|x) of the global batch.

    log_weights: of the batch's members as seen from each z: see `weighted` and `stratified`.
    """
    each = log_normal(z[:, None], mean, log_sigma)  # [b, B, k]
    log_q = jax.nn.logsumexp(each.sum(-1) + log_weights, axis=1)
    log_product = jax.nn.logsumexp(each + log_weights[..., None], axis=1).sum(-1)
    log_p = log_normal(z, 0.0, 0.0).sum(-1)
    return own - log_q, log_q - log_product, log_product - log_p


def weighted(rows: int, batch: int, examples: int) -> Weights:
    """Minibatch-weighted sampling (App. C.1): all weigh 1 / (batch * examples)."""
    return jnp.full((rows, batch), -math.log(batch * examples))


def stratified(first, rows: int, batch: int, examples: int) -> Weights:
    """Minibatch-stratified sampling (App. C.2): the example's own distribution weighs 1 /
    examples, one other's what is missing, and all others 1 / (batch - 1).

    first: the place in the global batch of the first of the `rows`.  The authors' code has the
    special weights in the first two columns instead of on the diagonal and beside it.
    """
    m = batch - 1
    own = first + jnp.arange(rows)[:, None]
    column = jnp.arange(batch)
    special = jnp.where(column == own, 1 / examples, 1 / m)
    missing = (examples - m) / (examples * m)
    return jnp.log(jnp.where(column == (own + 1) % batch, missing, special))
