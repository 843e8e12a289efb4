"""A number that lives from round to round."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class RunningValue(nn.Module):
    """`value()` is the number, 0 at first; `value(x)` sets it to x, on which all devices agree."""

    @nn.compact
    def __call__(self, value: Float[Array, ""] | None = None) -> Float[Array, ""]:
        number = self.variable("running", "value", lambda: jnp.float32(0))
        if value is not None:
            number.value = value
        return number.value
