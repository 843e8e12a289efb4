"""`match`: a user's images and texts, by a run that reads both."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxgen.commands.launch import train
from jaxgen.runs.load import load
from tests.quick import quick_to_compile  # noqa: F401


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from jaxgen.experiments.clip import Args, system

    folder = tmp_path_factory.mktemp("match") / "clip"
    args = Args(
        **{"workdir": folder, "data": "photos", "size": 8, "random_crop": 10, "patch": 4},
        **{"batch_size": 8, "rounds": 2, "width": 8, "layers": 1, "heads": 2, "text_width": 8},
        **{"text_layers": 1, "text_heads": 2, "embedding": 4, "context": 8, "merges": 20},
        **{"warm_up": 1, "log_every": 1, "save_every": 2},
    )
    train("jaxgen.experiments.clip", system, args)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for i in range(3):
        pixels = rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


def test_the_table(run, files, jaxgen):
    code, said, _ = jaxgen("match", run, *files, "--texts", "a cat", "two dogs")
    assert code == 0
    lines = said.splitlines()
    assert lines[::3] == [str(file) for file in files]
    shares = [[float(line.split("%")[0]) for line in lines[i + 1 : i + 3]] for i in (0, 3, 6)]
    assert all(a >= b and abs(a + b - 100) < 0.2 for a, b in shares)
    likely = load(run).match(files, ["a cat", "two dogs"])
    np.testing.assert_allclose([a for a, _ in shares], 100 * likely.max(1), atol=0.06)
    words = ("--texts", "a cat", "--by", "text", "--top", 2)
    lines = jaxgen("match", run, files[0].parent, *words)[1].splitlines()
    assert lines[0] == "a cat"
    assert len(lines) == 3
    assert lines[1].endswith(".png")


def test_by_default_the_texts_are_the_training_captions(run, files, jaxgen):
    (_, first, *_) = jaxgen("match", run, files[0], "--top", 1)[1].splitlines()
    captions = load(run).args.load_data().all_captions(99)
    assert first.split("%  ")[1] in captions


def test_captions_that_lie_elsewhere(run, files, jaxgen, tmp_path):
    moved = shutil.copytree(run, tmp_path / "run")
    args = json.loads((moved / "args.json").read_text()) | {"data": "folder:/no/where"}
    (moved / "args.json").write_text(json.dumps(args))
    code, _, line = jaxgen("match", moved, files[0])
    assert (code, line.count("\n")) == (2, 1)
    assert "folder:/no/where: no such folder; check the path, or give --texts" in line


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["{run}"], "name an image file, or a folder of them, after the run"),
        (["{run}", "{file}", "--top", 0], "--top is at least 1, not 0"),
        (["{run}", "none.png"], "there is no none.png; name image files"),
        (["{gan}", "{file}"], "wgan does not read; a run of clip does"),
    ],
)
def test_mistakes(run, trained, files, jaxgen, words, problem):
    known = {"{run}": run, "{gan}": trained, "{file}": files[0]}
    code, _, line = jaxgen("match", *(known.get(word, word) for word in words))
    assert (code, line.count("\n")) == (2, 1)
    assert problem in line
