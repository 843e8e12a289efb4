"""Resizing with the exact positions of another framework."""

import functools
import math

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


def matlab_bicubic(x: Float[Array, "b h w c"], scale: float) -> Float[Array, "b _ _ c"]:
    """MATLAB's `imresize(x, scale)`: sides of ceil(scale * n) pixels, Keys' cubic with a = -1/2,
    as wide as the larger pixels where it makes smaller, the image mirrored at its rim (the pixel of
    the rim twice). Not clipped. Super-resolution's small images are made by it."""
    for axis in (1, 2):
        weights = jnp.asarray(_cubic_weights(x.shape[axis], scale), x.dtype)
        x = jnp.moveaxis(jnp.tensordot(x, weights, (axis, 1), precision="highest"), -1, axis)
    return x


@functools.cache
def _cubic_weights(n: int, scale: float) -> np.ndarray:
    """[out, n]: how much each of n pixels counts for each pixel of the resized axis."""
    out = math.ceil(n * scale - 1e-9)
    spread = min(scale, 1.0)  # of the kernel, in pixels of the input, is 1 / spread
    place = (np.arange(out) + 0.5) / scale - 0.5
    first = np.floor(place - 2 / spread).astype(int)
    taps = first[:, None] + np.arange(math.ceil(4 / spread) + 2)
    t = np.abs(place[:, None] - taps) * spread
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    kernel = np.where(t <= 1, near, np.where(t <= 2, far, 0.0))
    kernel /= kernel.sum(1, keepdims=True)
    taps %= 2 * n
    mirrored = np.minimum(taps, 2 * n - 1 - taps)
    weights = np.zeros((out, n))
    np.add.at(weights, (np.arange(out)[:, None], mirrored), kernel)
    return weights


def enlarge(x: Float[Array, "b h w c"], times: int = 2) -> Float[Array, "b h2 w2 c"]:
    """Sides `times` as long, by the nearest pixel: each becomes a square of equal ones."""
    return x.repeat(times, 1).repeat(times, 2)


def shrink(x: Float[Array, "b h w c"], times: int = 2) -> Float[Array, "b h2 w2 c"]:
    """Sides that are `times` shorter: each pixel is the mean of a square of them."""
    b, h, w, c = x.shape
    return x.reshape(b, h // times, times, w // times, times, c).mean((2, 4))
