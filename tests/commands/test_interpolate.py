"""`interpolate`: walks as films and strips."""

import numpy as np
import pytest
from PIL import Image


def size(path):
    with Image.open(path) as image:
        return image.size


def test_film_and_strip(trained, jaxgen, tmp_path):
    words = ("interpolate", trained, "--n", 3, "--frames", 4)
    code, said, _ = jaxgen(*words)
    film, strip = said.split()
    assert code == 0
    assert film == str(trained / "use" / "walk_round_00000004_seed_0.gif")
    with Image.open(film) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (12, (8, 8), 0)
    assert size(strip) == (12 * 10 - 2, 8)
    rows = tmp_path / "walk.png"
    assert jaxgen(*words, "--rows", "--out", rows)[1].split() == [str(rows)]
    assert size(rows) == (4 * 10 - 2, 3 * 10 - 2)
    film = tmp_path / "walk.mp4"
    assert jaxgen(*words, "--rows", "--out", film)[1].split() == [str(film), str(rows)]
    assert film.read_bytes()[4:8] == b"ftyp"


def test_truncated_walks(styled, jaxgen):
    words = ("--n", 2, "--frames", 2, "--truncation", 0)
    code, said, _ = jaxgen("interpolate", styled, *words)
    assert code == 0
    assert said.split()[0] == str(styled / "use/walk_round_00000001_seed_0_truncation_0.0.gif")
    with Image.open(said.split()[1]) as strip:  # at psi 0 all frames are the mean
        still = np.asarray(strip).astype(int)
    assert np.abs(still[:, :16] - still[:, 18:34]).max() <= 1


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--n", 1], "--n is at least 2, not 1"),
        (["--frames", 0], "--frames is at least 1, not 0"),
        (["--fps", 0], "--fps is more than 0, not 0"),
        (["--out", "walk.avi"], "walk.avi is no .gif, .mp4 or .png file"),
    ],
)
def test_mistakes(trained, jaxgen, flags, problem):
    code, _, line = jaxgen("interpolate", trained, *flags)
    assert code == 2
    assert problem in line
