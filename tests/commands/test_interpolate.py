"""`interpolate`: walks as films and strips."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from jaxgen.runs import sampling


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
        assert (image.n_frames, image.size, image.info["loop"]) == (12, (256, 256), 0)
    assert size(strip) == (4 * 10 - 2, 3 * 10 - 2)
    rows = tmp_path / "walk.PNG"
    assert jaxgen(*words, "--out", rows)[1].split() == [str(rows)]
    assert size(rows) == (4 * 10 - 2, 3 * 10 - 2)
    film = tmp_path / "walk.MP4"
    assert jaxgen(*words, "--out", film)[1].split() == [str(film), str(tmp_path / "walk.png")]
    assert film.read_bytes()[4:8] == b"ftyp"


def test_the_sheet_of_a_slow_walk_has_sixteen_columns(trained, jaxgen, tmp_path, monkeypatch):
    """And alone it has no other frames made."""
    asked, walk = [], sampling.walk
    spy = lambda run, n, frames, **options: asked.append(frames) or walk(run, n, frames, **options)
    monkeypatch.setattr(sampling, "walk", spy)
    words = ("interpolate", trained, "--n", 2, "--frames", 40, "--out", tmp_path / "walk.png")
    assert jaxgen(*words)[0] == 0
    assert size(tmp_path / "walk.png") == (16 * 10 - 2, 2 * 10 - 2)
    assert asked == [16]


@pytest.mark.parametrize("fps", [24, 60])
def test_a_gif_keeps_its_time(trained, jaxgen, tmp_path, fps):
    """One second of frames lasts a second, or longer where a GIF cannot be so fast."""
    film = tmp_path / "walk.gif"
    frames = ("--n", 2, "--frames", fps // 2)
    assert jaxgen("interpolate", trained, *frames, "--fps", fps, "--out", film)[0] == 0
    with Image.open(film) as image:
        assert sum(frame.info["duration"] for frame in ImageSequence.Iterator(image)) == max(
            1000, 20 * fps
        )


def test_a_failing_ffmpeg_is_one_line(trained, jaxgen, tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho one >&2\necho no encoder >&2\nexit 3\n")
    program.chmod(0o755)
    words = ("interpolate", trained, "--n", 2, "--frames", 2, "--out", tmp_path / "walk.mp4")
    for path, said in (
        (program, f"ffmpeg cannot write {tmp_path}/walk.mp4 (no encoder)"),
        (tmp_path / "none", "films need the program ffmpeg, which is not there; reinstall"),
    ):
        monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", lambda path=path: str(path))
        code, _, line = jaxgen(*words)
        assert (code, line.count("\n")) == (2, 1)
        assert said in line
    assert not (tmp_path / "walk.mp4").exists()


def test_traversal(styled, jaxgen):
    """A row a number of the latent, from low to high; the film goes back, too."""
    code, said, _ = jaxgen("interpolate", styled, "--traverse", "--frames", 5, "--n", 3)
    assert code == 0
    film, sheet = said.split()
    assert film == str(styled / "use/traversal_round_00000001_seed_0.gif")
    assert size(sheet) == (5 * 18 - 2, 3 * 18 - 2)
    with Image.open(film) as image:
        assert 3 * 5 < image.n_frames <= 3 * 2 * 5  # equal neighbours are one
    code, _, line = jaxgen("interpolate", styled, "--traverse", "--n", 9)
    assert (code, line) == (2, "jaxgen: --n is at most 4, the numbers of a latent, not 9\n")
    code, _, line = jaxgen("interpolate", styled, "--copy", 1)
    said = f"jaxgen: --copy is for runs of several seeds, and {styled} has one; leave it out\n"
    assert (code, line) == (2, said)


def test_plane(styled, jaxgen):
    code, said, _ = jaxgen("interpolate", styled, "--plane", "--frames", 3, "--truncation", 0.5)
    assert code == 0
    name = "plane_round_00000001_seed_0_truncation_0.5.png"
    assert said.split() == [str(styled / "use" / name)]
    assert size(said.strip()) == (3 * 18 - 2, 3 * 18 - 2)


def test_truncated_walks(styled, jaxgen):
    words = ("--n", 2, "--frames", 2, "--truncation", 0)
    code, said, _ = jaxgen("interpolate", styled, *words)
    assert code == 0
    assert said.split()[0] == str(styled / "use/walk_round_00000001_seed_0_truncation_0.0.gif")
    with Image.open(said.split()[1]) as strip:  # at psi 0 all frames are the mean
        still = np.asarray(strip).astype(int)
    assert np.abs(still[:, :16] - still[:, 18:34]).max() <= 1


def test_a_walk_between_images_of_ones_own(coder, trained, jaxgen, tmp_path):
    files = [tmp_path / f"{name}.png" for name in "ab"]
    for file, shade in zip(files, (0, 200), strict=True):
        Image.new("RGB", (12, 8), (shade, shade, shade)).save(file)
    words = ("--between", *files, "--frames", 4)
    code, said, _ = jaxgen("interpolate", *coder, *words)
    film, sheet = said.split()
    assert code == 0
    assert film == str(coder[0] / "use" / "walk_round_00000001_between_a-b.gif")
    with Image.open(sheet) as image:
        shades = np.asarray(image.convert("L"))[4::10, 4::10]
    np.testing.assert_allclose(shades, [[0, 50, 100, 150], [200, 150, 100, 50]], atol=1)
    for run, flags, problem in (
        (coder, ("--between", files[0]), "a walk is between 2 images or more, not 1"),
        (coder, (*words, "--n", 3), "--n is of latents; leave it out where images are given"),
        (coder, (*words, "--seed", 0), "--seed is of latents; leave it out where images are given"),
        (coder, ("--between", files[0], tmp_path / "c.png"), f"there is no {tmp_path}/c.png"),
        (coder, (), "walks between images; give it two, --between ONE TWO"),
        ((trained,), words, "wgan has no encoder; a vae has one"),
    ):
        code, _, line = jaxgen("interpolate", *run, *flags)
        assert (code, line.count("\n")) == (2, 1)
        assert problem in line


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--n", 1], "--n is at least 2, not 1"),
        (["--n", "many"], "--n is a whole number, not many"),
        (["--seed", -4], "--seed is from 0 to 2147483647, not -4"),
        (["--frames", 0], "--frames is at least 1, not 0"),
        (["--fps", 0], "--fps is more than 0, not 0"),
        (["--plane", "--n", 3], "--plane is between four latents; leave --between, --traverse"),
        (["--plane", "--frames", 1], "--frames are 2 or more in each direction, not 1"),
        (["--plane", "--out", "x.gif"], "--out x.gif is no .png file; name one for the sheet"),
        (["--out", "walk.avi"], "walk.avi is no .gif, .mp4 or .png file"),
    ],
)
def test_mistakes(trained, jaxgen, flags, problem):
    code, _, line = jaxgen("interpolate", trained, *flags)
    assert code == 2
    assert problem in line
