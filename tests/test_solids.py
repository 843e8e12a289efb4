"""Voxels seen from all sides, and their meshes."""

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from jaxgen import solids
from jaxgen.errors import UserError


def solid(filled):
    return np.where(filled, 1, -1).astype(np.float32)


def ball(radius=5.0, n=16):
    places = np.indices((n, n, n)) - (n - 1) / 2
    return np.clip(radius - np.sqrt((places**2).sum(axis=0)), -1, 1).astype(np.float32)


def step(n=8):
    """A block at the front, the right and the bottom, and a thinner one behind it."""
    filled = np.zeros((n, n, n), bool)
    filled[:3, 4:, 5:] = True
    filled[3:7, 6:, 5:] = True
    return solid(filled)


def test_a_ball_is_a_disc_that_is_lit_from_where_the_light_is():
    picture = np.asarray(solids.views(ball()[None], side=48))[0, ..., 0]
    seen = picture < 1
    pixel = solids.SPAN * 16 / 48  # in voxels
    np.testing.assert_allclose(seen.sum() * pixel**2, np.pi * 5.0**2, rtol=0.05)
    rows, columns = np.nonzero(seen)
    assert abs(rows.mean() - 23.5) < 0.2
    assert abs(columns.mean() - 23.5) < 0.2
    bright = np.array(np.unravel_index(np.where(seen, picture, -2).argmax(), seen.shape)) - 23.5
    light = solids.LIGHT / np.linalg.norm(solids.LIGHT)
    np.testing.assert_allclose(bright * pixel / 5, light[[1, 0]], atol=0.12)


def test_the_eye_goes_around_to_the_right():
    """From the right one sees what stood at the right in front."""
    shape = step()
    turned = np.rot90(shape, axes=(0, 2))[None]  # right to front, so that front goes to the left
    here = solids.views(shape[None], 90.0)
    np.testing.assert_allclose(here, solids.views(turned, 0.0), atol=2e-2)
    assert abs(np.asarray(here) - solids.views(shape[None], 0.0)).max() > 0.5
    several = solids.views(jnp.stack([shape, shape]), jnp.array([0.0, 90.0]))
    np.testing.assert_allclose(several[1], here[0], atol=1e-5)


def test_nothing_is_white():
    assert (np.asarray(solids.views(solid(np.zeros((1, 8, 8, 8), bool)))) == 1).all()


@pytest.mark.parametrize("kind", solids.MESHES)
def test_meshes_are_closed_and_lie_as_voxels_do(kind, tmp_path):
    """A written mesh is read again: its volume, and where front, right and bottom are."""
    path = tmp_path / f"mesh{kind}"
    solids.save_mesh(path, step())
    mesh = trimesh.load(path)
    assert mesh.is_watertight
    # Edges are bevelled.
    np.testing.assert_allclose(mesh.volume * 8**3, 3 * 4 * 3 + 4 * 2 * 3, rtol=0.12)
    # voxels from 5 to 8, of 8, to the right; the lower 4; depth from 0 to 7
    low, high = mesh.bounds
    np.testing.assert_allclose(low * 8, [1, -4, -3], atol=1e-5)
    np.testing.assert_allclose(high * 8, [4, 0, 4], atol=1e-5)


def test_an_empty_shape_has_no_mesh():
    with pytest.raises(UserError, match="without a filled voxel"):
        solids.surface(solid(np.zeros((8, 8, 8), bool)))
