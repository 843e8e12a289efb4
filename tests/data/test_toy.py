"""The toy distributions have the constants of the WGAN-GP script."""

import jax
import numpy as np
import pytest

from jaxgen.data import toy

KEY = jax.random.key(1)


@pytest.mark.parametrize(
    ("sample", "modes", "std", "count", "farthest"),
    [
        (toy.ring, toy.RING_MODES, toy.RING_STD, 8, 2 / 1.414),
        (toy.grid, toy.GRID_MODES, toy.GRID_STD, 25, 4 * 2**0.5 / 2.828),
    ],
)
def test_mixtures(sample, modes, std, count, farthest):
    assert modes.shape == (count, 2)
    np.testing.assert_allclose(np.linalg.norm(modes, axis=1).max(), farthest, rtol=1e-6)
    points = np.asarray(sample(KEY, 4000))
    assert points.shape == (4000, 2)
    offsets = points[:, None] - modes
    nearest = np.linalg.norm(offsets, axis=-1).argmin(axis=1)
    share = np.bincount(nearest, minlength=count) / 4000
    np.testing.assert_allclose(share, 1 / count, atol=0.025)
    np.testing.assert_allclose(offsets[np.arange(4000), nearest].std(), std, rtol=0.05)


def test_swiss_roll_is_a_spiral():
    points = 7.5 * np.asarray(toy.swiss_roll(KEY, 4000))
    radius = np.linalg.norm(points, axis=1)
    assert 1.5 * np.pi - 1.5 < radius.min() < radius.max() < 4.5 * np.pi + 1.5
    turn = np.arctan2(points[:, 1], points[:, 0])
    off = (radius - turn + np.pi) % (2 * np.pi) - np.pi  # on the spiral radius = angle mod 2 pi
    assert off.std() < 0.35


def test_points_do_not_depend_on_how_many_are_drawn():
    np.testing.assert_allclose(toy.ring(KEY, 9)[:5], toy.ring(KEY, 5), rtol=1e-6, atol=1e-6)
