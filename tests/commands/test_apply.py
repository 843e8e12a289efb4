"""From image to image: `apply` on a person's files, `evaluate` on pairs."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxgen.metrics.pixels import psnr, ssim


def images(folder, n, size=(16, 16), seed=0, mode="RGB"):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for i in range(n):
        pixels = rng.integers(0, 256, (*size[::-1], len(mode)), dtype=np.uint8)
        Image.fromarray(pixels.squeeze(), mode if len(mode) > 1 else None).save(folder / f"{i}.png")
    return folder


def train(folder, root, **flags):
    from jaxgen.commands.launch import train
    from tests.experiments.translator import Args, system

    options = {"size": 16, "batch_size": 8, "rounds": 1, "log_every": 1, "save_every": 1}
    args = Args(workdir=folder, data=f"pairs:{root}", **options, **flags)
    train("tests.experiments.translator", system, args)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Pairs whose b is a, but brighter in the test half."""
    root = tmp_path_factory.mktemp("pairs")
    for split, n in (("train", 20), ("test", 12)):
        a = images(root / split / "A", n, seed=n)
        images(root / split / "B", n, seed=n)
        if split == "test":
            for file in a.iterdir():
                pixels = np.asarray(Image.open(file))
                Image.fromarray(pixels // 2 + 100).save(root / "test/B" / file.name)
    return root


@pytest.fixture(scope="module")
def translator(root, tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "t", root)


@pytest.fixture(scope="module")
def squares(root, tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "s", root, any_size=False)


def read(path):
    return np.asarray(Image.open(path))


def test_files_and_folders_of_any_size(translator, jaxgen, tmp_path):
    odd = images(tmp_path / "odd", 2, size=(13, 7))
    single = images(tmp_path / "in", 1, size=(16, 20)) / "0.png"
    code, said, problem = jaxgen("apply", translator, odd, single, "--out", tmp_path / "out")
    assert (code, problem) == (0, "")
    made = sorted((tmp_path / "out").iterdir())
    assert [x.name for x in made] == ["0.png", "0_2.png", "1.png"]
    assert said.split() == [str(tmp_path / "out" / x) for x in ("0.png", "1.png", "0_2.png")]
    np.testing.assert_array_equal(read(made[0]), read(odd / "0.png"))  # a gain of 1
    np.testing.assert_array_equal(read(made[1]), read(single))


def test_directions_scales_and_sizes(translator, jaxgen, tmp_path):
    one = images(tmp_path / "in", 1, size=(12, 8)) / "0.png"
    jaxgen("apply", translator, one, "--direction", "double", "--out", tmp_path / "a")
    assert read(tmp_path / "a/0.png").shape == (16, 24, 3)
    np.testing.assert_array_equal(read(tmp_path / "a/0.png")[::2, ::2], read(one))
    code, said, _ = jaxgen("apply", translator, one, "--size", 6)
    assert code == 0
    assert said.strip() == str(translator / "use/a-to-b_round_00000001/0.png")
    assert read(said.strip()).shape == (4, 6, 3)


def test_transparent_and_grey_images(translator, jaxgen, tmp_path):
    grey = images(tmp_path / "grey", 1, mode="L") / "0.png"
    pixels = np.zeros((8, 8, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    jaxgen("apply", translator, grey, tmp_path / "clear.png", "--out", tmp_path / "out")
    np.testing.assert_array_equal(read(tmp_path / "out/0.png")[..., 1], read(grey))
    assert (read(tmp_path / "out/clear.png") == 255).all()


def test_a_system_of_one_size(squares, jaxgen, tmp_path):
    wide = images(tmp_path / "in", 1, size=(40, 16)) / "0.png"
    assert jaxgen("apply", squares, wide, "--out", tmp_path / "out")[0] == 0
    np.testing.assert_array_equal(read(tmp_path / "out/0.png"), read(wide)[:, 12:28])
    code, _, problem = jaxgen("apply", squares, wide, "--size", 8)
    assert code == 2
    assert "takes images of 16 pixels only; leave --size out" in problem


def test_scores_of_pairs_beside_their_baselines(translator, root, jaxgen, tmp_path):
    names = ["l1", "psnr", "ssim", "psnr-y", "error"]
    code, said, problem = jaxgen("evaluate", translator, "--metrics", *names, "--batch", 5)
    assert (code, problem) == (0, "")
    assert "(beside it: input" in said
    records = [json.loads(x) for x in (translator / "scores.jsonl").read_text().splitlines()]
    found = {record["metric"]: record for record in records}
    assert list(found) == names
    a, b = (np.stack([read(root / "test" / x / f"{i}.png") for i in range(12)]) for x in "AB")
    whole = {
        "l1": abs(a / 127.5 - b / 127.5).mean((1, 2, 3)),
        "psnr": psnr(a, b),
        "ssim": ssim(a, b),
    }
    for name, values in whole.items():
        values = np.asarray(values)
        assert found[name]["value"] == pytest.approx(values.mean(), rel=1e-5)
        assert found[name]["deviation"] == pytest.approx(values.std(), rel=1e-4)
        # a gain of 1: the system is no better than its input
        assert found[name]["baselines"]["input"] == pytest.approx(values.mean(), rel=1e-5)
    train = np.stack([read(root / "train/B" / f"{i}.png") for i in range(20)]).mean(0)
    mean = abs(train - b.astype(float)).mean() / 127.5
    assert found["l1"]["baselines"]["mean"] == pytest.approx(mean, abs=0.004)
    square = ((a / 127.5 - b / 127.5) ** 2).mean()
    assert found["error"]["value"] == pytest.approx(square, rel=1e-5)
    one = found["psnr"]
    told = [one[k] for k in ("samples", "split", "direction", "round", "settings")]
    assert told == [12, "test", "a-to-b", 1, {"border": 0}]
    # Where a and b are equal, as in the training half, PSNR is 100 by convention.
    jaxgen("evaluate", translator, "--metrics", "psnr", "l1", "--split", "train")
    last = [json.loads(x) for x in (translator / "scores.jsonl").read_text().splitlines()[-2:]]
    assert [record["value"] for record in last] == [100, 0]
    # Of super-resolution the border is left out.
    jaxgen("evaluate", translator, "--metrics", "psnr", "--direction", "double")
    last = json.loads((translator / "scores.jsonl").read_text().splitlines()[-1])
    assert last["settings"] == {"border": 2}


def test_two_folders_of_equal_names(root, jaxgen, tmp_path):
    pair = ["--images", root / "test/A", "--reference", root / "test/B", "--metrics"]
    code, _, problem = jaxgen("evaluate", *pair, "psnr", "--out", tmp_path / "s.jsonl")
    assert (code, problem) == (0, "")
    a, b = (np.stack([read(root / "test" / x / f"{i}.png") for i in range(12)]) for x in "AB")
    record = json.loads((tmp_path / "s.jsonl").read_text())
    assert record["value"] == pytest.approx(float(psnr(a, b).mean()), rel=1e-5)
    assert record["samples"] == 12
    code, _, problem = jaxgen("evaluate", *pair, "psnr", "fid")
    assert (code, "fid compares sets, psnr pairs" in problem) == (2, True)
    code, _, problem = jaxgen("evaluate", *pair, "ms-ssim")
    assert (code, "use larger images" in problem) == (2, True)
    alone = images(tmp_path / "alone", 13)
    code, _, problem = jaxgen("evaluate", "--images", alone, *pair[2:], "psnr")
    assert code == 2
    assert "alone/12 has no partner in B/; give both one name" in problem


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["apply", "{run}"], "name an image file, or a folder of them, after the run"),
        (["apply", "{run}", "none.png"], "there is no none.png; name image files, or a folder"),
        (["apply", "{run}", "{empty}"], "there are no images in"),
        (["apply", "{run}", "{file}", "--direction", "b-to-a"], "--direction is a-to-b or double"),
        (["apply", "{gan}", "{file}"], "wgan makes no images from images; sample makes some"),
        (["sample", "{run}"], "translator makes no images from noise"),
        (["evaluate", "{run}", "--metrics", "fid"], "translator has no fid; its metrics are l1"),
        (["evaluate", "{run}", "--metrics", "errors"], "did you mean error?"),
        (["evaluate", "{gan}", "--metrics", "psnr"], "wgan has no psnr"),
        (["evaluate", "{run}", "--direction", "x"], "--direction is a-to-b or double, not x"),
    ],
)
def test_mistakes(words, said, translator, trained, jaxgen, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    file = images(tmp_path / "in", 1) / "0.png"
    known = {"{run}": translator, "{gan}": trained, "{empty}": empty, "{file}": file}
    code, _, problem = jaxgen(*(known.get(word, word) for word in words))
    assert code == 2
    assert said in problem
    assert problem.count("\n") == 1


def test_a_broken_image_is_named(translator, jaxgen, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    code, _, problem = jaxgen("apply", translator, tmp_path / "x.png", "--out", tmp_path / "out")
    assert (code, "x.png is not a readable image" in problem) == (2, True)
