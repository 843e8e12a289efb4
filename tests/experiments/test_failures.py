"""What goes wrong ends in one line that names it and the fix, and harms no run."""

import contextlib
import json
import resource
import shutil
import sys

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from jaxgen.experiments import wgan
from tests.experiments.command import TINY, metrics


@pytest.fixture
def command(capfd, monkeypatch):
    """`python -m jaxgen.experiments.wgan`, here: (exit code, what it said)."""
    from jaxgen.commands.launch import launch

    def run(*flags):
        words = [*TINY, "--rounds", "2", "--save-every", "1", *map(str, flags)]
        monkeypatch.setattr(sys, "argv", ["wgan", *words])
        code = 0
        try:
            launch(wgan.system)
        except SystemExit as end:
            code = end.code or 0
        said = capfd.readouterr()
        return code, said.out + said.err

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two rounds, with both checkpoints."""
    from jaxgen.commands.arguments import parse
    from jaxgen.commands.launch import train

    name, folder = wgan.__name__, tmp_path_factory.mktemp("runs") / "finished"
    flags = [*TINY, "--rounds", "2", "--save-every", "1", "--workdir", str(folder)]
    train(name, wgan.system, parse(wgan.Args, name, flags))
    return folder


@pytest.fixture
def finished_copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def assert_line(made, *parts):
    """One line, exit code 2, no traceback."""
    code, text = made
    assert code == 2, text
    assert text.startswith("wgan: ")
    assert text.count("\n") == 1, text
    for part in parts:
        assert str(part) in text
    assert len(text) < 500


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--batch", 3], "there is no flag --batch; did you mean --batch-size?"),
        (["--no-flp"], "there is no flag --no-flp; did you mean --flip?"),
        (["--foo", 1], "there is no flag --foo; --help lists what there is"),
        (["loose"], "loose belongs to no flag"),
        (["--size"], "--size needs a value"),
        (["--lr", "fast"], "--lr is a number, not 'fast'"),
        (["--rounds", "1e3"], "--rounds is a whole number, not '1e3'"),
        (["--crop", "middle"], "--crop is 'center', 'stretch', 'pad' or 'tiles', not 'middle'"),
        (["--channels", 2], "--channels is '1', '3' or '4', not '2'"),
        (["--size", "0x8"], "--size: 0x8 is no size; write 64 for a square, 48x96"),
        (["--keep", 0], "--keep is at least 1, not 0"),
        (["--seed", -1], "--seed is from 0 to 2147483647, not -1"),
        (["--random-crop", 4], "images of 4 x 4, which is below the size of 8 x 8; use a larger"),
        (["--data", "mnist"], 'no data "mnist"; there are mnist5k, emoji'),
        (["--data", "folder:/no/where"], "folder:/no/where: no such folder; check the path"),
        (["--recipe", "/no/where.toml"], "recipe /no/where.toml cannot be read: No such file"),
    ],
)
def test_wrong_flags(command, tmp_path, flags, line):
    folder = tmp_path / "run"
    assert_line(command("--workdir", folder, *flags), line)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('lr = "fast"', "lr = \"fast\": --lr is a number, not 'fast'"),
        ("rounds = 2.5", "rounds = 2.5: --rounds is a whole number, not '2.5'"),
        ("flip = 1\nrounds = true", "flip is true or false, not 1"),
        ("rounds = true", "rounds takes a value, not true"),
        ("lr = 1\nclipp = 0.1", "there is no argument 'clipp'; did you mean clip?"),
        ("zzz = 1", "there is no argument 'zzz'; --help lists what it may set"),
        ("lr = = 1", "is not TOML: Invalid value (at line 1, column 6)"),
        ("recipe = 'another.toml'", "there is no argument 'recipe'"),
    ],
)
def test_wrong_recipes(command, tmp_path, content, line):
    (tmp_path / "r.toml").write_text(content)
    assert_line(command("--recipe", tmp_path / "r.toml"), f"recipe {tmp_path}/r.toml", line)


def pictures(folder, n=9):
    folder.mkdir()
    for i, image in enumerate(np.random.default_rng(0).integers(0, 256, (n, 9, 9, 3), np.uint8)):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


def test_wrong_folders_of_images(command, tmp_path):
    (tmp_path / "empty").mkdir()
    made = command("--data", f"folder:{tmp_path}/empty", "--workdir", tmp_path / "run")
    assert_line(made, f"no images in {tmp_path}/empty; put PNG")
    folder = pictures(tmp_path / "images")
    (folder / "half.png").write_bytes((folder / "3.png").read_bytes()[:150])
    (folder / "text.jpg").write_text("no image")
    made = command("--data", f"folder:{folder}", "--workdir", tmp_path / "run")
    assert_line(made, "half.png is not a readable image", "(and 1 more such file", "move it away")
    assert not (tmp_path / "run").exists()


def test_what_the_network_or_the_devices_cannot(command, tmp_path):
    made = command("--workdir", tmp_path / "a", "--size", 60)
    assert_line(made, "DCGAN doubles images of 4 to 7 pixels", "it makes none of 60 x 60")
    made = command("--workdir", tmp_path / "b", "--batch-size", 6)
    assert_line(made, "a batch of 6 cannot be split over 4 devices", "such as 4")


def test_a_mistake_is_mended_in_the_same_folder(command, tmp_path):
    command("--workdir", tmp_path, "--size", 60)
    code, text = command("--workdir", tmp_path)
    assert code == 0, text


def test_a_folder_that_is_not_free(command, finished_copy, tmp_path):
    before = contents(finished_copy)
    made = command("--workdir", finished_copy, "--lr", 1, "--clip", 2)
    changed = "lr was 0.0002 and is now 1.0; clip was 0.01 and is now 2.0"
    assert_line(made, changed, "another run folder")
    assert contents(finished_copy) == before
    with FileLock(finished_copy / ".lock"):
        made = command("--workdir", finished_copy)
        assert_line(made, f"another run is at work in {finished_copy}; wait for it or stop it")
    assert contents(finished_copy) == before
    args = json.loads((finished_copy / "args.json").read_text())
    args["experiment"] = "jaxgen.experiments.dcgan"
    (finished_copy / "args.json").write_text(json.dumps(args))
    made = command("--workdir", finished_copy)
    assert_line(made, 'experiment was "jaxgen.experiments.dcgan"', "Use another run folder")


def test_a_folder_that_cannot_be_written(command, tmp_path):
    (tmp_path / "file").touch()
    for folder in tmp_path / "file", tmp_path / "file" / "run":
        assert_line(command("--workdir", folder), "cannot be written", folder)


def test_data_that_changed(command, tmp_path):
    folder = pictures(tmp_path / "images")
    words = ("--data", f"folder:{folder}", "--workdir", tmp_path / "run")
    assert command(*words)[0] == 0
    folder = folder.rename(tmp_path / "renamed")  # the same images elsewhere are the same data
    words = ("--data", f"folder:{tmp_path}/./renamed/", "--workdir", tmp_path / "run")
    code, text = command(*words)
    assert code == 0, text
    before = contents(tmp_path / "run")
    (folder / "3.png").write_bytes((folder / "4.png").read_bytes())
    said = "holds a run on other data: its fingerprint was"
    assert_line(command(*words), said, "another run folder")
    assert contents(tmp_path / "run") == before


def test_a_damaged_checkpoint_is_passed_over(command, finished, finished_copy):
    largest = max((finished_copy / "checkpoints" / "2").rglob("*"), key=lambda f: f.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1] + b"?")
    code, text = command("--workdir", finished_copy)
    assert code == 0, text
    assert "is damaged" in text
    assert "going on from round 1" in text
    assert metrics(finished_copy) == metrics(finished)
    assert (finished_copy / "checkpoints" / "2").is_dir()


@contextlib.contextmanager
def largest_file(size):
    """Files cannot grow beyond so many bytes: a disk that is full for any user."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_full_disk(command, finished, finished_copy):
    shutil.rmtree(finished_copy / "checkpoints" / "2")
    with largest_file(1000):
        code, text = command("--workdir", finished_copy)
    assert code == 2
    [line] = [line for line in text.splitlines() if line.startswith("wgan: ")]
    assert "cannot be written (File too large" in line
    assert "make room there" in line
    assert "it goes on from round 1, whose checkpoint is safe" in line
    code, text = command("--workdir", finished_copy)
    assert code == 0, text
    assert metrics(finished_copy) == metrics(finished)
