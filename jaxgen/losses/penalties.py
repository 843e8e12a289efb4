"""Penalties on the slope and the size of a critic, on the slope and the kernels of a generator.

A critic `f` maps a batch to logits and leaves no trace (`nets.critic.still`). The slope of an
example is the gradient of the summed logits with respect to it: exact where `f` treats examples
apart, which batch normalisation does not.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen import draw, parallel

Batch = Float[Array, "b *shape"]
Scalar = Float[Array, ""]
Critic = Callable[[Batch], Float[Array, "b *logits"]]


def squared_gradient_norms(f: Critic, x: Batch) -> Float[Array, "b"]:
    """||grad f||^2 at each example, summed over all its pixels and channels."""
    gradient = jax.grad(lambda x: f(x).sum())(x)
    return (gradient**2).sum(tuple(range(1, x.ndim)))


def gradient_norms(f: Critic, x: Batch) -> Float[Array, "b"]:
    """||grad f|| at each example; its own gradient is 0, not NaN, where the slope is 0."""
    return _root(squared_gradient_norms(f, x))


def _root(square):
    flat = square == 0
    return jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, square)))


def interpolates(real: Batch, fake: Batch, key: jax.Array) -> Batch:
    """A random point of the straight line from each example to its sample: x + eps (G(z) - x),
    eps ~ U[0, 1], one an example."""
    eps = draw.uniform(key, len(real), (1,) * (real.ndim - 1))
    return real + eps * (fake - real)


def wgan_gp(f: Critic, real: Batch, fake: Batch, key: jax.Array, target=1.0) -> Scalar:
    """E (||grad f|| - target)^2 between data and samples, without its weight lambda = 10
    (Gulrajani et al., 2017, https://arxiv.org/abs/1704.00028, Eq. 3)."""
    return ((gradient_norms(f, interpolates(real, fake, key)) - target) ** 2).mean()


def r1(f: Critic, real: Batch, gamma) -> Scalar:
    """gamma/2 E ||grad f||^2 on data (Mescheder et al., 2018, https://arxiv.org/abs/1801.04406,
    Eq. 9). No average over pixels: images in [-1, 1] are meant."""
    return gamma / 2 * squared_gradient_norms(f, real).mean()


def r2(f: Critic, fake: Batch, gamma) -> Scalar:
    """gamma/2 E ||grad f||^2 on samples (the same, Eq. 10)."""
    return gamma / 2 * squared_gradient_norms(f, fake).mean()


def drift(real_logits: Float[Array, "..."]) -> Scalar:
    """E f(x)^2 on data, without its weight 0.001: keeps a critic near zero (Karras et al., 2018,
    https://arxiv.org/abs/1710.10196, Appendix A.1)."""
    return (real_logits**2).mean()


def path_lengths(
    g: Callable[[Float[Array, "b n k"]], Float[Array, "b h w c"]],
    ws: Float[Array, "b n k"],
    key: jax.Array,
) -> Float[Array, "b"]:
    """||J^T y|| at each example's styles: how far its image moves with them, for a random image
    y ~ N(0, I / pixels). The square is averaged over the n layers and summed over a style."""
    images, back = jax.vjp(g, ws)
    y = draw.normal(key, len(images), images.shape[1:])
    y /= math.sqrt(images.shape[1] * images.shape[2])
    (slope,) = back(y.astype(images.dtype))
    return _root((slope.astype(jnp.float32) ** 2).sum(-1).mean(-1))


def path_length(
    g: Callable[[Float[Array, "b n k"]], Float[Array, "b h w c"]],
    ws: Float[Array, "b n k"],
    key: jax.Array,
    mean: Scalar | float,
    decay: float = 0.01,
) -> tuple[Scalar, Scalar]:
    """(E (||J^T y|| - a)^2 without its weight, a): image steps as long as style steps, everywhere
    (Karras et al., 2020, https://arxiv.org/abs/1912.04958, Eq. 4). Keep a for the next call.

    g: styles to images, without a trace. mean: the running mean of the lengths so far, 0 at first;
    `a` is moved by `decay` towards this global batch's before it is used, and the penalty's
    gradient goes through this move, as in the authors' code. Their weight is 2, with y as here.
    """
    lengths = path_lengths(g, ws, key)
    a = mean + decay * (parallel.mean(lengths.mean()) - mean)
    return ((lengths - a) ** 2).mean(), a


def orthogonality(kernel: Float[Array, "*in out"]) -> Scalar:
    """||W^T W * (1 - I)||_F^2 of a kernel as a matrix W [in, out], without its weight beta = 1e-4:
    filters are drawn apart, but may be of any length (Brock et al., 2019,
    https://arxiv.org/abs/1809.11096, Eq. 3). The authors' code for PyTorch adds half of its
    gradient."""
    w = kernel.reshape(-1, kernel.shape[-1])
    gram = w.T @ w
    return (gram**2).sum() - (jnp.diagonal(gram) ** 2).sum()
