"""Convolutions that see only what comes before in raster order, for an image or step by step.

The `down` stream sees the rows above, and its own row; the `right` stream sees the rows above and,
in its own row, the pixels to the left, and its own.  Networks move their input by one pixel first
(`shift`), so that no output sees its own pixel.

A network that is called on an image computes all of it at once.  To draw an image it is called
for one row (`down`: [b, 1, W, c]) or one pixel (`right`: [b, 1, 1, c]) at a time, with a `Memory`
of the last rows of every layer's input; the same layers then give the same numbers.
"""

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxgen.nn.conv import conv, conv_transpose
from jaxgen.nn.init import Initializer, normal

Stream = Literal["down", "right"]
Maps = Float[Array, "_b _h _w _c"]


class Memory:
    """Rows that a step takes from the steps before it, and leaves for those after it.

    arrays: by layer; a layer that is missing begins with zeros.
    row, column: the place in the image; a layer at `level` l has 2^l times fewer of both.
    """

    def __init__(self, width: int, arrays: Mapping[str, Any], row, column=0, level: int = 0):
        self.arrays, self.width, self.level = dict(arrays), width, level
        self.row, self.column = row, column

    def at(self, level: int) -> "Memory":
        """The same, as layers of that level see it."""
        other = Memory(self.width, {}, self.row, self.column, level)
        other.arrays = self.arrays
        return other

    def window(self, name, x, kernel, pads, stride, stream):
        """x [b, 1, w, c] is kept; its surroundings [b, kh, *, c] in the image are given back."""
        (high, wide), (left, right) = kernel, pads
        row, column = self.row >> self.level, self.column >> self.level
        rows, width = high + stride - 1, self.width >> self.level
        if name not in self.arrays:
            shape = (len(x), rows, left + width + right, x.shape[-1])
            self.arrays[name] = jnp.zeros(shape, x.dtype)
        first = left + (column if stream == "right" else 0)
        kept = lax.dynamic_update_slice(self.arrays[name], x, (0, row % rows, first, 0))
        self.arrays[name] = kept
        last = row // stride * stride
        seen = jnp.take(kept, (last - high + 1 + jnp.arange(high)) % rows, axis=1)
        if stream == "down":
            return seen
        return lax.dynamic_slice_in_dim(seen, column // stride * stride, wide, axis=2)

    def here(self, row: Maps) -> Maps:
        """The pixel [b, 1, 1, c] of a row at this column."""
        return lax.dynamic_slice_in_dim(row, self.column >> self.level, 1, axis=2)


def shift(x: Maps, stream: Stream) -> Maps:
    """The image one row further down, or one pixel to the right; zeros move in."""
    if stream == "down":
        return jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
    return jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]


class CausalConv(nn.Module):
    """A convolution of `kernel` (rows, columns) in a stream, with a weight norm if `gain` is given.

    Rows end with the output's own; columns lie around it (`down`) or end with it (`right`).  A
    stride of 2 halves both sides of the image.
    gain: the deviation of the outputs for the data that the layer is made with, whose mean becomes
      0 (Salimans & Kingma, 2016, https://arxiv.org/abs/1602.07868).
    """

    features: int
    kernel: tuple[int, int]
    stream: Stream
    stride: int = 1
    gain: float | None = None
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Maps, memory: Memory | None = None) -> Maps:
        high, wide = self.kernel
        left, right = (wide // 2, wide // 2) if self.stream == "down" else (wide - 1, 0)
        if memory:
            name = "/".join(self.path)
            x = memory.window(name, x, self.kernel, (left, right), self.stride, self.stream)
        else:
            x = jnp.pad(x, ((0, 0), (high - 1, 0), (left, right), (0, 0)))
        shape = (*self.kernel, x.shape[-1], self.features)
        return weighted(self, lambda kernel: conv(x, kernel, self.stride), shape)


class CausalConvTranspose(nn.Module):
    """A transposed convolution in a stream, which doubles rows and columns: kernel (2, 3) in
    `down`, (2, 2) in `right`.  With a weight norm; see `CausalConv`."""

    features: int
    stream: Stream
    gain: float = 1.0

    @nn.compact
    def __call__(self, x: Maps, memory: Memory | None = None) -> Maps:
        wide = 3 if self.stream == "down" else 2

        def double(kernel):
            y = conv_transpose(x, kernel, 2, 0)
            y = y[:, :, 1:] if self.stream == "down" else y
            if memory:
                fine = memory.level - 1
                y = lax.dynamic_slice_in_dim(y, (memory.row >> fine) % 2, 1, axis=1)
                if self.stream == "right":
                    y = lax.dynamic_slice_in_dim(y, (memory.column >> fine) % 2, 1, axis=2)
            return y

        return weighted(self, double, (2, wide, self.features, x.shape[-1]), transposed=True)


class WeightNormDense(nn.Module):
    """A dense layer, or a convolution of one pixel, with a weight norm; see `CausalConv`."""

    features: int
    gain: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
        return weighted(self, lambda kernel: x @ kernel, (x.shape[-1], self.features))


def weighted(layer: nn.Module, apply, shape, transposed: bool = False):
    """`apply(kernel) + bias` with the layer's parameters; a gain makes it a weight norm."""
    if layer.gain is None:
        y = apply(layer.param("kernel", layer.kernel_init, shape))
        if layer.use_bias:
            y += layer.param("bias", nn.initializers.zeros, (layer.features,))
        return y
    out = len(shape) - (2 if transposed else 1)
    others = tuple(i for i in range(len(shape)) if i != out)
    v = layer.param("direction", normal(0.05), shape)
    unit = v * lax.rsqrt(jnp.maximum((v * v).sum(others, keepdims=True), 1e-12))
    y = apply(unit)

    def start(_):
        axes = tuple(range(y.ndim - 1))
        return layer.gain * lax.rsqrt(y.var(axes) + 1e-8)

    scale = layer.param("scale", start)
    bias = layer.param("bias", lambda _: -y.mean(tuple(range(y.ndim - 1))) * scale)
    return y * scale + bias
