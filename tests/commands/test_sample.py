"""Samples: how many, how they are written, and that nothing but seed and index matters."""

import dataclasses

import numpy as np
import pytest
from jaxgen.commands.restore import open_run
from PIL import Image

from jaxgen.commands.sample import sample, samples
from jaxgen.errors import UserError


@pytest.fixture(scope="module")
def opened(trained):
    return open_run(trained)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def drawn(opened, n, seed=0, batch=8, psi=None):
    chunks = list(samples(opened, n, seed, batch, psi))
    assert all(len(chunk) <= batch for chunk in chunks)
    return np.concatenate(chunks)


def apart(a, b):
    """The largest difference: programs of their own may round a level up or down."""
    return np.abs(a.astype(int) - b).max()


def test_neither_number_nor_chunks_matter(opened):
    images = drawn(opened, 20)
    assert images.shape == (20, 8, 8, 1)
    assert images.dtype == np.uint8
    assert apart(drawn(opened, 7), images[:7]) <= 1
    for batch in (3, 32):
        assert apart(drawn(opened, 20, batch=batch), images) <= 1
    assert (drawn(opened, 20, seed=1) != images).any()
    assert len(np.unique(images.reshape(20, -1), axis=0)) == 20


def test_grid_and_single_files_hold_the_same_images(trained, opened, tmp_path):
    images = drawn(opened, 5, seed=3)
    path = sample(trained, n=5, seed=3, batch=8, out=tmp_path / "new" / "grid.png")
    sheet = pixels(path)
    assert sheet.shape == (18, 28)
    np.testing.assert_array_equal(sheet[10:18, 10:18], images[4, ..., 0])
    folder = sample(trained, n=5, seed=3, batch=8, single=True, out=tmp_path / "files")
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [f"{i:05d}.png" for i in range(5)]
    np.testing.assert_array_equal([pixels(f) for f in files], images[..., 0])


def test_a_checkpoint_by_its_round(trained, jaxgen):
    code, said, _ = jaxgen("sample", trained, "--n", 4, "--round", 2)
    assert code == 0
    assert said.strip() == str(trained / "use" / "samples_round_00000002_seed_0.png")
    assert pixels(said.strip()).shape == (18, 18)
    code, _, problem = jaxgen("sample", trained, "--round", 3)
    assert code == 2
    assert "no whole checkpoint of round 3; it has 2, 4" in problem


def test_truncation(styled, jaxgen):
    """The toy is linear, so that psi goes along a line through the mean."""
    by = lambda psi: drawn(open_run(styled), 5, psi=psi).astype(float)
    whole, mean = by(None), by(0.0)
    assert apart(by(1.0), whole) <= 1
    assert apart(mean, mean[:1]) <= 1
    for psi in (0.5, -0.7):
        made, line = by(psi), mean + psi * (whole - mean)
        inside = (whole > 0) & (whole < 255) & (made > 0) & (made < 255)
        assert inside.mean() > 0.9
        assert abs(made - line)[inside].max() <= 2  # of 255, for rounding
    for psi, name in (("-0.5", "psi_-0.5"), ("1e0", "psi_1")):
        code, said, _ = jaxgen("sample", styled, "--n", 2, "--truncation", psi)
        assert code == 0
        assert said.strip() == str(styled / f"use/samples_round_00000001_seed_0_{name}.png")


def test_truncation_where_there_is_none(trained, jaxgen):
    for command in "sample", "interpolate":
        code, _, line = jaxgen(command, trained, "--truncation", 0.7)
        assert (code, line.count("\n")) == (2, 1)
        assert "wgan has no mean style to go to; leave --truncation out" in line
    for psi in "nan", "-inf":
        line = jaxgen("sample", trained, "--truncation", psi)[2]
        assert f"--truncation is a finite number, not {psi}" in line


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--n", 0], "--n is at least 1, not 0"),
        (["--n", "x"], "--n is a whole number, not 'x'"),
        (["--seed", -1], "--seed is at least 0, not -1"),
        (["--nn", 3], "there is no flag --nn; did you mean --n?"),
        (["--out", "x.jpg"], "x.jpg is no .png file"),
        (["--out", "/proc/nowhere/x.png"], "/proc/nowhere/x.png cannot be written"),
    ],
)
def test_mistakes(trained, jaxgen, flags, problem):
    code, said, line = jaxgen("sample", trained, *flags)
    assert (code, said) == (2, "")
    assert line.startswith("jaxgen: ")
    assert line.count("\n") == 1
    assert problem in line


def test_a_folder_that_is_no_run(jaxgen, tmp_path):
    for command in "sample", "interpolate", "report":
        code, _, line = jaxgen(command, tmp_path)
        assert code == 2
        assert line.startswith(f"jaxgen: {tmp_path} is not a run folder")
    (tmp_path / "args.json").write_text("{}")
    assert "names no experiment" in jaxgen("sample", tmp_path)[2]
    (tmp_path / "args.json").write_text('{"experiment": "jaxgen.experiments.nothing"}')
    assert "a run of jaxgen.experiments.nothing, which" in jaxgen("sample", tmp_path)[2]
    (tmp_path / "args.json").write_text('{"experiment": "jaxgen.experiments.parallel_lines"}')
    assert "parallel_lines, a study: it has no single system" in jaxgen("sample", tmp_path)[2]
    (tmp_path / "args.json").write_text('{"experiment": "jaxgen.experiments.wgan"}')
    assert "has no checkpoint yet" in jaxgen("sample", tmp_path)[2]


def test_a_system_without_noise_to_sample_from(opened):
    useless = dataclasses.replace(opened, system=dataclasses.replace(opened.system, use=None))
    with pytest.raises(UserError, match="wgan makes no images from noise"):
        list(samples(useless, 1))
