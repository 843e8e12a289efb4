"""Perceptual distances with their weights, by name: for `evaluate`, PPL and losses."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.errors import UserError
from jaxgen.losses import perceptual
from jaxgen.weights import lpips, squeezenet, vgg

NAMES = ("squeezenet-distance", "lpips-vgg", "lpips-squeeze")


@dataclasses.dataclass(frozen=True, eq=False)
class Distance:
    """`apply(a, b)`: images [b, h, w, 1 | 3 | 4] in [-1, 1] to distances [b]; jitted.

    `sha256` is that of the trunk's weights. `forward(variables, a, b)` is the same function for use
    within a larger program, to which the weights should be an argument and not a constant.
    """

    name: str
    sha256: str
    variables: Any
    forward: Callable[[Any, Array, Array], Array]

    def apply(self, a: Float[Array, "b h w c"], b: Float[Array, "b h w c"]) -> Float[Array, "b"]:
        return self.forward(self.variables, a, b)


def distance(name: str, weights: Path | None = None) -> Distance:
    """The distance of that name, one of `NAMES`; UserError where a package or file is missing.

    `weights` names the file of the trunk's weights, where they are not in the cache.
    """
    match name:
        case "squeezenet-distance":
            trunk, heads = squeezenet.caffe(weights), None
            call = lambda v, a, b: perceptual.squeezenet_distance(v["trunk"], a, b)
        case "lpips-squeeze":
            heads, trunk = lpips.squeezenet_heads(), squeezenet.torchvision(weights)
            call = lambda v, a, b: perceptual.lpips_squeezenet(v["trunk"], v["heads"], a, b)
        case "lpips-vgg":
            heads, trunk = lpips.vgg_heads(), vgg.torchvision16(weights)
            call = lambda v, a, b: perceptual.lpips_vgg(v["trunk"], v["heads"], a, b)
        case _:
            raise UserError(f'no distance "{name}"; there are {", ".join(NAMES)}')

    @jax.jit
    def forward(variables, a, b):
        with jax.default_matmul_precision("highest"):
            return call(variables, a, b)

    return Distance(name, trunk.sha256, {"trunk": trunk.variables, "heads": heads}, forward)


def check(distance: Distance, shape: tuple[int, ...]) -> None:
    """UserError for images [h, w, c] that are too small for the distance's trunk."""
    image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    try:
        jax.eval_shape(distance.apply, image, image)
    except ValueError as error:
        raise UserError(
            f"{distance.name} cannot be measured on images of {shape[0]} x {shape[1]} ({error}); "
            "leave it out, or use larger images"
        ) from None
