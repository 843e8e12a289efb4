"""The shipped sets: how many, how they look, what is said of them, what is held out."""

import collections
from pathlib import Path

import numpy as np
import pytest

from jaxgen.data import emoji
from jaxgen.data.specs import open_source
from jaxgen.errors import UserError

LIGHT, DARK = 0x1F3FB, 0x1F3FF


@pytest.fixture
def few_openmoji(tmp_path, monkeypatch):
    """Every 90th OpenMoji, drawn into a cache of the test's own."""
    files = emoji.openmoji_files()
    few = dict(list(files.items())[::90])
    monkeypatch.setattr(emoji, "openmoji_files", lambda: few)
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path))
    return few


def test_mnist5k():
    (train,), (test,) = open_source("mnist5k"), open_source("mnist5k", "test")
    assert (len(train), len(test)) == (4500, 500)
    assert [test[i]["label"] for i in range(0, 500, 50)] == list(range(10))
    digit = train[0]["image"]
    assert (digit.shape, digit.dtype) == ((28, 28, 1), np.uint8)
    assert digit[0, 0, 0] == 0
    assert digit.max() > 200
    # A zero is hollow, a one is not.
    zeros, ones = (
        np.mean([train[450 * k + i]["image"] for i in range(99)], axis=0) for k in (0, 1)
    )
    assert zeros[14, 14, 0] < 40 < 150 < ones[14, 14, 0]


def test_photos():
    (train,), (test,) = open_source("photos"), open_source("photos", "test")
    captions = [source[i]["caption"] for source in (train, test) for i in range(len(source))]
    assert "portrait of an astronaut" in captions
    assert "a tabby cat" in captions[len(train) :]
    assert len(train) >= 15
    for i in range(len(train)):
        assert min(train[i]["image"].shape[:2]) >= 170
        assert train[i]["image"].std() > 5


def test_twemoji():
    assert len(emoji.twemoji_files()) == 4009
    (train,), (test,) = open_source("emoji"), open_source("emoji", "test")
    assert len(train) + len(test) == 4009
    assert 300 < len(test) < 500
    assert train[0]["image"].shape == (72, 72, 4)
    groups = collections.Counter(train.label_names[train[i]["label"]] for i in range(0, 3500, 9))
    assert groups["People & Body"] > groups["Flags"] > groups["Activities"] > 0
    assert groups["Other"] < 5


def test_captions_and_attributes():
    astronaut = emoji.key_of("1f469-1f3ff-200d-1f680")
    assert emoji.caption(astronaut) == "woman astronaut dark skin tone"
    assert emoji.attributes(astronaut) == (5, 1)
    assert emoji.group(astronaut) == "People & Body"
    hands = emoji.key_of("1f469-1f3fb-200d-1f91d-200d-1f468-1f3ff")
    assert emoji.attributes(hands) == (6, 3)
    flag = emoji.key_of("1f1f1-1f1e7")
    assert (emoji.caption(flag), emoji.group(flag)) == ("flag of Lebanon", "Flags")
    heart = emoji.key_of("2764-fe0f")
    assert heart == (0x2764,)
    assert emoji.caption(heart) == "red heart"
    # No name in the emoji package: the code points' Unicode names; private ones have none.
    assert emoji.caption((0x1F1E6,)) == "regional indicator symbol letter a"
    assert emoji.caption((0xE000,)) == "drawing U+E000"
    assert emoji.caption((0x26F7, LIGHT)) == "skier light skin tone"


def test_skin_tones_of_an_emoji_are_on_one_side():
    files = emoji.twemoji_files()
    sides = collections.defaultdict(set)
    for split in ("train", "test"):
        for key in emoji._in_split(files, split):
            sides[emoji.without_skin(key) or key].add(split)
    assert all(len(side) == 1 for side in sides.values())


def test_openmoji_is_drawn_once_at_the_wanted_size(few_openmoji, tmp_path):
    assert len(few_openmoji) == 50
    (source,) = open_source("openmoji", size=40)
    first = source[0]["image"]
    assert first.shape == (40, 40, 4)
    drawn = sorted(tmp_path.rglob("*.png"))
    assert len(drawn) == len(source)
    times = [file.stat().st_mtime_ns for file in drawn]
    (again,) = open_source("openmoji", size=40)
    np.testing.assert_array_equal(again[0]["image"], first)
    assert [file.stat().st_mtime_ns for file in sorted(tmp_path.rglob("*.png"))] == times
    assert not list(tmp_path.rglob("*.part"))
    (larger,) = open_source("openmoji", size=50)
    assert larger[0]["image"].shape == (50, 50, 4)


@pytest.mark.usefixtures("few_openmoji")
def test_emoji_lines_are_outlines_of_the_drawing():
    (source,) = open_source("emoji-lines", size=72)
    assert len(source) > 35
    for i in range(len(source)):
        pair = source[i]
        ink = pair["a"][..., 3] > 250
        assert ink.any()
        # Line work is dark, or white where it stands on a dark ground; colour is in b alone.
        assert np.ptp(pair["a"][ink][:, :3].astype(int), axis=1).mean() < 30
    more = [
        (source[i]["b"][..., 3] > 0).sum() > (source[i]["a"][..., 3] > 0).sum() for i in range(9)
    ]
    assert sum(more) >= 5


def test_line_drawings():
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><g id="{}"><path d="M0,0"/></g></svg>'
    assert "path" in emoji.line_drawing(svg.format("line-2"))
    assert emoji.line_drawing(svg.format("color")) is None
    assert emoji.line_drawing(svg.replace('<path d="M0,0"/>', "").format("line")) is None


@pytest.mark.usefixtures("few_openmoji")
def test_emoji_domains_hold_out_true_pairs():
    a, b = open_source("emoji-domains", size=16)
    assert len(a) > 3000
    (test,) = open_source("emoji-domains", "test", size=16)
    assert {"a", "b", "caption"} <= set(test[0])
    held = set(emoji._in_split(emoji.openmoji_files(), "test")) & set(emoji.twemoji_files())
    assert sorted(test[i]["caption"] for i in range(len(test))) == sorted(map(emoji.caption, held))
    assert len(b) + len(emoji._in_split(emoji.openmoji_files(), "test")) == 50


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'needs scikit-image: pip install "jaxgen\[samples\]"'):
        open_source("photos")


@pytest.mark.usefixtures("few_openmoji")
def test_a_full_disk_is_a_clear_line(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"cannot be kept in .*No space left"):
        open_source("openmoji", size=8)
