"""Log-likelihoods and their bounds, in nats, one number an example: the first axis is the batch,
all others are summed over.

D log 2 nats, with D numbers an example, are one bit per dimension.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Images = Float[Array, "b *d"]
Examples = Float[Array, "b"]


def bernoulli_log_likelihood(x: Images, logits: Float[Array, "#b *#d"]) -> Examples:
    """sum x log p + (1 - x) log(1 - p) with p = sigmoid(logits), exact for any logits.

    x is 0 or 1. With x in [0, 1] it is the expectation over x's that are drawn with these
    probabilities. `logits` broadcasts against x.
    """
    return _sum(x * logits - jax.nn.softplus(logits))


def gaussian_log_likelihood(x: Images, mean, log_variance) -> Examples:
    """log N(x; mean, diag variance). `mean` and `log_variance` broadcast against x."""
    squares = (x - mean) ** 2 * jnp.exp(-log_variance)
    return -_sum(squares + log_variance + math.log(2 * math.pi)) / 2


def gaussian_kl(mean: Images, log_variance: Images) -> Examples:
    """KL(N(mean, diag variance) || N(0, I)) (Kingma & Welling, 2014, App. B)."""
    return _sum(mean**2 + jnp.exp(log_variance) - 1 - log_variance) / 2


def importance_weighted_bound(log_weights: Float[Array, "k *b"]) -> Float[Array, "*b"]:
    """log of the mean of k weights p(x, z) / q(z | x), z ~ q(z | x): at most log p(x) on average,
    and nearer with every k (Burda et al., 2016, https://arxiv.org/abs/1509.00519, Eq. 8). The ELBO
    is `log_weights.mean(axis=0)`, and the bound for k = 1."""
    return jax.nn.logsumexp(log_weights, axis=0) - math.log(len(log_weights))


def factorised_logits(x: Images) -> Float[Array, "1 *d"]:
    """The logits of a Bernoulli model without latents, each pixel by itself: the mean of training
    images in [0, 1] by Laplace's rule, as if a white and a black one had been seen too."""
    return jax.scipy.special.logit((x.sum(axis=0, keepdims=True) + 1) / (len(x) + 2))


def _sum(x):
    return x.sum(axis=tuple(range(1, x.ndim)))
