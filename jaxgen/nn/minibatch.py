"""Minibatch standard deviation (Karras et al., 2018, https://arxiv.org/abs/1710.10196, Sec. 3)."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxgen import parallel


def minibatch_stddev(
    x: Float[Array, "b *space c"], group: int = 4, channels: int = 1
) -> Float[Array, "b *space d"]:
    """`x` and behind it `channels` more: how much the images of a group differ.

    The global batch of N is dealt into groups as cards are: image j is with j + N/G, j + 2 N/G, ...
    (G = `group`, or the next smaller number that divides N). A new channel is one number for a
    whole image: the standard deviation over the group (of the population, sqrt(var + 1e-8)),
    averaged over space and over the channel's share of the c channels.
    """
    mine = len(x)
    whole = parallel.gather(x).astype(jnp.float32)
    n = len(whole)
    size = next(g for g in range(min(group, n), 0, -1) if n % g == 0)
    y = whole.reshape(size, n // size, *x.shape[1:-1], channels, x.shape[-1] // channels)
    y -= y.mean(0)
    spread = jnp.sqrt((y * y).mean(0) + 1e-8)
    spread = spread.mean((*range(1, spread.ndim - 2), -1))  # [N/G, channels]
    spread = lax.dynamic_slice_in_dim(jnp.tile(spread, (size, 1)), parallel.first(mine), mine)
    spread = spread.reshape(mine, *(1,) * (x.ndim - 2), channels).astype(x.dtype)
    return jnp.concatenate([x, jnp.broadcast_to(spread, (*x.shape[:-1], channels))], -1)
