"""Walks: through the samples' latents, closed, as films and strips."""

import numpy as np
import pytest
from jaxgen.commands.restore import open_run
from PIL import Image

from jaxgen.commands.interpolate import interpolate, walk
from jaxgen.commands.sample import samples


def size(path):
    with Image.open(path) as image:
        return image.size


def test_the_walk_passes_the_samples_and_closes(trained):
    opened = open_run(trained)
    frames = np.concatenate(list(walk(opened, n=3, steps=4, seed=2, batch=5)))
    assert frames.shape == (12, 8, 8, 1)
    [latents] = samples(opened, 3, seed=2)
    assert np.abs(frames[::4].astype(int) - latents).max() <= 1
    steps = np.abs(frames - np.roll(frames, 1, axis=0).astype(float)).mean(axis=(1, 2, 3))
    assert steps.max() < 0.7 * np.abs(latents - np.roll(latents, 1, axis=0).astype(float)).mean()


def test_film_and_strip(trained, jaxgen, tmp_path):
    code, said, _ = jaxgen("interpolate", trained, "--n", 3, "--steps", 4)
    film, strip = said.split()
    assert code == 0
    assert film == str(trained / "use" / "walk_round_00000004_seed_0.gif")
    with Image.open(film) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (12, (8, 8), 0)
    assert size(strip) == (12 * 10 - 2, 8)
    options = dict(n=3, steps=4, rows=True)
    [rows] = interpolate(trained, out=tmp_path / "walk.png", **options)
    assert size(rows) == (4 * 10 - 2, 3 * 10 - 2)
    film, strip = interpolate(trained, out=tmp_path / "walk.mp4", **options)
    assert film.read_bytes()[4:8] == b"ftyp"
    assert strip == rows


def test_truncated_walks(styled, jaxgen):
    opened = open_run(styled)
    frames = np.concatenate(list(walk(opened, n=2, steps=2, seed=1, psi=0.5)))
    [latents] = samples(opened, 2, seed=1, psi=0.5)
    assert np.abs(frames[::2].astype(int) - latents).max() <= 1
    words = ("--n", 2, "--steps", 2, "--truncation", 0)
    code, said, _ = jaxgen("interpolate", styled, *words)
    assert code == 0
    assert said.split()[0] == str(styled / "use/walk_round_00000001_seed_0_psi_0.gif")
    with Image.open(said.split()[1]) as strip:  # at psi 0 all frames are the mean
        still = np.asarray(strip).astype(int)
    assert np.abs(still[:, :16] - still[:, 18:34]).max() <= 1


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--n", 1], "--n is at least 2, not 1"),
        (["--fps", 0], "--fps is above 0, not 0"),
        (["--out", "walk.avi"], "walk.avi is no .gif, .mp4 or .png file"),
    ],
)
def test_mistakes(trained, jaxgen, flags, problem):
    code, _, line = jaxgen("interpolate", trained, *flags)
    assert code == 2
    assert problem in line
