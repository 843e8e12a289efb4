"""Arrays by their published names to a network's variables."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.errors import UserError

Path = tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Pretrained:
    """A network with published weights.

    prepare: makes its input of RGB images [b, h, w, 3] in [-1, 1].
    sha256: of the weights' file.
    input: the shape of one example, where it is fixed.
    """

    module: nn.Module
    variables: dict[str, Any]
    prepare: Callable[[jax.Array], jax.Array]
    sha256: str
    input: tuple[int, ...] | None = None

    def taps(self, variables: Any, x: jax.Array) -> dict[str, jax.Array]:
        """The network's features, by name, of RGB images in [-1, 1]."""
        found: Any = self.module.apply(variables, self.prepare(x))
        return found


def assemble(
    module: nn.Module, size: int, source: str, find: Callable[[Path, tuple[int, ...]], np.ndarray]
) -> dict[str, Any]:
    """The variables of `module`, made for images of `size` pixels, each float32 from
    `find(path, shape)`; path is like ("params", "fire2", "squeeze1x1", "kernel").

    So every weight is there and has its shape, and the number of parameters is the module's own.
    Raises UserError, which names `source`, where one is missing or has another shape.
    """
    return fill(module, (1, size, size, 3), source, find)


def fill(
    module: nn.Module,
    shape: tuple[int, ...] | Sequence[jax.ShapeDtypeStruct],
    source: str,
    find: Callable[[Path, tuple[int, ...]], np.ndarray],
) -> dict[str, Any]:
    """`assemble` for a module of which the input has any `shape`, or of several inputs."""
    several = isinstance(shape[0], jax.ShapeDtypeStruct)
    examples = shape if several else [jax.ShapeDtypeStruct(shape, jnp.float32)]
    shapes = jax.eval_shape(module.init, jax.random.key(0), *examples)

    def leaf_of(path, leaf):
        names = tuple(part.key for part in path)
        try:
            array = np.asarray(find(names, leaf.shape), np.float32)
        except KeyError as error:
            raise UserError(f"{source}: it has no {error.args[0]}") from None
        if array.shape != leaf.shape:
            name = "/".join(names[1:])
            raise UserError(f"{source}: {name} is {array.shape}, not {leaf.shape}")
        return jnp.asarray(array)

    return jax.tree_util.tree_map_with_path(leaf_of, shapes)


def from_torch(
    state: Mapping[str, np.ndarray], name: Callable[[Path], str | None]
) -> Callable[[Path, tuple[int, ...]], np.ndarray]:
    """`find` for a state dict; `name(path)` is the tensor's key, None where it is all ones.

    Kernels go from [out, in, h, w] and [out, in] to [h, w, in, out] and [in, out]; a dense kernel
    on a flattened map, channels first, becomes one over the map.
    """

    def find(path, shape):
        key = name(path)
        if key is None:
            return np.ones(shape)
        array = state[key]
        if path[-1] != "kernel":
            return array
        if len(shape) == 4 and array.ndim == 2:
            height, width, channels, _ = shape
            if array.shape[1] == channels * height * width:
                array = array.reshape(-1, channels, height, width)
        return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T

    return find
