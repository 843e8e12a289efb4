"""LPIPS' heads, from the files of the package lpips 0.1.4, which is not imported."""

from pathlib import Path

import jax
import jax.numpy as jnp

from jaxgen.errors import UserError
from jaxgen.weights.published import in_package
from jaxgen.weights.torch_files import read_state_dict

INSTALL = "pip install --no-deps lpips==0.1.4"
SQUEEZENET = (
    "weights/v0.1/squeeze.pth",
    "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    (64, 128, 256, 384, 384, 512, 512),
)
VGG = (
    "weights/v0.1/vgg.pth",
    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    (64, 128, 256, 512, 512),
)


def squeezenet_heads() -> tuple[jax.Array, ...]:
    """Seven weight vectors, one a layer of `models.squeezenet.TAPS`; UserError without lpips."""
    return _heads(*SQUEEZENET)


def vgg_heads() -> tuple[jax.Array, ...]:
    """Five weight vectors, one a layer of `models.vgg.LPIPS_TAPS`; UserError without lpips."""
    return _heads(*VGG)


def _heads(file: str, sha256: str, channels: tuple[int, ...]) -> tuple[jax.Array, ...]:
    path = in_package("LPIPS", "lpips", file, sha256, INSTALL)
    return read_heads(path, channels)


def read_heads(path: Path, channels: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """The heads `lin0.model.1.weight` [1, c, 1, 1], ... of a file in lpips' layout."""
    state = read_state_dict(path)
    heads = []
    for layer, c in enumerate(channels):
        head = state.get(f"lin{layer}.model.1.weight")
        if head is None or head.shape != (1, c, 1, 1):
            raise UserError(f"{path} has no head of {c} channels for layer {layer}")
        heads.append(jnp.asarray(head[0, :, 0, 0]))
    return tuple(heads)
