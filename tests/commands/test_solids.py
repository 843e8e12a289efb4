"""Runs that make voxels: their pictures, films, meshes, sums and scores."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from PIL import Image, ImageSequence

from jaxgen.data.arrays import arrays
from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.experiments import gan3d
from jaxgen.metrics.voxels import best_iou
from jaxgen.pictures import as_uint8
from jaxgen.runs.load import load
from jaxgen.solids import views
from tests.runs import toys

WORDS = ("--system", "tests.commands.test_solids:system", "--n", 2)
FIELDS = {"voxels": Field("voxels", depth=8), "label": Field("label")}


def system(info):
    return gan3d.system(gan3d.Args(size=8, width=2), info)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """With shapes that are neither full nor empty, from weights that are larger than at first."""
    info = DataInfo((8, 8, 8), FIELDS, ("thin", "thick"))
    trained = toys.trained(system(info), info)
    generator = trained.states["generator"]
    params = jax.tree.map(lambda w: 5 * w if w.ndim > 1 else w, generator.params)
    trained.states["generator"] = generator.replace(params=params)
    return toys.saved(trained, tmp_path_factory.mktemp("runs") / "solid")


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_sheets(run, jaxgen, tmp_path):
    shapes = load(run, system).sample(2)
    assert shapes.shape == (2, 8, 8, 8)
    assert 0.01 < (shapes > 127).mean() < 0.99
    seen = lambda turn: as_uint8(views(jnp.float32(shapes) / 127.5 - 1, turn))[..., 0]
    path = tmp_path / "sheet.png"
    assert jaxgen("sample", run, *WORDS, "--out", path)[0] == 0
    np.testing.assert_array_equal(pixels(path)[:, :64], seen(35.0)[0])
    assert jaxgen("sample", run, *WORDS, "--views", 3, "--out", path)[0] == 0
    sheet = pixels(path)
    assert sheet.shape == (64 * 2 + 2, 64 * 3 + 4)  # a row for each shape
    np.testing.assert_array_equal(sheet[66:, 66:130], seen(35.0 + 120)[1])


def test_films(run, jaxgen, tmp_path):
    path = tmp_path / "turning.gif"
    assert jaxgen("sample", run, *WORDS, "--frames", 4, "--out", path)[0] == 0
    with Image.open(path) as film:
        frames = [np.asarray(x.convert("L")) for x in ImageSequence.Iterator(film)]
    assert len(frames) == 4
    assert all((a != b).any() for a, b in itertools.pairwise(frames))
    path = tmp_path / "walk.gif"
    assert jaxgen("interpolate", run, *WORDS, "--frames", 2, "--out", path)[0] == 0
    assert pixels(path.with_suffix(".png")).shape == (130, 130)
    path = tmp_path / "plane.png"
    words = (*WORDS[:2], "--plane", "--frames", 2, "--out", path)
    assert jaxgen("interpolate", run, *words)[0] == 0
    assert pixels(path).shape[:2] == (130, 130)


@pytest.mark.parametrize("kind", ["obj", "stl"])
def test_meshes(kind, run, jaxgen, tmp_path):
    folder = tmp_path / "meshes"
    assert jaxgen("sample", run, *WORDS, "--single", "--to", kind, "--out", folder)[0] == 0
    assert sorted(x.name for x in folder.iterdir()) == [f"0000{i}.{kind}" for i in range(2)]
    shapes = load(run, system).sample(2)
    for i in range(2):
        mesh = trimesh.load(folder / f"0000{i}.{kind}")
        assert mesh.is_watertight
        assert 0.3 < mesh.volume * 8**3 / (shapes[i] > 127).sum() < 1.5


def test_sums_of_latents(run, jaxgen, tmp_path):
    trained = load(run, system)
    cells = trained.arithmetic("0-1+2", "1,2")
    assert cells.shape == (2, 4, 8, 8, 8)
    near = lambda a, b: np.testing.assert_allclose(np.int32(a), np.int32(b), atol=1)
    near(cells[0, :3], trained.sample(3))
    sampler = trained.system.abilities[0]
    z = sampler.prior(jax.random.split(jax.random.key(0), 3)[1], 3)
    made = sampler.generate(
        trained.nets(), jnp.stack([z[0] - z[1] + z[2], (z[1] + z[2]) / 2]), {}, 0
    )
    near(cells[:, 3], as_uint8(made))
    near(cells[1, 0], cells[1, 3])
    assert not cells[1, 1:3].any()  # empty
    origin = sampler.generate(trained.nets(), jnp.zeros_like(z[:1]), {}, 0)
    assert as_uint8(origin).any()
    for of_nothing in "0-0", "1,2-2,1":  # no empty cell, but what the latent 0 makes
        near(trained.arithmetic(of_nothing)[0, -1:], as_uint8(origin))
    path = tmp_path / "sums.png"
    words = ("--arithmetic", "0-1+2", "1,2", "--out", path)
    assert jaxgen("sample", run, *WORDS, *words)[0] == 0
    assert pixels(path).shape == (64 * 2 + 2, 64 * 4 + 6)
    for wrong in ("0-", "one+2", "1++2", "-1"):
        with pytest.raises(UserError, match="arithmetic is written like 3-7"):
            trained.arithmetic(wrong)
    with pytest.raises(UserError, match="samples of numbers below 100000, not 100000"):
        trained.arithmetic("1-100000")


def test_what_voxels_have_not(run, trained, jaxgen, tmp_path):
    line = jaxgen("sample", trained, "--views", 2)[2]
    assert "--views are of voxels, and wgan makes images; leave them out" in line
    line = jaxgen("sample", trained, "--single", "--to", "obj")[2]
    assert "--to obj is for voxels, and wgan makes images" in line
    line = jaxgen("sample", run, *WORDS, "--views", 2, "--out", tmp_path / "film.gif")[2]
    assert "--views are of a sheet, and a film shows all sides" in line
    assert "add --single" in jaxgen("sample", run, *WORDS, "--to", "stl")[2]
    with pytest.raises(UserError, match="makes voxels, among which no image is searched for"):
        load(run, system).project(np.zeros((8, 8, 3), np.uint8))
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    line = jaxgen("project", run, tmp_path / "image.png", *WORDS[:2])[2]
    assert "makes voxels, among which no image is searched for" in line
    with pytest.raises(UserError, match="has no fid"):
        load(run, system).evaluate("fid", data=things(12, 0))
    with pytest.raises(UserError, match="has no best-iou"):
        load(trained).evaluate("best-iou")


def things(n, seed):
    """Bars, thin and thick."""
    rng = np.random.default_rng(seed)
    voxels, labels = np.zeros((n, 8, 8, 8), np.uint8), np.arange(n) % 2
    for shape, label in zip(voxels, labels):
        low = rng.integers(0, 4, 2)
        shape[:, low[0] : low[0] + 1 + 3 * label, low[1] : low[1] + 2 + 2 * label] = 1
    return arrays({"voxels": voxels[..., None], "label": labels, "name": labels})


def test_scores(run, jaxgen):
    trained, held, train = load(run, system), things(12, 0), things(40, 1)
    options = {"data": held, "train": train, "samples": 16}
    found = trained.evaluate("best-iou", "coverage-iou", "largest-component", **options)
    made = trained.sample(16) > 127
    true = held.examples(12)["voxels"][..., 0] > 0
    np.testing.assert_allclose(found["best-iou"], best_iou(made, true).mean(), rtol=1e-6)
    np.testing.assert_allclose(found["coverage-iou"], best_iou(true, made).mean(), rtol=1e-6)
    assert 0 < found["largest-component"] <= 1
    probe = trained.evaluate("linear-probe", data=held, train=train)
    assert probe["linear-probe"] == 1.0  # thin and thick are easily told apart
