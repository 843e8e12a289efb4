"""Convolutions in two and three dimensions that equal torch's (padding given) or TF's ("SAME").

Kernels are [*window, in, out], of transposed convolutions [*window, out, in]: that of the
convolution which they transpose, as in torch. Both are differentiable in reverse mode, to any
order; see `conv_vjp` for why and how fast.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from jaxgen.nn import conv_vjp, onednn
from jaxgen.nn.init import Initializer

RESULT = "convolution"  # what the program may keep for the gradients, see `jaxgen.train.program`
Padding = int | str | Sequence[tuple[int, int]]


def conv(
    x: Float[Array, "b *space i"],
    kernel: Float[Array, "*window i o"],
    stride: int = 1,
    padding: Padding = 0,
) -> Float[Array, "b *out o"]:
    """Cross-correlation. `padding` is on all sides, or (low, high) by axis, or TF's "SAME"."""
    space, window = x.shape[1:-1], kernel.shape[:-2]
    if isinstance(padding, str):
        pads = lax.padtype_to_pads(space, window, (stride,) * len(space), padding)
    else:
        pads = [(padding, padding)] * len(space) if isinstance(padding, int) else padding
    sides = zip(space, window, pads, strict=True)
    small = tuple((n + low + high - k) // stride + 1 for n, k, (low, high) in sides)
    if space == window and math.prod(small) == 1:  # the whole image at once: a dense layer
        y = x.reshape(len(x), -1) @ kernel.reshape(-1, kernel.shape[-1])
        return y.reshape(len(x), *small, -1)
    low, library = tuple(low for low, _ in pads), onednn.is_allowed()
    geometry = conv_vjp.Geometry(stride, low, window, space, small, library)
    return checkpoint_name(conv_vjp.forward(geometry, x, kernel), RESULT)


def conv_transpose(
    x: Float[Array, "b *space i"],
    kernel: Float[Array, "*window o i"],
    stride: int = 2,
    padding: int | str = 1,
    output_padding: int = 0,
) -> Float[Array, "b *out o"]:
    """The transpose of a strided convolution, as a layer.

    A side of n pixels becomes (n - 1) * stride - 2 * padding + k + output_padding, torch's rule;
    "SAME" is TF's: n * stride. The kernel is torch's [i, o, *window] with the axes moved; Flax's
    [*window, i, o], which correlates with the zero-inserted image, is flipped besides.
    """
    space, window = x.shape[1:-1], kernel.shape[:-2]
    if isinstance(padding, str):
        big = tuple(n * stride for n in space)
        low = tuple(max(k - stride, 0) // 2 for k in window)
    else:
        low = (padding,) * len(space)
        grow = output_padding - 2 * padding
        big = tuple((n - 1) * stride + k + grow for n, k in zip(space, window, strict=True))
    if big == window and math.prod(space) == 1 and not any(low):  # from one pixel: a dense layer
        y = x.reshape(len(x), -1) @ kernel.reshape(-1, kernel.shape[-1]).T
        return y.reshape(len(x), *big, -1)
    geometry = conv_vjp.Geometry(stride, low, window, big, space, onednn.is_allowed())
    return checkpoint_name(conv_vjp.transpose(geometry, x, kernel), RESULT)


class Conv(nn.Module):
    """`conv` with weights: a window of `kernel` on every axis, or by axis; `features` channels
    out."""

    features: int
    kernel: int | tuple[int, ...] = 3
    stride: int = 1
    padding: Padding = "SAME"
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, "b *space i"]) -> Float[Array, "b *out o"]:
        shape = (*_window(self.kernel, x), x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape).astype(x.dtype)
        y = conv(x, kernel, self.stride, self.padding)
        if self.use_bias:
            y += self.param("bias", self.bias_init, (self.features,)).astype(x.dtype)
        return y


class ConvTranspose(nn.Module):
    """`conv_transpose` with weights: a window of `kernel` on every axis, or by axis; `features`
    channels out."""

    features: int
    kernel: int | tuple[int, ...] = 4
    stride: int = 2
    padding: int | str = 1
    output_padding: int = 0
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, "b *space i"]) -> Float[Array, "b *out o"]:
        shape = (*_window(self.kernel, x), self.features, x.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape).astype(x.dtype)
        y = conv_transpose(x, kernel, self.stride, self.padding, self.output_padding)
        if self.use_bias:
            y += self.param("bias", self.bias_init, (self.features,)).astype(x.dtype)
        return y


def _window(kernel, x):
    return (kernel,) * (x.ndim - 2) if isinstance(kernel, int) else kernel
