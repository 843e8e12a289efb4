"""Augmentation inside the program: aligned pairs, real crops, the draw rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgen.data import augment
from jaxgen.data.pipeline import load

KEY = jax.random.key(0)


def positions(n, size):
    """Images [n, size, size, 2] whose pixels say where they stand."""
    rows, columns = jnp.meshgrid(jnp.arange(size), jnp.arange(size), indexing="ij")
    return jnp.broadcast_to(jnp.stack([rows, columns], -1), (n, size, size, 2)).astype(float)


def test_flips_mirror_about_half_and_treat_a_pair_alike():
    x = positions(64, 5)
    a, b = augment.flip((x, x + 100), KEY)
    np.testing.assert_array_equal(b, a + 100)
    mirrored = np.array([bool((image == x[0][:, ::-1]).all()) for image in a])
    same = np.array([bool((image == x[0]).all()) for image in a])
    assert (mirrored ^ same).all()
    assert 18 <= mirrored.sum() <= 46


def test_crops_are_windows_at_every_place_and_treat_a_pair_alike():
    x = positions(200, 6)
    a, b = augment.random_crop((x, -x), KEY, (4, 4))
    assert a.shape == (200, 4, 4, 2)
    np.testing.assert_array_equal(b, -a)
    corners = np.asarray(a[:, 0, 0])
    assert len(set(map(tuple, corners.tolist()))) == 9
    np.testing.assert_array_equal(a, corners[:, None, None] + positions(200, 4))


def test_data_augments_pairs_together_and_domains_apart(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    for folder in ("A", "B", "trainA", "trainB"):
        (tmp_path / folder).mkdir()
        Image.fromarray(noise).save(tmp_path / folder / "1.png")
    for kind, together in (("pairs", True), ("domains", False)):
        data = load(f"{kind}:{tmp_path}", size=8, random_crop=12, flip=True)
        batch = next(data.batches(16, 0))
        batch = {k: v / 127.5 - 1 for k, v in batch.items()}
        out = jax.jit(data.augment)(batch, KEY)
        assert out["a"].shape == out["b"].shape == (16, 8, 8, 3)
        assert bool((out["a"] == out["b"]).all()) == together


@pytest.mark.parametrize("name", ["image", "label"])
def test_entries_without_images_pass(name):
    data = load("mnist5k", size=8, channels=1, split="test", flip=True)
    batch = next(data.batches(4, 0))
    out = data.augment({k: jnp.asarray(v, jnp.float32) for k, v in batch.items()}, KEY)
    assert out.keys() == batch.keys()
    assert out[name].shape == batch[name].shape
