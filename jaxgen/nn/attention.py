"""Self-attention (Vaswani et al., 2017, https://arxiv.org/abs/1706.03762) and its pre-norm block.

Parameters lie as in torch's `MultiheadAttention`: queries, keys and values are one dense layer.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxgen.nn.init import Initializer

Sequences = Float[Array, "b n c"]
Mask = Bool[Array, "#b #h q k"]


def quick_gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x sigmoid(1.702 x), the approximation of GELU in CLIP's code."""
    return x * jax.nn.sigmoid(1.702 * x)


def causal(n: int) -> Bool[Array, "1 1 n n"]:
    """The mask by which position i sees the positions 0 .. i."""
    return jnp.tril(jnp.ones((n, n), bool))[None, None]


def attend(
    q: Float[Array, "b q h d"],
    k: Float[Array, "b k h d"],
    v: Float[Array, "b k h e"],
    mask: Mask | None = None,
) -> Float[Array, "b q h e"]:
    """softmax(q k^T / sqrt(d)) v (Eq. 1) of each head; the softmax is computed in float32.

    mask: False where a query may not look.
    """
    scores = jnp.einsum("bqhd,bkhd->bhqk", q * q.shape[-1] ** -0.5, k).astype(jnp.float32)
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf)
    return jnp.einsum("bhqk,bkhe->bqhe", jax.nn.softmax(scores).astype(v.dtype), v)


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself; `heads` divides its channels."""

    heads: int
    kernel_init: Initializer = nn.initializers.xavier_uniform()
    out_init: Initializer = nn.initializers.xavier_uniform()

    @nn.compact
    def __call__(self, x: Sequences, mask: Mask | None = None) -> Sequences:
        b, n, width = x.shape
        if width % self.heads:
            raise ValueError(f"{width} channels cannot be split over {self.heads} heads")
        qkv = nn.Dense(3 * width, kernel_init=self.kernel_init, name="qkv")(x)
        q, k, v = jnp.moveaxis(qkv.reshape(b, n, 3, self.heads, -1), 2, 0)
        y = attend(q, k, v, mask).reshape(b, n, width)
        return nn.Dense(width, kernel_init=self.out_init, name="out")(y)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)) with a hidden layer of 4 times the channels.

    out_init: of the two layers that write to the residual path.
    """

    heads: int
    activation: Callable[[jax.Array], jax.Array] = nn.gelu
    kernel_init: Initializer = nn.initializers.xavier_uniform()
    hidden_init: Initializer = nn.initializers.xavier_uniform()
    out_init: Initializer = nn.initializers.xavier_uniform()
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Sequences, mask: Mask | None = None) -> Sequences:
        width = x.shape[-1]
        y = nn.LayerNorm(self.epsilon, name="norm1")(x)
        x += SelfAttention(self.heads, self.kernel_init, self.out_init, name="attention")(y, mask)
        y = nn.LayerNorm(self.epsilon, name="norm2")(x)
        y = nn.Dense(4 * width, kernel_init=self.hidden_init, name="hidden")(y)
        return x + nn.Dense(width, kernel_init=self.out_init, name="out")(self.activation(y))
