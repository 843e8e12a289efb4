"""The flags that runs bring along: conditions, inputs and options; and runs made from Python."""

import numpy as np
import pytest
from PIL import Image

from jaxgen.commands.choices import by
from jaxgen.runs.load import load
from tests.runs.toys import conditional_system

MINE = """
from tests.runs.toys import conditional_system

def toy(info):
    return conditional_system(info)
"""


def test_choices_that_differ_have_files_that_differ():
    assert by({"truncation": 0.7, "text": ("a dog",)}) == "_truncation_0.7_text_a-dog"
    texts = [("絵" * 100 + last,) for last in "ab"]
    names = [by({"text": text}) for text in texts]
    assert names[0] != names[1]
    assert all(len(name.encode()) <= 100 for name in names)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_conditions_and_options_are_flags(conditional, jaxgen, tmp_path):
    run = load(conditional[0], conditional_system)
    words = ("--label", "blue", 0, "--text", "a bc", "a", "--attributes", "old=0.5", "smiling=-1")
    out = tmp_path / "files"
    code, said, problem = jaxgen(
        *("sample", *conditional, "--n", 4, *words, "--shade", 0.25, "--flat"),
        *("--single", "--out", out),
    )
    assert (code, said, problem) == (0, f"{out}\n", "")
    options = {"shade": 0.25, "flat": True}
    attributes = {"old": 0.5, "smiling": -1}
    choices = {"label": [2, 0], "text": ["a bc", "a"], "attributes": attributes, **options}
    found = [pixels(file) for file in sorted(out.iterdir())]
    np.testing.assert_array_equal(found, run.sample(4, **choices))
    code, said, _ = jaxgen("interpolate", *conditional, "--n", 2, "--text", "a", "--label", 1)
    assert code == 0
    assert said.split()[0].endswith("use/walk_round_00000001_seed_0_label_1_text_a.gif")


def test_help_lists_the_flags_of_the_run(conditional, stylist, styled, trained, jaxgen):
    code, text, _ = jaxgen("sample", *conditional, "--help")
    assert code == 0
    words = " ".join(text.replace("│", " ").split())
    for part in (
        "usage: python -m jaxgen sample [-h] [OPTIONS] RUN",
        "--batch INT Images at a time; fewer need less memory. (default: 64)",
        "--label CLASS ... Class, by number or name (red, green, blue); several are taken in turn, "
        "by default all.",
        "--text TEXT ... What images show; several are taken in turn.",
        "--attributes NAME=VALUE ... Attributes that are not 0, of smiling, old.",
        "--shade FLOAT Shade of the label. (default: 0.5)",
        "--flat Without noise. (default: False)",
    ):
        assert part in words
    words = " ".join(jaxgen("project", *conditional, "-h")[1].replace("│", " ").split())
    for part in (
        "--label CLASS Class, by number or name (red, green, blue). ",
        "--text TEXT What the image shows. ",
    ):
        assert part in words
    assert "--truncation FLOAT" in jaxgen("mix", styled, "-h")[1]
    text = jaxgen("translate", "--help", *stylist)[1]
    assert all(flag in text for flag in ("--mask FILE", "--style FILE", "--strength FLOAT"))
    assert "--n INT" in jaxgen("sample", "--help")[1]
    assert "--n INT" in jaxgen("sample", "nowhere", "--help")[1]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--shades", 1], "there is no flag --shades; did you mean --shade? (flags of conditional"),
        (["--zzz"], "no flag --zzz; --help lists what there is (flags of conditional itself: "),
        (["--zzz"], "itself: --label, --text, --attributes, --shade, --flat)"),
        ([], "--text is needed, and has no default; give one"),
        (["--text", "a", "--label", "gren"], "--label 'gren' is not known; did you mean green?"),
        (["--text", "a", "--label", 7], "--label is from 0 to 2, not 7"),
        (["--attributes", "old"], "--attributes takes NAME=NUMBER, such as smiling=1, not 'old'"),
        (["--text", "a", "--attributes", "odl=1"], "--attributes 'odl' is not known; did you mean"),
        (["--text", "a", "--shade", "dark"], "--shade is a number, not 'dark'"),
        (["--text", "a", "--shade", "inf"], "--shade is a finite number, not inf"),
        (["--text", "a", "--n", 0], "--n is at least 1, not 0"),
    ],
)
def test_mistakes(conditional, jaxgen, words, problem):
    code, said, line = jaxgen("sample", *conditional, *words)
    assert (code, said, line.count("\n")) == (2, "", 1)
    assert problem in line


def test_a_flag_of_the_run_before_the_run(conditional, jaxgen):
    line = jaxgen("sample", "--text", "a", conditional[0])[2]
    assert line == "jaxgen: a RUN comes before flags; --help lists what there is\n"


def test_systems_of_modules_in_the_current_folder(conditional, jaxgen, tmp_path, monkeypatch):
    folder, _, name = conditional
    (tmp_path / "my_toy.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    words = ("--text", "a", "--out")
    assert jaxgen("sample", folder, "--system", "my_toy:toy", *words, "a.png")[0] == 0
    assert jaxgen("sample", folder, "--system", name, *words, "b.png")[0] == 0
    np.testing.assert_array_equal(pixels("a.png"), pixels("b.png"))
    for system, problem in (
        ("my_toy", "--system is MODULE:NAME, such as mine:gan, not my_toy"),
        ("my_toys:toy", "--system my_toys:toy cannot be imported: No module named 'my_toys'"),
        ("my_toy:tot", "--system my_toy:tot: my_toy has no tot; check the name"),
    ):
        line = jaxgen("sample", folder, "--system", system, *words, "a.png")[2]
        assert problem in line
    assert "was made from Python; give its system" in jaxgen("sample", folder)[2]
