"""Growing: a stage at a smaller size than the data's, whose newest level is faded in (Karras et
al., 2018, https://arxiv.org/abs/1710.10196, Sec. 2).

The data come at their full size and a stage averages squares of their pixels, as the authors' files
do. What a smaller stage makes is enlarged to that size, by the nearest pixel, where it is used.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxgen.models.progan import blend, sides
from jaxgen.nn.resample import enlarge, shrink


@dataclasses.dataclass(frozen=True)
class Growth:
    """The stage at `size` pixels on data of `shape` [H, W, C], whose level is faded in within
    `fade_rounds`; 0 where there is none. UserError for data that are no squares of 4, 8, 16, ...
    pixels."""

    shape: tuple[int, int, int]
    size: int
    fade_rounds: int

    def __post_init__(self):
        sides(self.shape[:2])

    @property
    def times(self) -> int:
        return self.shape[0] // self.size

    def fade(self, nets) -> float | jax.Array:
        """How far the new level is in: both players, the data, and whoever uses a checkpoint go by
        the generator's own steps in this stage."""
        if not self.fade_rounds:
            return 1.0
        return jnp.minimum(nets.generator.step / self.fade_rounds, 1.0)

    def seen(self, nets, images: jax.Array) -> jax.Array:
        """Images of the data as the stage sees them now."""
        x = shrink(images, self.times)
        return blend(enlarge(shrink(x)), x, self.fade(nets)) if self.fade_rounds else x

    def shown(self, images: jax.Array) -> jax.Array:
        """What the stage has made, at the data's size."""
        return enlarge(images, self.times)
