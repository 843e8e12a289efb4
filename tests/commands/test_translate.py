"""`translate`: a user's files and folders, further inputs, and what is said of mistakes."""

import numpy as np
import pytest
from PIL import Image

from jaxgen.commands.translate import image_files
from tests.runs import toys


def images(folder, n, size=(16, 16), seed=0, mode="RGB"):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for i in range(n):
        pixels = rng.integers(0, 256, (*size[::-1], len(mode)), dtype=np.uint8)
        Image.fromarray(pixels.squeeze(), mode if len(mode) > 1 else None).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """A run that takes images of one size."""
    folder = tmp_path_factory.mktemp("runs") / "squares"
    return toys.saved(
        toys.paired(any_size=False), folder, "tests.experiments.translator", any_size=False
    )


def read(path):
    return np.asarray(Image.open(path))


def test_files_and_folders_of_any_size(translator, jaxgen, tmp_path):
    odd = images(tmp_path / "odd", 2, size=(13, 7))
    single = images(tmp_path / "in", 1, size=(16, 20)) / "0.png"
    code, said, problem = jaxgen("translate", translator, odd, single, "--out", tmp_path / "out")
    assert (code, problem) == (0, "")
    written = sorted((tmp_path / "out").iterdir())
    assert [x.name for x in written] == ["0.png", "0_2.png", "1.png"]
    assert said.split() == [str(tmp_path / "out" / x) for x in ("0.png", "1.png", "0_2.png")]
    np.testing.assert_array_equal(read(written[0]), read(odd / "0.png"))  # a gain of 1
    np.testing.assert_array_equal(read(written[1]), read(single))


def test_no_two_files_have_one_result(tmp_path):
    files = [images(tmp_path / f"d{i}", 1) / "0.png" for i in range(3)]
    odd = tmp_path / "0_2.png"
    capital = tmp_path / "A.png"
    for path in (odd, capital, tmp_path / "a.jpg"):
        path.write_bytes(files[0].read_bytes())
    given = [odd, *files, files[0], capital, tmp_path / "a.jpg"]
    names = list(image_files(given).values())
    assert names == ["0_2", "0", "0_3", "0_4", "A", "a_2"]


def test_directions_scales_and_sizes(translator, jaxgen, tmp_path):
    one = images(tmp_path / "in", 1, size=(12, 8)) / "0.png"
    jaxgen("translate", translator, one, "--direction", "double", "--out", tmp_path / "a")
    assert read(tmp_path / "a/0.png").shape == (16, 24, 3)
    np.testing.assert_array_equal(read(tmp_path / "a/0.png")[::2, ::2], read(one))
    code, said, _ = jaxgen("translate", translator, one, "--size", 6)
    assert code == 0
    assert said.strip() == str(translator / "use/a-to-b_round_00000001/0.png")
    assert read(said.strip()).shape == (4, 6, 3)


def test_transparent_and_grey_images(translator, jaxgen, tmp_path):
    grey = images(tmp_path / "grey", 1, mode="L") / "0.png"
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, 4:] = 10, 20, 30, 255
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    jaxgen("translate", translator, grey, tmp_path / "clear.png", "--out", tmp_path / "out")
    np.testing.assert_array_equal(read(tmp_path / "out/0.png")[..., 1], read(grey))
    clear = read(tmp_path / "out/clear.png")
    np.testing.assert_array_equal(clear[..., 3], pixels[..., 3])
    np.testing.assert_array_equal(clear[:, 4:], pixels[:, 4:])


def test_tiles(translator, jaxgen, tmp_path):
    large = images(tmp_path / "in", 1, size=(50, 34)) / "0.png"
    code, said, problem = jaxgen("translate", translator, large, "--tile", 12)
    assert (code, problem) == (0, "")
    np.testing.assert_array_equal(read(said.strip()), read(large))
    code, _, problem = jaxgen("translate", translator, large, "--tile", 3)
    assert code == 2
    assert problem.startswith("jaxgen: --tile is at least 4 for translator, whose tiles overlap")


def test_a_system_of_one_size(squares, jaxgen, tmp_path):
    wide = images(tmp_path / "in", 1, size=(40, 16)) / "0.png"
    assert jaxgen("translate", squares, wide, "--out", tmp_path / "out")[0] == 0
    np.testing.assert_array_equal(read(tmp_path / "out/0.png"), read(wide)[:, 12:28])
    code, _, problem = jaxgen("translate", squares, wide, "--size", 8)
    assert code == 2
    assert "--size is fixed: translator takes images of its training's size only" in problem


