"""Resampling by a filter: insert zeros, filter, keep every n-th pixel (Karras et al., 2020, 2021).

The filters are separable and known beforehand, so each axis is a sum of shifted copies of the
image, one a tap, of only the pixels that are kept: elementwise work, which XLA fuses on every
backend and inside loops, where a convolution of single channels is slow on a CPU. The transpose of
a resampling is a resampling with `up` and `down` exchanged, so every order of reverse mode stays
within this form; forward mode (jvp) is not supported.

Measured on one CPU core, four taps on 32 px, 32 channels, batch 16: .3 ms, with the gradient .6,
as fast in `lax.scan` (a convolution of single channels: 29 and 44).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

BINOMIAL = (1.0, 3.0, 3.0, 1.0)  # StyleGAN2's


def upsample(x: Float[Array, "b h w c"], taps: Sequence[float] = BINOMIAL):
    """Twice the size [b, 2h, 2w, c], as bright as before, without a shift."""
    extra = len(taps) - 2  # zeros around the image, beside the one after its last pixel
    return upfirdn(x, normalised(taps, 2.0), up=2, pad=((extra + 1) // 2 + 1, extra // 2))


def downsample(x: Float[Array, "b h w c"], taps: Sequence[float] = BINOMIAL):
    """Half the size [b, h/2, w/2, c], as bright as before, without a shift."""
    extra = len(taps) - 2
    return upfirdn(x, normalised(taps), down=2, pad=((extra + 1) // 2, extra // 2))


def normalised(taps: Sequence[float], gain: float = 1.0) -> tuple[float, ...]:
    """The taps with the sum `gain`; a step of `up` needs the gain `up` to keep the brightness."""
    return tuple(gain * tap / sum(taps) for tap in taps)


def upfirdn(
    x: Float[Array, "b h w c"],
    taps: Sequence[float],
    *,
    up: int = 1,
    down: int = 1,
    pad: tuple[int, int] = (0, 0),
):
    """Both axes of the images, as `along` does each."""
    for axis in (1, 2):
        x = along(x, axis, taps, up=up, down=down, pad=pad)
    return x


def along(
    x: Float[Array, "*shape"],
    axis: int,
    taps: Sequence[float],
    *,
    up: int = 1,
    down: int = 1,
    pad: tuple[int, int] = (0, 0),
):
    """Inserts up - 1 zeros after every pixel (the last too), pads with zeros (crops where `pad` is
    negative), convolves with `taps` (a true convolution: the first tap reads the last pixel) and
    keeps every `down`-th pixel."""
    size = x.shape[axis]
    length = (size * up + sum(pad) - len(taps)) // down + 1
    if length < 1:
        raise ValueError(f"{len(taps)} taps do not fit on {size} pixels, {up} times, and {pad}")
    return _resample(_Plan(axis, tuple(map(float, taps[::-1])), up, down, pad[0], size, length), x)


class _Plan(NamedTuple):
    """out[i] = sum over k of taps[k] in[(i * down + k - low) / up], where that is a pixel."""

    axis: int
    taps: tuple[float, ...]
    up: int
    down: int
    low: int
    size: int
    length: int

    def transposed(self):
        return _Plan(
            self.axis,
            self.taps[::-1],
            self.down,
            self.up,
            len(self.taps) - 1 - self.low,
            self.length,
            self.size,
        )


def _apply(plan, x):
    axis, taps, up, down, low, _, length = plan
    if up > 1 and down > 1:
        dense = _apply(plan._replace(down=1, length=(length - 1) * down + 1), x)
        return lax.slice_in_dim(dense, 0, None, down, axis)
    if up == 1:
        return _correlate(x, axis, list(enumerate(taps)), low, down, length)
    count = -(-length // up)
    phases = []
    for phase in range(up):  # the outputs up * m + phase, which see every up-th tap
        start = (low - phase) % up
        offset = (phase + start - low) // up
        read = [(i, tap) for i, tap in enumerate(taps[start::up])]
        phases.append(_correlate(x, axis, read, -offset, 1, count))
    y = jnp.stack(phases, axis + 1)
    y = y.reshape(*y.shape[:axis], count * up, *y.shape[axis + 2 :])
    return lax.slice_in_dim(y, 0, length, axis=axis)


def _correlate(x, axis, taps, low, stride, length):
    """out[m] = sum over (k, tap) of tap * in[m * stride + k - low], zeros outside."""
    if not taps:
        return jnp.zeros((*x.shape[:axis], length, *x.shape[axis + 1 :]), x.dtype)
    reach = (length - 1) * stride + 1
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (low, reach + taps[-1][0] - low - x.shape[axis], 0)
    x = lax.pad(x, jnp.zeros((), x.dtype), pads)
    parts = (tap * lax.slice_in_dim(x, k, k + reach, stride, axis) for k, tap in taps)
    return sum(parts)


_resample = jax.custom_vjp(_apply, nondiff_argnums=(0,))
_resample.defvjp(
    lambda plan, x: (_resample(plan, x), None),
    lambda plan, _, y: (_resample(plan.transposed(), y),),
)
