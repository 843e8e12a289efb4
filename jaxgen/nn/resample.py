"""Resizing with the exact positions of another framework."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def tf1_bilinear(
    x: Float[Array, "b h w c"], height: int, width: int
) -> Float[Array, "b {height} {width} c"]:
    """TensorFlow 1's `resize_bilinear(align_corners=False)`: output pixel i reads the input at
    i * in / out, without the half-pixel shift, beyond the end the last pixel, and without
    smoothing when it makes smaller. The reference FID resizes in this way."""
    for axis, size in ((2, width), (1, height)):
        n = x.shape[axis]
        if n == size:
            continue
        place = np.arange(size, dtype=np.float32) * np.float32(n / size)
        low = np.floor(place).astype(np.int32)
        high = np.minimum(low + 1, n - 1)
        share = (place - low).reshape(-1, *(1,) * (3 - axis)).astype(x.dtype)
        first = jnp.take(x, low, axis)
        x = first + (jnp.take(x, high, axis) - first) * share
    return x
