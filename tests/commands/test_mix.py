"""`mix`: how the grid is laid out, and what is said of mistakes."""

import pytest
from PIL import Image


def test_the_picture(styled, jaxgen, tmp_path):
    code, said, problem = jaxgen("mix", styled)
    assert (code, problem) == (0, "")
    assert said.strip() == str(styled / "use/mix_round_00000001_seed_0.png")
    with Image.open(said.strip()) as picture:
        assert picture.size == (7 * 18 - 2, 5 * 18 - 2)
    words = ("--rows", 1, "--columns", 2, "--layer", 2, "--truncation", 0.5, "--seed", 1)
    code, said, _ = jaxgen("mix", styled, *words)
    assert code == 0
    assert said.strip().endswith("use/mix_round_00000001_seed_1_layer_2_truncation_0.5.png")
    code, said, _ = jaxgen("mix", styled, *words, "--out", tmp_path / "new" / "mix.png")
    assert code == 0
    with Image.open(tmp_path / "new" / "mix.png") as picture:
        assert picture.size == (3 * 18 - 2, 2 * 18 - 2)


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--layer", 0], "--layer is at least 1, not 0"),
        (["--layer", 3], "--layer is from 1 to 2, not 3"),
        (["--rows", 0], "--rows is at least 1, not 0"),
        (["--columns", -1], "--columns is at least 1, not -1"),
        (["--truncation", "inf"], "--truncation is a finite number, not inf"),
        (["--label", 3], "there is no flag --label; --help lists what there is (flags of styles"),
        (["--out", "mix.gif"], "mix.gif is no .png file"),
        (["--out", "/proc/nowhere/x.png"], "/proc/nowhere/x.png cannot be written"),
    ],
)
def test_mistakes(styled, jaxgen, flags, problem):
    code, said, line = jaxgen("mix", styled, *flags)
    assert (code, said, line.count("\n")) == (2, "", 1)
    assert problem in line


def test_a_system_without_styles(trained, jaxgen):
    code, _, line = jaxgen("mix", trained)
    assert code == 2
    assert "wgan has no styles to mix; stylegan is a system that has" in line
