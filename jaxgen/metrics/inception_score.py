"""The Inception score (Salimans et al., 2016), https://arxiv.org/abs/1606.03498, Sec. 4.

    IS = exp(E_x KL(p(y|x) || p(y)))

p(y) is the mean over a split.  The reference draws 50,000 samples, takes the 1,008 logits of the
2015 Inception network (torch-fidelity: without the last layer's bias), and reports mean and
population standard deviation over 10 splits; larger splits give larger scores.  From 1 to the
number of classes.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Score(NamedTuple):
    mean: jax.Array
    std: jax.Array
    """Over the splits, ddof 0."""


def inception_score(
    logits: Float[Array | np.ndarray, "n classes"], splits: int = 10, key: jax.Array | None = None
) -> Score:
    """The score of samples in order, or shuffled by `key` (needed where classes come in turn).

    Split i is rows i n/splits to (i + 1) n/splits, rounded down.  ValueError for n < splits.
    """
    n = len(logits)
    if n < splits:
        raise ValueError(f"{n} samples make no {splits} splits; draw more, or take fewer splits")
    if key is not None:
        logits = jnp.asarray(logits)[jax.random.permutation(key, n)]
    bounds = [i * n // splits for i in range(splits + 1)]
    scores = jnp.stack([_score(logits[a:b]) for a, b in itertools.pairwise(bounds)])
    return Score(scores.mean(), scores.std())


@jax.jit
def _score(logits):
    log_p = jax.nn.log_softmax(logits)
    log_marginal = jax.nn.logsumexp(log_p, axis=0) - jnp.log(len(logits))
    return jnp.exp((jnp.exp(log_p) * (log_p - log_marginal)).sum(axis=1).mean())