def test_further_inputs_and_options(stylist, jaxgen, tmp_path):
    one, style = (
        images(tmp_path / "in", 1) / "0.png",
        images(tmp_path / "s", 1, (8, 4), 1) / "0.png",
    )
    mask = tmp_path / "mask.png"
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(mask)
    run, *system = stylist
    words = ("translate", run, one, "--mask", mask, "--style", style, *system)
    code, said, problem = jaxgen(*words, "--out", tmp_path / "out")
    assert (code, problem) == (0, "")
    assert abs(read(said.strip()).astype(int) - read(style).mean((0, 1))).max() <= 1
    said = jaxgen(*words, "--strength", 0)[1]
    assert said.strip() == str(run / "use/translated_round_00000001_strength_0.0/0.png")
    np.testing.assert_array_equal(read(said.strip()), read(one))
    for words, problem in (
        ((), "--mask is needed, and has no default; give an image"),
        (("--mask", mask), "--style is needed, and has no default; give an image"),
        (("--mask", "x.png"), "there is no x.png; name an image file"),
        (("--masks", mask), "there is no flag --masks; did you mean --mask? (flags of stylist"),
    ):
        code, _, line = jaxgen("translate", run, one, *words, *system)
        assert (code, line.count("\n")) == (2, 1)
        assert problem in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{run}"], "name an image file, or a folder of them, after the run"),
        (["{run}", "none.png"], "there is no none.png; name image files, or a folder"),
        (["{run}", "{empty}"], "there are no images in"),
        (["{run}", "{file}", "--direction", "b-to-a"], "--direction is a-to-b or double"),
        (["{run}", "{file}", "--size", 0], "--size is at least 1, not 0"),
        (["{gan}", "{file}"], "wgan makes no images from images; sample makes some"),
    ],
)
def test_mistakes(words, said, translator, trained, jaxgen, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    file = images(tmp_path / "in", 1) / "0.png"
    known = {"{run}": translator, "{gan}": trained, "{empty}": empty, "{file}": file}
    code, _, problem = jaxgen("translate", *(known.get(word, word) for word in words))
    assert code == 2
    assert said in problem
    assert problem.count("\n") == 1


def test_a_broken_image_is_named(translator, jaxgen, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    words = ("translate", translator, tmp_path / "x.png", "--out", tmp_path / "out")
    code, _, problem = jaxgen(*words)
    assert (code, "x.png is not a readable image" in problem) == (2, True)


def test_an_image_is_edited_by_attributes(jaxgen, tmp_path):
    toys.saved(toys.editor(), run := tmp_path / "editor")
    one = images(tmp_path / "in", 1, size=(4, 4)) / "0.png"
    words = ("translate", run, one, "--system", "tests.runs.toys:editing_system")
    _, said, problem = jaxgen(*words, "--set", "smiling=1", "old=0.5")
    assert problem == ""
    assert said.strip() == str(run / "use/translated_round_00000001_set_smiling-1-old-0.5/0.png")
    made, before = read(said.strip()), read(one)
    np.testing.assert_array_equal(made[..., :2], np.broadcast_to([255, 191], (4, 4, 2)))
    np.testing.assert_array_equal(made[..., 2], before[..., 2])
    _, said, _ = jaxgen(*words)
    np.testing.assert_array_equal(read(said.strip()), before)
    for wrong, line in (
        ("smilng=1", "--set 'smilng' is not known; did you mean smiling?"),
        ("smiling", "--set takes NAME=NUMBER, such as smiling=1, not 'smiling'"),
        ("smiling=2", "--set smiling is from 0 to 1, not 2"),
        ("smiling=nan", "--set smiling is from 0 to 1, not nan"),
    ):
        code, _, problem = jaxgen(*words, "--set", wrong)
        assert (code, problem.strip()) == (2, f"jaxgen: {line}")
    code, _, problem = jaxgen(*words, "--set", "old=1", "old=0")
    assert (code, problem.strip()) == (2, "jaxgen: --set has old twice; give it once")
    code, _, problem = jaxgen(*words, "--set", "old=1", "--set", "smiling=0")
    line = "jaxgen: --set is given 2 times; write all its values after one"
    assert (code, problem.strip()) == (2, line)
    code, _, problem = jaxgen(*words, "--set")
    line = "jaxgen: --set has no value; give it one, or leave it out"
    assert (code, problem.strip()) == (2, line)
    _, said, _ = jaxgen(*words, "--help")
    assert "Attributes and their new values, of smiling, old." in " ".join(said.split())
