"""Texts and images matched: softmaxes of scaled cosines, of arrays and of files."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

from jaxgen.data.source import DataInfo, Field, to_float
from jaxgen.data.tokens import Tokens
from jaxgen.errors import UserError
from jaxgen.models.clip import ImageTower, TextTower
from jaxgen.runs.matching import embedded, likelihoods
from jaxgen.systems.multimodal.clip import clip
from jaxgen.train.abilities import Embedder
from tests.quick import quick_to_compile  # noqa: F401
from tests.runs.toys import IMAGE, styled, trained

TEXTS = ("a cat", "two dogs", "the moon", "a cup")


@pytest.fixture(scope="module")
def run():
    tokens = Tokens((), 8)
    info = DataInfo(
        (8, 8, 3), {"image": IMAGE, "text": Field("text")}, vocabulary=tokens, stored=(10, 10)
    )
    towers = ImageTower(4, 8, 1, 4, 2), TextTower(tokens.size, 8, 8, 1, 4, 2)
    return trained(clip(*towers, (8, 8, 3), 8, optax.adam(1e-3)), info, "clip")


def pictures(n=3, side=10):
    return list(np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8))


def test_likelihoods_are_softmaxes_of_scaled_cosines(run):
    images = pictures()
    nets, embedder = run.nets(), run.system.ability(Embedder)
    middle = to_float(np.stack(images)[:, 1:9, 1:9])
    tokens = jnp.stack([run.info.vocabulary(text) for text in TEXTS])
    x = np.asarray(embedder.image(nets, {"image": middle}))
    y = np.asarray(embedder.text(nets, {"text": tokens}))
    cosines = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in y] for a in x]
    odds = np.exp(np.array(cosines, np.float64) / 0.07)
    found = likelihoods(run, images, TEXTS, batch=2)
    np.testing.assert_allclose(found, odds / odds.sum(1, keepdims=True), rtol=2e-2)
    np.testing.assert_allclose(run.match(images, TEXTS), found, rtol=1e-3)
    other = likelihoods(run, images, TEXTS, "text")
    np.testing.assert_allclose(other, (odds / odds.sum(0)).T, rtol=2e-2)


def test_files_are_as_good_as_arrays(run, tmp_path):
    images = pictures(2, side=30)
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    np.testing.assert_array_equal(run.match(files, TEXTS), run.match(images, TEXTS))


def test_vectors_are_units_and_chunks_do_not_matter(run):
    by = lambda batch: embedded(run, "text", TEXTS, run.info.vocabulary, batch)
    np.testing.assert_allclose(np.linalg.norm(by(64), axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(by(3), by(64), atol=1e-5)


def test_a_run_that_does_not_read():
    with pytest.raises(UserError, match="styles does not read; a run of clip does"):
        styled().match(pictures(), TEXTS)
