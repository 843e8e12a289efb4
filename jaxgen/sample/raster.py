"""Images drawn pixel by pixel, in raster order, from a network that says what the next one is."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxgen.nn.causal import Memory

Images = Float[Array, "b h w c"]


def draw_pixels(
    net: Callable[..., Any],
    invert: Callable[[jax.Array, jax.Array], jax.Array],
    noise: Float[Array, "b h w k"],
    known: Images,
    kept: Bool[Array, "h w"],
    label: jax.Array | None = None,
) -> Images:
    """Images [b, h, w, c]: `known` where `kept`, and drawn elsewhere.

    net: called with `method="down"` or `"right"`, as `models.pixelcnn` has them.
    invert: (uniform noise [b, k], a pixel's distribution [b, n]) -> the pixel [b, c].

    A pixel costs each layer one pixel's work, not a pass over the image.
    """
    _, h, w, _ = known.shape

    def down(arrays, i, above):
        memory = Memory(w, arrays, i)
        return net(above, label, memory, method="down"), memory.arrays

    def right(arrays, i, j, left, told):
        memory = Memory(w, arrays, i, j)
        return net(left, told, label, memory, method="right"), memory.arrays

    above = jnp.zeros_like(known[:, :1])
    fresh = jax.eval_shape(lambda: down({}, 0, above)[1])
    told = jax.eval_shape(lambda: down({}, 0, above)[0])
    fresh |= jax.eval_shape(lambda told: right({}, 0, 0, above[:, :, :1], told)[1], told)
    arrays = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), fresh)

    def draw_row(carry, row):
        arrays, above = carry
        i, noise, known, kept = row
        told, arrays = down(arrays, i, above)

        def draw_pixel(carry, pixel):
            arrays, left = carry
            j, noise, known, kept = pixel
            distribution, arrays = right(arrays, i, j, left, told)
            x = jnp.where(kept, known, invert(noise, distribution[:, 0, 0]))
            return (arrays, x[:, None, None]), x

        pixels = jnp.arange(w), noise.swapaxes(0, 1), known.swapaxes(0, 1), kept
        left = jnp.zeros_like(above[:, :, :1])
        (arrays, _), drawn = lax.scan(draw_pixel, (arrays, left), pixels)
        return (arrays, drawn.swapaxes(0, 1)[:, None]), drawn

    rows = jnp.arange(h), jnp.moveaxis(noise, 1, 0), jnp.moveaxis(known, 1, 0), kept
    _, drawn = lax.scan(draw_row, (arrays, above), rows)
    return drawn.transpose(2, 0, 1, 3)
