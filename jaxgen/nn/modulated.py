"""Modulated convolution (Karras et al., 2020, https://arxiv.org/abs/1912.04958, Sec. 2.2).

The paper scales the kernel's input channels by each example's style (Eq. 1) and its output channels
to unit norm (Eq. 3), and so convolves each example with a kernel of its own. Scaling the images
before and after one shared convolution is the same, and the kernels' gradient one convolution too.

Measured on two CPU cores, milliseconds, forward and the gradient of the kernel, 3x3 window:
  64 -> 64 channels, 16 px, batch 8: .5 and 1.1 (grouped, a group an example: .9 and 56)
  256 -> 256 channels, 16 px, batch 8: 7.5 and 15 (10 and 277)
(table: experiments/benchmarks/results/convolutions-cpu.md)
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxgen.nn import upfirdn
from jaxgen.nn.conv import conv, conv_transpose


def modulated_conv(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "k k i o"],
    style: Float[Array, "b i"],
    *,
    demodulate: bool = True,
    up: bool = False,
    taps: Sequence[float] = upfirdn.BINOMIAL,
) -> Float[Array, "b h2 w2 o"]:
    """Each example correlated with kernel * style, of unit norm by output channel if `demodulate`;
    `kernel` is odd. With `up` the result is twice as large: a transposed convolution, then the
    filter of `taps`."""
    x = x * style[:, None, None, :].astype(x.dtype)
    if up:
        turned = lax.rev(kernel, (0, 1)).swapaxes(-1, -2)
        y = upfirdn.upfirdn(
            conv_transpose(x, turned.astype(x.dtype), 2, padding=0),
            upfirdn.normalised(taps, 2.0),
            pad=((len(taps) + 1) // 2 - len(kernel) // 2, len(taps) // 2 - len(kernel) // 2),
        )
    else:
        y = conv(x, kernel.astype(x.dtype), padding=len(kernel) // 2)
    if demodulate:
        y = y * demodulation(kernel, style)[:, None, None, :].astype(x.dtype)
    return y


def demodulation(
    kernel: Float[Array, "k k i o"], style: Float[Array, "b i"], epsilon: float = 1e-8
) -> Float[Array, "b o"]:
    """1 / the norm of kernel * style by example and output channel."""
    power = jnp.square(kernel.astype(jnp.float32)).sum((0, 1))
    return lax.rsqrt(jnp.square(style.astype(jnp.float32)) @ power + epsilon)
