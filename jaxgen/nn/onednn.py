"""Convolutions of images by oneDNN, which XLA's CPU compiler is built with and does not choose.

XLA's own (Eigen's) takes a third more time for the layers of most networks here; measured on two
CPU cores, milliseconds, the window with padding and stride 1 where nothing else is said:

    3x3, 64 -> 64 channels, 24 px, batch 16:                       1.3 (1.7 by Eigen)
    5x5, 64 -> 128 channels, 32 px, stride 2, batch 128:           26 (34)
    3x3, 32 -> 32 channels, 14 px, batch 32:                       .30 (.65)

It is asked for by the name that the compiler gives it, with an attribute in the compiler's own
format, which no version promises: a small convolution is tried first, and where it fails or is
wrong there is no oneDNN.  It has no fast form for gradients of kernels, and JAX cannot keep a
program that calls it: only training programs do, within `allowed`.
"""

import contextlib
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.export import is_symbolic_dim
from jaxtyping import Array, Float

from jaxgen.compiling import nothing_kept

TARGET = "__onednn$convolution"
_allowed: list[bool] = [False]


@contextlib.contextmanager
def allowed(yes: bool = True):
    """Within it convolutions are traced for it, where it works."""
    _allowed.append(yes and _works())
    try:
        yield
    finally:
        _allowed.pop()


def is_allowed() -> bool:
    return _allowed[-1]


def takes(images, kernel) -> bool:
    """Whether it can convolve these: images, in float32."""
    known = not any(is_symbolic_dim(n) for n in images.shape)
    return images.ndim == 4 and images.dtype == kernel.dtype == jnp.float32 and known


def compile(traced):
    """The compiled program; one that calls oneDNN is not kept on disk."""
    lowered = traced.lower()
    kept = contextlib.nullcontext() if TARGET not in lowered.as_text() else nothing_kept()
    with kept:
        return lowered.compile()


def convolve(
    images: Float[Array, "b h w i"],
    kernel: Float[Array, "kh kw i o"],
    pads: list[tuple[int, int]],
    stride: int = 1,
) -> Float[Array, "b h2 w2 o"]:
    """Cross-correlation.  pads: (low, high) of each axis, not negative."""

    @jax.custom_batching.custom_vmap
    def call(images, kernel):
        return _call(images, kernel, pads, stride)

    @call.def_vmap
    def in_turn(size, batched, images, kernel):
        plain = functools.partial(_by_xla, pads=pads, stride=stride)
        axes = [0 if b else None for b in batched]
        return jax.vmap(plain, axes, axis_size=size)(images, kernel), True

    return call(images, kernel)


def flops(eqn) -> float | None:
    """Those of a traced `jax.ffi.ffi_call`; None if it is not of this module."""
    if eqn.params["target_name"] != TARGET:
        return None
    [out], (_, kernel) = eqn.outvars, eqn.invars
    return 2.0 * out.aval.size * kernel.aval.size / out.aval.shape[-1]


def _call(images, kernel, pads, stride):
    sides = zip(images.shape[1:3], kernel.shape[:2], pads, strict=True)
    sides = [(n + low + high - k) // stride + 1 for n, k, (low, high) in sides]
    image = {"dims": 4, "data": {"batch_dim": 0, "feature_dim": 3, "spatial_dims": [1, 2]}}
    window = {
        "size": kernel.shape[:2],
        "pad_left": [low for low, _ in pads],
        "pad_right": [high for _, high in pads],
        "strides": [stride, stride],
        "window_dilations": [1, 1],
    }
    channels = {"input_feature_dim": 2, "output_feature_dim": 3, "spatial_dims": [0, 1]}
    settings = {
        "dims": 4,
        "input": image,
        "kernel": {"dims": 4, "filter": {**channels, "shape": kernel.shape}},
        "output": image,
        "window": window,
        "fusions": {},
        "feature_groups": 1,
    }
    shape = (len(images), *sides, kernel.shape[3])
    return jax.ffi.ffi_call(
        TARGET,
        jax.typeof(images).update(shape=shape),  # which vary over the devices as the images do
        custom_call_api_version=1,
        legacy_backend_config=json.dumps({"onednn_conv_config": settings}),
    )(images, kernel)


def _by_xla(images, kernel, pads, stride):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(images, kernel, (stride,) * 2, pads, dimension_numbers=numbers)


@functools.cache
def _works() -> bool:
    """Whether a small convolution with everything unequal is right."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 9, 12, 5)).astype(np.float32)
    kernel = rng.normal(size=(3, 4, 5, 7)).astype(np.float32)
    how = {"pads": [(1, 2), (0, 1)], "stride": 2}
    try:
        [ours, expected] = [
            compile(jax.jit(functools.partial(f, **how)).trace(images, kernel))(images, kernel)
            for f in (_call, _by_xla)
        ]
    except (jax.errors.JaxRuntimeError, NotImplementedError, TypeError, ValueError):
        return False  # an XLA without it, or another format
    return bool(np.allclose(ours, expected, atol=1e-4))
