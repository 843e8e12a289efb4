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


def categorical_log_likelihood(x: Images, logits: Float[Array, "b *d k"]) -> Examples:
    """sum log softmax(logits)[level], for x in [0, 1] that stand for k equally spaced levels."""
    levels = jnp.round(x * (logits.shape[-1] - 1)).astype(jnp.int32)
    return _sum(jnp.take_along_axis(jax.nn.log_softmax(logits), levels[..., None], -1)[..., 0])


def logistic_mixture(
    numbers: Float[Array, "*b k"], channels: int
) -> tuple[Array, Array, Array, Array]:
    """The mixture that a network's numbers stand for, of 1 or 3 channels: log weights [..., m];
    means, log scales (at least -7), [..., channels, m] each; and the coefficients by which means
    follow the channels before, [..., channels (channels - 1) / 2, m] (PixelCNN++,
    https://arxiv.org/abs/1701.05517)."""
    pairs = channels * (channels - 1) // 2
    m = numbers.shape[-1] // (1 + 2 * channels + pairs)
    weights, rest = jnp.split(numbers, [m], axis=-1)
    # each channel has its m means, m log scales and, as in the authors' code, m coefficients
    blocks = rest.reshape(*rest.shape[:-1], channels, -1)
    means, scales, coefficients = jnp.split(blocks, [m, 2 * m], axis=-1)
    coefficients = coefficients.reshape(*rest.shape[:-1], pairs, m)
    return jax.nn.log_softmax(weights), means, jnp.maximum(scales, -7.0), jnp.tanh(coefficients)


def conditional_means(means, coefficients, x: Float[Array, "*b c"]) -> Float[Array, "*b c m"]:
    """The means of each channel, given the channels before it in x."""
    shifted, k = [means[..., 0, :]], 0
    for c in range(1, means.shape[-2]):
        mean = means[..., c, :]
        for before in range(c):
            mean = mean + coefficients[..., k, :] * x[..., before, None]
            k += 1
        shifted.append(mean)
    return jnp.stack(shifted, axis=-2)


def logistic_mixture_log_likelihood(
    x: Float[Array, "b *d c"], numbers: Float[Array, "b *d k"]
) -> Examples:
    """log p of 256 grey levels, x in [-1, 1], by a mixture of logistics that is integrated over
    each level (PixelCNN++, Eq. 2); the lowest and the highest level have the tails."""
    weights, means, scales, coefficients = logistic_mixture(numbers, x.shape[-1])
    away = x[..., None] - conditional_means(means, coefficients, x)
    sharp = jnp.exp(-scales)
    high, low = sharp * (away + 1 / 255), sharp * (away - 1 / 255)
    middle = sharp * away
    inside = jax.nn.sigmoid(high) - jax.nn.sigmoid(low)
    # where a level has almost nothing, its density is exact enough, and has a gradient
    density = middle - scales - 2 * jax.nn.softplus(middle) - math.log(127.5)
    log_p = jnp.where(inside > 1e-5, jnp.log(jnp.maximum(inside, 1e-12)), density)
    log_p = jnp.where(x[..., None] > 0.999, -jax.nn.softplus(low), log_p)
    log_p = jnp.where(x[..., None] < -0.999, high - jax.nn.softplus(high), log_p)
    return _sum(jax.nn.logsumexp(weights + log_p.sum(-2), axis=-1))


def _sum(x):
    return x.sum(axis=tuple(range(1, x.ndim)))
