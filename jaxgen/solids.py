"""Voxels as pictures, and as meshes in files.

Voxels are [D, H, W], the front first and the top row first, in [-1, 1]: filled above 0. Their
surface is where what lies between the voxels' centres, interpolated, is 0.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

from jaxgen.errors import UserError
from jaxgen.files import replacing

TURN, TILT = 35.0, 25.0  # degrees to the right and upwards, from where a shape is seen
SPAN = 1.5  # sides of the cube across a picture, and along its rays 1.75
LIGHT = np.array([-0.45, -0.7, -0.55])  # where it is: to the right, down, away
MESHES = (".obj", ".stl")


@partial(jax.jit, static_argnames="side")
def views(
    shapes: Float[Array, "n d h w"],
    turn: Float[Array, "_n"] | float = TURN,
    tilt: float = TILT,
    side: int = 64,
) -> Float[Array, "n side side 1"]:
    """Pictures in [-1, 1] of the shapes' surfaces, in parallel projection on white, shaded by the
    light's angle.

    turn: degrees by which the eye has gone around a shape to its right, of each or of all; 0 is in
      front.  tilt: degrees that it stands above.  side: of the pictures in pixels.
    """
    turns = jnp.broadcast_to(jnp.asarray(turn, jnp.float32), len(shapes))
    one = lambda pair: _view(*pair, tilt, side)
    return lax.map(one, (shapes, turns), batch_size=8)


def _view(shape, turn, tilt, side):
    a, b = jnp.deg2rad(turn), jnp.deg2rad(tilt)
    c, s = jnp.cos, jnp.sin
    around = jnp.array([[c(a), 0, -s(a)], [0, 1, 0], [s(a), 0, c(a)]])
    above = jnp.array([[1, 0, 0], [0, c(b), s(b)], [0, -s(b), c(b)]])
    to_shape = around @ above  # from (right, down, away) of the eye
    voxels = max(shape.shape)

    def sample(field, points, outside):
        """`field` at points [..., 3] of a cube of side 1 around 0, as (right, down, away)."""
        middle = [(n - 1) / 2 for n in shape.shape]
        places = [points[..., 2 - i] * voxels + middle[i] for i in range(3)]
        return map_coordinates(field, places, order=1, mode="constant", cval=outside)

    steps = 3 * voxels
    across = (jnp.arange(side) + 0.5) * SPAN / side - SPAN / 2
    along = jnp.linspace(-1.75 / 2, 1.75 / 2, steps)
    down, right, away = jnp.meshgrid(across, across, along, indexing="ij")
    rays = jnp.stack([right, down, away], axis=-1) @ to_shape.T
    inside = sample(shape, rays, -1.0)  # [side, side, steps]

    hit = (inside > 0).argmax(axis=-1)
    take = lambda i: jnp.take_along_axis(inside, i[..., None], axis=-1)[..., 0]
    before, behind = take(jnp.maximum(hit - 1, 0)), take(hit)
    back = behind / jnp.maximum(behind - before, 1e-6)  # of a step, to where it is 0
    depth = along[hit] - back * (along[1] - along[0])
    points = jnp.stack([right[..., 0], down[..., 0], depth], axis=-1) @ to_shape.T

    box = lax.reduce_window(
        jnp.pad(shape, 1, mode="edge"), 0.0, lax.add, (3,) * 3, (1,) * 3, "VALID"
    )
    slopes = jnp.stack([sample(g, points, 0.0) for g in jnp.gradient(box)[::-1]], axis=-1)
    normal = -slopes / jnp.maximum(jnp.linalg.norm(slopes, axis=-1, keepdims=True), 1e-6)
    light = to_shape @ (LIGHT / np.linalg.norm(LIGHT))
    shade = 0.25 + 0.65 * jnp.maximum(normal @ light, 0)
    return jnp.where((inside > 0).any(axis=-1), 2 * shade - 1, 1.0)[..., None]


def surface(shape: np.ndarray):
    """The mesh (`trimesh.Trimesh`) of the surface of a shape [D, H, W] in [-1, 1], closed, in a
    cube of side 1 around 0: x to the right, y up, z to the front.

    UserError for an empty shape, and without the packages.
    """
    try:
        import trimesh
        from skimage.measure import marching_cubes
    except ImportError:
        raise UserError(
            'meshes need scikit-image and trimesh: pip install "jaxgen[meshes]"'
        ) from None
    if shape.max() <= 0:
        raise UserError("a shape without a filled voxel has no surface; leave it out")
    border = np.pad(np.asarray(shape, np.float32), 1, constant_values=-1)
    places, faces, *_ = marching_cubes(border, 0.0)
    z, y, x = ((np.array(border.shape) - 1) / 2 - places).T / max(shape.shape)
    return trimesh.Trimesh(np.stack([-x, y, z], axis=1), faces)


def save_mesh(path: Path, shape: np.ndarray) -> None:
    """Writes the surface of a shape as `.obj` or `.stl`; see `surface`."""
    kind = Path(path).suffix[1:].lower()
    with replacing(Path(path)) as temporary:
        surface(shape).export(str(temporary), file_type=kind)
