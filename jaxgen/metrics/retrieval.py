"""Retrieval and zero-shot classification by cosines (Radford et al., 2021, Sec. 3.1)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxgen.losses.contrastive import unit

Scores = Float[Array | np.ndarray, "q n"]
Right = Bool[Array | np.ndarray, "q n"]


def recalled(scores: Scores, right: Right, k: int = 1) -> Bool[Array, "q"]:
    """Whether a right answer is among the k of highest score; of a tie the wrong ones come first,
    so that scores that are all equal find nothing."""
    best = jnp.where(right, scores, -jnp.inf).max(axis=1, keepdims=True)
    return ((scores >= best) & ~jnp.asarray(right)).sum(axis=1) < k


def chance(right: Right, k: int = 1) -> float:
    """The share that k answers at random would get right."""
    n, rights = right.shape[1], np.asarray(right).sum(axis=1)
    drawn = np.arange(min(k, n))
    missed = np.maximum(n - rights[:, None] - drawn, 0) / (n - drawn)
    return float(1 - missed.prod(axis=1).mean())


def prototypes(embeddings: Float[Array | np.ndarray, "c p d"]) -> Float[Array, "c d"]:
    """A vector a class: the mean of its prompts' unit embeddings, again of length 1."""
    return unit(unit(embeddings).mean(axis=1))
