"""A number that lives from round to round."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Kept(nn.Module):
    """`kept()` is the number, 0 at first; `kept(x)` makes it x, which all devices agree on."""

    @nn.compact
    def __call__(self, value: Float[Array, ""] | None = None) -> Float[Array, ""]:
        number = self.variable("kept", "value", lambda: jnp.float32(0))
        if value is not None:
            number.value = value
        return number.value
