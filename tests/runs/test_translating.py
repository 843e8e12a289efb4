"""Translations: of any size or of one, with further inputs and options."""

import dataclasses

import numpy as np
import pytest

from jaxgen.errors import UserError
from tests.quick import quick_to_compile  # noqa: F401
from tests.runs.toys import coder, conditional, paired, stylist


def image(height=16, width=16, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.fixture(scope="module")
def pairs():
    return paired()


def test_images_of_any_size_and_number_of_channels(pairs):
    for x in (image(), image(7, 13), image(20, 16)):
        np.testing.assert_array_equal(pairs.translate(x), x)  # a gain of 1
    grey = image(channels=1)
    np.testing.assert_array_equal(pairs.translate(grey), grey.repeat(3, axis=2))


def on_white(image):
    """RGB of an image RGBA that lies on white (Porter & Duff, 1984)."""
    share = image[..., 3:] / 255
    return image[..., :3] * share + 255 * (1 - share)


def test_transparency_is_carried(pairs):
    x = image(8, 12, channels=4)
    x[:2, :, 3], x[2:4, :, 3] = 0, 255
    made = pairs.translate(x)  # a gain of 1
    np.testing.assert_array_equal(made[..., 3], x[..., 3])
    assert abs(on_white(made) - on_white(x)).max() <= 1
    np.testing.assert_array_equal(made[2:4], x[2:4])
    assert (made[:2, :, :3] == 255).all()  # nothing of what was under full transparency
    faint = 255 / np.maximum(x[4:, :, 3:], 1)  # the colour of such a pixel is known to so much
    assert (abs(made[4:, :, :3].astype(int) - x[4:, :, :3]) <= 1 + faint).all()
    opaque = image()
    shown = np.concatenate([opaque, np.full((16, 16, 1), 255, np.uint8)], 2)
    np.testing.assert_array_equal(pairs.translate(shown)[..., :3], opaque)
    assert pairs.translate(x, size=6).shape == (4, 6, 4)


def test_transparency_of_an_enlarged_image(pairs):
    """Straight and soft, and no white fringe in what is opaque."""
    x = np.zeros((12, 16, 4), np.uint8)
    x[:, 8:] = 20, 40, 60, 255
    large = pairs.translate(x, direction="double")
    assert large.shape == (24, 32, 4)
    assert (large[:, :12, 3] == 0).all()
    assert (large[:, 20:, 3] == 255).all()
    assert (np.diff(large[:, :, 3].astype(int)) >= 0).all()
    np.testing.assert_allclose(on_white(large)[:, :15], 255, atol=1)
    np.testing.assert_array_equal(large[:, 20:, :3], np.broadcast_to([20, 40, 60], (24, 12, 3)))


def test_transparency_where_it_is_the_systems_own_or_the_image_is_cut():
    x = image(8, 12, channels=4)
    np.testing.assert_array_equal(paired(shape=(8, 12, 4)).translate(x), x)
    padding = paired(any_size=False, shape=(16, 16, 3))
    info = dataclasses.replace(padding.info, crop="pad")
    made = dataclasses.replace(padding, info=info).translate(np.full((8, 16, 4), 255, np.uint8))
    assert (made[:4, :, 3] == 0).all()  # the ground that was added
    assert (made[4:12, :, 3] == 255).all()


def test_directions_scales_and_sizes(pairs):
    x = image(8, 12)
    larger = pairs.translate(x, direction="double")
    assert larger.shape == (16, 24, 3)
    np.testing.assert_array_equal(larger[::2, ::2], x)
    assert pairs.translate(x, size=6).shape == (4, 6, 3)
    with pytest.raises(UserError, match="direction is a-to-b or double, not b-to-a"):
        pairs.translate(x, direction="b-to-a")


def test_a_system_of_one_size():
    run, wide = paired(any_size=False), image(16, 40)
    np.testing.assert_array_equal(run.translate(wide), wide[:, 12:28])
    with pytest.raises(UserError, match="size is fixed: translator takes images of its training"):
        run.translate(wide, size=8)
    with pytest.raises(UserError, match="direction cannot be chosen here; leave out x"):
        stylist().translate(wide, direction="x")


def test_further_inputs_and_options():
    run, x = stylist(), image(6, 10)
    mask = np.zeros((6, 10, 1), np.uint8)
    mask[:, 5:] = 255
    style = np.full((3, 5, 3), 255, np.uint8)
    half = run.translate(x, mask=mask, style=style)
    np.testing.assert_array_equal(half[:, :5], x[:, :5])
    assert (half[:, 5:] == 255).all()
    np.testing.assert_array_equal(run.translate(x, mask=mask, style=style, strength=0.0), x)
    small = run.translate(x, mask=mask, style=style, size=5)  # the mask goes along, unblurred
    assert small.shape == (3, 5, 3)
    assert (small[:, :2] < 255).any()
    assert (small[:, 3:] == 255).all()
    mean = run.translate(x, mask=mask, style=style[:1], strength=0.5)[:, 5:]
    assert abs(mean - (x[:, 5:] / 2 + 127.5)).max() <= 1


def test_an_autoencoder_reconstructs():
    run = coder()
    x = image(8, 8)
    means = x.reshape(4, 2, 4, 2, 3).mean((1, 3)).repeat(2, 0).repeat(2, 1)
    again = run.translate(x)
    assert abs(again - means).max() <= 1
    np.testing.assert_array_equal(run.translate(x, direction="reconstruction"), again)
    assert run.translate(image(12, 20)).shape == (8, 8, 3)  # cut and resized as in training
    with pytest.raises(UserError, match="size is fixed: coder takes images of its training"):
        run.translate(x, size=4)


def test_what_a_translator_does_not_take():
    x = image()
    for choices, problem in (
        ({}, "mask is needed, and has no default; give an image"),
        ({"mask": x[..., :1]}, "style is needed, and has no default; give an image"),
        (
            {"colour": x},
            "stylist takes no colour; leave it out (its choices are mask, style, strength)",
        ),
    ):
        with pytest.raises(UserError) as error:
            stylist().translate(x, **choices)
        assert str(error.value) == problem
    with pytest.raises(UserError, match="makes no images from images; sample makes some"):
        conditional().translate(x)
