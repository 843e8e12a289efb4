"""Convolutions of images by oneDNN, which XLA's CPU compiler is built with and does not choose.

XLA's own (Eigen's) takes a third more time for the layers of most networks here; measured on two
CPU cores, milliseconds, the window with padding and stride 1 where nothing else is said:

    3x3, 64 -> 64 channels, 24 px, batch 16:                       1.3 (1.7 by Eigen)
    5x5, 64 -> 128 channels, 32 px, stride 2, batch 128:           26 (34)
    3x3, 32 -> 32 channels, 14 px, batch 32:                       .30 (.65)

It is asked for by the name that the compiler gives it, with an attribute in the compiler's own
format.  No version promises these, and another format would end the process: only the versions are
asked in which it was tried (`TRIED`; to try another, add it and run tests/models/test_onednn.py),
and there a small convolution first.  It has no fast form for gradients of kernels, and JAX
cannot keep a program that calls it: only training programs do, within `allowed`.
"""

import contextlib
import functools
import json
from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.export import is_symbolic_dim
from jaxtyping import Array, Float

from jaxgen.compiling import nothing_kept

TARGET = "__onednn$convolution"
TRIED = {"0.10.2"}  # versions of jaxlib
_allowed = jax.make_user_context(False)  # which JAX's caches of traced functions know


@contextlib.contextmanager
def allowed(yes: bool = True):
    """Within it convolutions are traced for it, where it works."""
    with _allowed(yes and _works()):
        yield


def is_allowed() -> bool:
    return _allowed.value


def takes(images, kernel) -> bool:
    """Whether it can convolve these: images, in float32, of sizes that are known and not 0."""
    if images.ndim != 4 or not images.dtype == kernel.dtype == jnp.float32:
        return False
    return not any(is_symbolic_dim(n) for n in images.shape) and images.size * kernel.size > 0


def compiled(traced):
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
    """Whether small convolutions are right."""
    if metadata.version("jaxlib") not in TRIED:
        return False
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 9, 12, 5)).astype(np.float32)
    kernel = rng.normal(size=(3, 4, 5, 7)).astype(np.float32)
    try:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            for pads, stride in (([(1, 2), (0, 1)], 2), ([(1, 1), (1, 2)], 1)):
                how = {"pads": pads, "stride": stride}
                ours, expected = [
                    compiled(jax.jit(functools.partial(f, **how)).trace(images, kernel))
                    for f in (_call, _by_xla)
                ]
                if not np.allclose(ours(images, kernel), expected(images, kernel), atol=1e-4):
                    return False
    except (jax.errors.JaxRuntimeError, NotImplementedError, TypeError, ValueError):
        return False  # a jaxlib for other processors
    return True
