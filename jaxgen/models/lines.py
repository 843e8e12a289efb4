"""Networks for parallel lines in the plane (Arjovsky et al., 2017, Example 1).

A row of [b * n, 2] belongs to the line, and to the critic, of its number modulo n.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.models.mlp import ToyCritic


class Lines(nn.Module):
    """g_theta(z) = (theta, z) for each of n thetas, which are its weights: z [b] to [b * n, 2]."""

    thetas: tuple[float, ...]

    @nn.compact
    def __call__(self, z: Float[Array, "b"], *, train: bool = True) -> Float[Array, "rows 2"]:
        theta = self.param("theta", lambda key: jnp.asarray(self.thetas))
        grid = jnp.broadcast_arrays(theta, z[:, None])
        return jnp.stack(grid, axis=-1).reshape(-1, 2)


class Critics(nn.Module):
    """n networks that start alike and share nothing: points [b * n, 2] to scores [b * n]."""

    n: int
    width: int = 64

    @nn.compact
    def __call__(self, x: Float[Array, "rows 2"], *, train: bool = True) -> Float[Array, "rows"]:
        each = nn.vmap(
            ToyCritic,
            in_axes=1,
            out_axes=1,
            variable_axes={"params": 0},
            split_rngs={"params": False},
        )
        scores: jax.Array = each(self.width)(x.reshape(-1, self.n, 2))
        return scores.reshape(-1)
