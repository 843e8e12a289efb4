"""Max and average pooling with the borders of Caffe, torch and TensorFlow."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Image = Float[Array, "b h w c"]


def _pads(size: int, window: int, stride: int, padding: int, ceil: bool) -> tuple[int, int]:
    """Low and high padding of one axis. With `ceil` the last window may reach over the end, but
    it starts inside of the image or its low padding (torch's rule, and Caffe's)."""
    rest = size + 2 * padding - window
    out = (-(-rest // stride) if ceil else rest // stride) + 1
    if ceil and (out - 1) * stride >= size + padding:
        out -= 1
    if out < 1:
        raise ValueError(f"a {window}-pixel window does not fit into {size} pixels")
    return padding, (out - 1) * stride + window - size - padding


def _windows(x, window, stride, padding, ceil):
    pads = [_pads(n, window, stride, padding, ceil) for n in x.shape[1:3]]
    return (1, window, window, 1), (1, stride, stride, 1), [(0, 0), *pads, (0, 0)]


def max_pool(
    x: Image, window: int, stride: int, padding: int = 0, *, ceil: bool = False
) -> Float[Array, "b i j c"]:
    """Largest of each window; the padding never wins. `ceil`: a last, partial window counts."""
    shape, strides, pads = _windows(x, window, stride, padding, ceil)
    # lax.pad also cuts off (by a negative width) the rest that no window reaches
    x = lax.pad(x, jnp.asarray(-jnp.inf, x.dtype), [(low, high, 0) for low, high in pads])
    return lax.reduce_window(x, -jnp.inf, lax.max, shape, strides, "VALID")


def average_pool(
    x: Image, window: int, stride: int, padding: int = 0, *, count_padding: bool = True
) -> Float[Array, "b i j c"]:
    """Mean of each window. TensorFlow leaves the padding out of the mean: `count_padding=False`."""
    shape, strides, pads = _windows(x, window, stride, padding, False)
    border = [(low, high, 0) for low, high in pads]
    add = lambda y: lax.reduce_window(
        lax.pad(y, jnp.zeros((), y.dtype), border), 0.0, lax.add, shape, strides, "VALID"
    )
    if count_padding or padding == 0:
        return add(x) / window**2
    return add(x) / add(jnp.ones((1, *x.shape[1:3], 1), x.dtype))
