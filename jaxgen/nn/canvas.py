"""An image that is itself what is learned."""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxgen.nn import init
from jaxgen.nn.init import Initializer


class Canvas(nn.Module):
    """Takes nothing and returns one image [1, h, w, c] in [-1, 1], whose pixels are its weights.

    They start as faint noise on grey, or as a player's `variables` say. Nothing keeps them within
    [-1, 1]: clipping between steps would spoil what L-BFGS knows of the curvature, so pictures clip
    what they show.
    """

    shape: tuple[int, int, int]
    start: Initializer = init.normal(0.1)

    @nn.compact
    def __call__(self) -> Float[Array, "1 h w c"]:
        return self.param("pixels", self.start, (1, *self.shape))


def filled(image: Float[Array, "1 h w c"]) -> dict:
    """The variables of a canvas that starts as `image`, in [-1, 1]."""
    return {"params": {"pixels": image}}
