"""`project`: a user's files among the images of a run, and what is said of mistakes."""

import numpy as np
import pytest
from PIL import Image

from jaxgen.runs.load import load
from jaxgen.weights import distances


def square(_, a, b):
    return ((a - b) ** 2).mean((1, 2, 3))


@pytest.fixture
def plain(monkeypatch):
    """The mean squared difference in place of the perceptual distances."""
    stub = distances.Distance("square", "", {}, square)
    monkeypatch.setattr(distances, "distance", lambda name, weights: stub)


@pytest.fixture(scope="module")
def files(styled, tmp_path_factory):
    """Two samples as files, which are there to be found again, and their pixels."""
    images = load(styled).sample(2, seed=5)
    folder = tmp_path_factory.mktemp("files")
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder, images


def test_a_users_files(styled, files, jaxgen, plain, tmp_path):
    folder, images = files
    out = tmp_path / "out"
    words = ("--steps", 150, "--out", out)
    code, said, problem = jaxgen("project", styled, folder, *words, "--film")
    assert (code, problem) == (0, "")
    names = [f"{i}{end}" for i in range(2) for end in (".png", ".npz", ".mp4")]
    assert said.split() == [str(out / name) for name in names]
    for i in range(2):
        sheet = np.asarray(Image.open(out / f"{i}.png")).astype(int)
        assert sheet.shape == (16, 34, 3)
        np.testing.assert_array_equal(sheet[:, :16], images[i])
        assert abs(sheet[:, 18:] - images[i]).mean() < 4
        with np.load(out / f"{i}.npz") as kept:
            assert sorted(kept) == ["distance", "maps/fine", "point"]
            assert kept["point"].shape == (4,)
            assert kept["maps/fine"].shape == (16, 16)
            assert kept["distance"] < 1e-3
            point = kept["point"]
        assert (out / f"{i}.mp4").read_bytes()[4:8] == b"ftyp"
    # the second image alone, and at the usual place: the same to the bit
    code, said, _ = jaxgen("project", styled, folder / "1.png", "--steps", 150)
    usual = styled / "use" / "projected_round_00000001"
    assert said.split() == [str(usual / "1.png"), str(usual / "1.npz")]
    with np.load(usual / "1.npz") as kept:
        np.testing.assert_array_equal(kept["point"], point)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name an image file, or a folder of them, after the run"),
        (["none.png"], "there is no none.png; name image files, or a folder"),
        (["{broken}"], "is not a readable image"),
        (["{file}", "--steps", 0], "--steps is at least 1, not 0"),
        (["{file}", "--seed", -1], "--seed is from 0 to 2147483647, not -1"),
        (["{file}", "--lr", 0], "--lr is more than 0, not 0"),
        (["{file}", "--lr", "nan"], "--lr is more than 0, not nan"),
        (["{file}", "--lr", "1e38", "--steps", 40], "--lr 1e+38 is too high: the search has"),
        (["{file}", "--distance", "l2"], "--distance is 'squeezenet-distance', 'lpips-vgg' or"),
        (["{file}", "--steps", 1, "--out", "/proc/nowhere"], "/proc/nowhere cannot be written"),
    ],
)
def test_mistakes(words, said, styled, files, plain, jaxgen, tmp_path):
    folder, _ = files
    (tmp_path / "broken.png").write_bytes(b"no image")
    known = {"{file}": folder / "0.png", "{broken}": tmp_path / "broken.png"}
    code, _, line = jaxgen("project", styled, *(known.get(word, word) for word in words))
    assert code == 2
    assert said in line
    assert line.count("\n") == 1


def test_missing_weights(styled, files, jaxgen, tmp_path):
    folder, _ = files
    words = ("--distance", "lpips-vgg", "--weights", tmp_path / "vgg.pth")
    code, _, line = jaxgen("project", styled, folder, *words)
    assert (code, line.count("\n")) == (2, 1)
    assert "vgg.pth" in line or "pip install --no-deps lpips" in line  # whichever is missed first


def test_a_system_that_makes_no_images_from_noise(translator, files, jaxgen):
    line = jaxgen("project", translator, files[0])[2]
    assert "translator makes no images from noise" in line
