"""Losses that tell what belongs together from all else in the global batch."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen import parallel


def unit(x: Float[Array | np.ndarray, "*b d"]) -> Float[Array, "*b d"]:
    """x / |x|, of length 1."""
    return jnp.asarray(x) / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def symmetric(
    x: Float[Array, "b d"], y: Float[Array, "b d"], scale: Float[Array, ""] | float
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """CLIP's loss (Radford et al., 2021, Fig. 3) of pairs x_i, y_i, and how often they are found.

    The mean of the two cross-entropies of softmax(scale cos(x_i, y_j)), over all y_j of the global
    batch and over all x_j. Found is the share of the x_i and y_i whose nearest is their partner.
    """
    x, y = unit(x), unit(y)
    mine = parallel.first(len(x)) + jnp.arange(len(x))

    def one_way(a, b):
        logits = scale * a @ parallel.gather(b).T
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), mine[:, None], axis=1)
        return -log_p.mean(), (logits.argmax(axis=1) == mine).mean()

    (loss_x, found_x), (loss_y, found_y) = one_way(x, y), one_way(y, x)
    return (loss_x + loss_y) / 2, (found_x + found_y) / 2
