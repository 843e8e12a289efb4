"""`sample`: how images are written, from which checkpoint, and what is said of mistakes."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from jaxgen.runs.load import load
from tests.runs import toys


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_grid_and_single_files_hold_the_same_images(trained, jaxgen, tmp_path):
    images = load(trained).sample(5, seed=3, batch=8)
    words = ("sample", trained, "--n", 5, "--seed", 3, "--batch", 8)
    path = tmp_path / "new" / "grid.png"
    assert jaxgen(*words, "--out", path) == (0, f"{path}\n", "")
    sheet = pixels(path)
    assert sheet.shape == (18, 28)
    np.testing.assert_array_equal(sheet[10:18, 10:18], images[4, ..., 0])
    folder = tmp_path / "files"
    assert jaxgen(*words, "--single", "--out", folder) == (0, f"{folder}\n", "")
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


def test_a_film_of_how_images_come_about(trained, jaxgen, tmp_path):
    """A film, of a system that makes images step by step: the toy's go from black to white."""
    run = toys.saved(toys.scoring(), tmp_path / "run")
    words = ("--system", "tests.runs.toys:scoring_system", "--n", 4, "--frames", 5)
    path = tmp_path / "film.gif"
    assert jaxgen("sample", run, *words, "--out", path) == (0, f"{path}\n", "")
    with Image.open(path) as film:
        frames = [np.asarray(x.convert("L")) for x in ImageSequence.Iterator(film)]
    assert [x.shape for x in frames] == [(250, 250)] * 5  # two by two, enlarged
    assert [x[0, 0] for x in frames] == [0, 64, 128, 191, 255]
    code, _, line = jaxgen("sample", trained, "--out", path)
    assert (code, line.count("\n")) == (2, 1)
    assert "wgan makes an image at once, not step by step; ask for samples" in line


def test_truncation(styled, jaxgen):
    for psi, name in (("-0.5", "_truncation_-0.5"), ("7e-1", "_truncation_0.7"), ("1", "")):
        code, said, _ = jaxgen("sample", styled, "--n", 2, "--truncation", psi)
        assert code == 0
        assert said.strip() == str(styled / f"use/samples_round_00000001_seed_0{name}.png")
        sheet = pixels(said.strip())
        images = load(styled).sample(2, truncation=float(psi))
        np.testing.assert_array_equal([sheet[:, :16], sheet[:, 18:]], images)


def test_truncation_where_there_is_none(trained, styled, jaxgen):
    for command in "sample", "interpolate":
        code, _, line = jaxgen(command, trained, "--truncation", 0.7)
        assert (code, line.count("\n")) == (2, 1)
        assert "there is no flag --truncation" in line
        assert "(flags of wgan itself: none)" in line
        for psi in "nan", "-inf":
            line = jaxgen(command, styled, "--truncation", psi)[2]
            assert f"--truncation is a finite number, not {psi}" in line


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--n", 0], "--n is at least 1, not 0"),
        (["--n", "x"], "--n is a whole number, not 'x'"),
        (["--seed", -1], "--seed is from 0 to 2147483647, not -1"),
        (["--nn", 3], "there is no flag --nn; did you mean --n?"),
        (["--out", "x.jpg"], "x.jpg is no .png file, and no .gif or .mp4 for a film; name one"),
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
    record = tmp_path / "args.json"
    record.write_text('{"experiment": "jaxgen.experiments.wgan"}')
    assert "has no checkpoint yet" in jaxgen("sample", tmp_path)[2]
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    (tmp_path / "checkpoints" / "1" / "digests.json").touch()
    assert "has lost its data.json" in jaxgen("sample", tmp_path)[2]
    (tmp_path / "data.json").write_text('{"shape": [4, 4, 1], "fields": {}}')
    for experiment, problem in (
        ("{}", "was made from Python; give its system"),
        ('{"experiment": "jaxgen.experiments.nothing"}', "jaxgen.experiments.nothing, which"),
        ('{"experiment": "jaxgen.experiments.parallel_lines"}', "a study without a system"),
    ):
        record.write_text(experiment)
        assert problem in jaxgen("sample", tmp_path)[2]


def test_an_option_that_is_varied(styled, jaxgen):
    """A row for each sample, an image for each value."""
    words = ("sample", styled, "--n", 2, "--vary", "truncation=1,0,-0.5")
    code, said, problem = jaxgen(*words)
    assert (code, problem) == (0, "")
    assert "_vary_truncation-1-0--0.5_" in said
    sheet = pixels(said.strip())
    assert sheet.shape == (34, 52, 3)
    for i, psi in enumerate((1.0, 0.0, -0.5)):
        images = load(styled).sample(2, truncation=psi)
        np.testing.assert_array_equal(sheet[18:, 18 * i : 18 * i + 16], images[1])
    for vary, problem in (
        ("truncation=a,b", "--vary is written NAME=VALUE,VALUE, such as truncation=0.5,1.0"),
        ("colour=1", "styles takes no colour; leave it out (its choices are truncation)"),
    ):
        code, _, line = jaxgen(*words[:-1], vary)
        assert (code, line.count("\n")) == (2, 1)
        assert problem in line


def test_what_noise_changes(conditional, styled, jaxgen, tmp_path):
    """Three draws of each sample and their deviation: the toy's noise is the last channel of the
    first row."""
    path = tmp_path / "noise.png"
    words = ("--n", 2, "--draws", 40, "--text", "a", "--label", 1, "--batch", 2, "--out", path)
    assert jaxgen("sample", *conditional, *words) == (0, f"{path}\n", "")
    sheet = pixels(path)
    assert sheet.shape == (10, 22, 3)
    deviation = sheet[6:, 18:]
    assert not deviation[1:].any()
    np.testing.assert_array_equal(deviation, deviation[..., :1].repeat(3, -1))
    # Uniform noise of 255 levels in one of three channels, four times as bright.
    np.testing.assert_allclose(deviation[0].mean(), 4 * 255 / 12**0.5 / 3, rtol=0.1)
    assert (sheet[6, :4] != sheet[6, 6:10]).any()
    np.testing.assert_array_equal(sheet[7:, :4], sheet[7:, 6:10])
    code, _, line = jaxgen("sample", styled, "--draws", 3)
    assert (code, line.count("\n")) == (2, 1)
    assert "styles draws no noise besides the latents" in line
    line = jaxgen("sample", styled, "--draws", 3, "--single")[2]
    assert "--single and --draws are different kinds of pictures; choose one" in line
    assert "--draws is at least 3, not 2" in jaxgen("sample", styled, "--draws", 2)[2]


def test_a_system_without_noise_to_sample_from(translator, jaxgen):
    assert "translator makes no images from noise" in jaxgen("sample", translator)[2]
