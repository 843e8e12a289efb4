"""Dropout (Srivastava et al., 2014) that does not depend on the number of devices."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen import draw


class Dropout(nn.Module):
    """Dropout whose draws are by example, from the "dropout" stream: with `train` it zeroes each
    number with probability `rate` and divides the rest by 1 - rate. Else it is the identity."""

    rate: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *rest"], *, train: bool = True
    ) -> Float[Array, "b *rest"]:
        if not train or self.rate == 0:
            return x
        keep = 1 - self.rate
        kept = draw.bernoulli(self.make_rng("dropout"), keep, len(x), x.shape[1:])
        return jnp.where(kept, x / keep, 0)
