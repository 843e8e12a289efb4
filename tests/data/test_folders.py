"""A person's own images: layouts, captions, labels, splits, and one clear line for a mistake."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxgen.data.specs import open_source
from jaxgen.errors import UserError


def paint(file, colour=(10, 20, 30), size=(12, 8)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, tuple(colour)).save(file)
    return file


def colours(source, name="image"):
    return [tuple(source[i][name][0, 0].tolist()) for i in range(len(source))]


def test_flat_folder(tmp_path):
    for k in range(3):
        paint(tmp_path / f"{k}.png", (k, 0, 0))
    paint(tmp_path / ".hidden.png")
    (tmp_path / "notes.txt").write_text("not an image")
    (source,) = open_source(f"folder:{tmp_path}")
    assert colours(source) == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]
    assert source[0]["image"].shape == (8, 12, 3)
    assert source.label_names == ()
    assert set(source[0]) == {"image"}


def test_sub_folders_are_labels_in_both_splits(tmp_path):
    for part, names in (("train", ("cat", "dog")), ("val", ("dog", "emu"))):
        for name in names:
            paint(tmp_path / part / name / "deep" / "1.PNG")
    (train,) = open_source(f"folder:{tmp_path}")
    (test,) = open_source(f"folder:{tmp_path}", "test")
    assert train.label_names == test.label_names == ("cat", "dog", "emu")
    assert [train[i]["label"] for i in range(2)] == [0, 1]
    assert [test[i]["label"] for i in range(2)] == [1, 2]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_captions(tmp_path, suffix):
    paint(tmp_path / "x" / "1.png")
    paint(tmp_path / "2.png")
    rows = [{"file_name": "2.png", "text": "two, of them"}, {"file_name": "x/1.png", "text": "é"}]
    lines = [json.dumps(row) for row in rows]
    if suffix == "csv":
        lines = ["file_name,text", '2.png,"two, of them"', "x/1.png,é"]
    (tmp_path / f"metadata.{suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (source,) = open_source(f"folder:{tmp_path}")
    assert [source[i]["caption"] for i in range(2)] == ["two, of them", "é"]


def test_mistakes_in_captions_are_named(tmp_path):
    paint(tmp_path / "1.png")
    paint(tmp_path / "2.png")
    table = tmp_path / "metadata.jsonl"
    for text, message in (
        ('{"file_name": "1.png", "text": "one"}\n', "no caption for 2.png"),
        ('{"file_name": "3.png", "text": "three"}\n', "names 3.png, which is not there"),
        ('{"file_name": "1.png"}\n', 'line 1: give "file_name" and "caption"'),
        ('\n{"file_name" "1.png"}\n', "line 2 is not JSON"),
        ("[1]\n", "line 1 is not a JSON object"),
    ):
        table.write_text(text)
        with pytest.raises(UserError, match=message):
            open_source(f"folder:{tmp_path}")


def test_fingerprint_follows_names_and_contents_only(tmp_path):
    def prints(folder):
        return open_source(f"folder:{folder}")[0].fingerprint

    paint(tmp_path / "one" / "1.png", (1, 2, 3))
    paint(tmp_path / "two" / "1.png", (1, 2, 3))
    assert prints(tmp_path / "one") == prints(tmp_path / "two")
    paint(tmp_path / "two" / "1.png", (1, 2, 4))
    changed = prints(tmp_path / "two")
    assert changed != prints(tmp_path / "one")
    (tmp_path / "one" / "1.png").rename(tmp_path / "one" / "2.png")
    assert prints(tmp_path / "one") not in (changed, prints(tmp_path / "two"))


def test_held_out_share_is_disjoint_and_stable(tmp_path):
    for k in range(60):
        paint(tmp_path / f"{k}.png", (k, 0, 0), (2, 2))
    spec = f"folder:{tmp_path}"
    train, test = (set(colours(open_source(spec, s, held_out=0.3)[0])) for s in ("train", "test"))
    assert train.isdisjoint(test)
    assert len(train | test) == 60
    assert 8 <= len(test) <= 28
    paint(tmp_path / "new.png", (200, 0, 0), (2, 2))
    assert test <= set(colours(open_source(spec, "test", held_out=0.3)[0]))
    with pytest.raises(UserError, match="holds out no test images"):
        open_source(spec, "test")


def test_pairs_in_two_folders(tmp_path):
    for k, name in enumerate(("x/1", "x/2")):
        paint(tmp_path / "train" / "A" / f"{name}.jpg", (0, 0, 0))
        paint(tmp_path / "train" / "B" / f"{name}.png", (k, 9, 9))
    paint(tmp_path / "test" / "A" / "t.png", (3, 0, 0))
    paint(tmp_path / "test" / "B" / "t.png", (4, 0, 0))
    (train,) = open_source(f"pairs:{tmp_path}")
    assert colours(train, "b") == [(0, 9, 9), (1, 9, 9)]
    (test,) = open_source(f"pairs:{tmp_path}", "test")
    assert (colours(test, "a"), colours(test, "b")) == ([(3, 0, 0)], [(4, 0, 0)])


def test_pairs_side_by_side(tmp_path):
    image = Image.new("RGB", (16, 8), "red")
    image.paste("blue", (8, 0, 16, 8))
    image.save(tmp_path / "1.png")
    (source,) = open_source(f"pairs:{tmp_path}")
    assert source[0]["a"].shape == source[0]["b"].shape == (8, 8, 3)
    assert (source[0]["a"] == (255, 0, 0)).all()
    assert (source[0]["b"] == (0, 0, 255)).all()


def test_mismatched_pairs_are_named(tmp_path):
    paint(tmp_path / "odd" / "1.png", size=(15, 8))
    with pytest.raises(UserError, match=r"1\.png is 15 pixels wide"):
        open_source(f"pairs:{tmp_path / 'odd'}")
    paint(tmp_path / "p" / "A" / "1.png")
    with pytest.raises(UserError, match="has no B/ beside it"):
        open_source(f"pairs:{tmp_path / 'p'}")
    paint(tmp_path / "p" / "B" / "2.png")
    with pytest.raises(UserError, match=r"A/1 has no partner in B/ \(and 1 more such\)"):
        open_source(f"pairs:{tmp_path / 'p'}")
    (tmp_path / "p" / "B" / "2.png").unlink()
    paint(tmp_path / "p" / "B" / "1.png", size=(8, 12))
    with pytest.raises(UserError, match="differ in proportions"):
        open_source(f"pairs:{tmp_path / 'p'}")


def test_domains(tmp_path):
    for folder, count in (("trainA", 3), ("trainB", 2), ("testA", 1)):
        for k in range(count):
            paint(tmp_path / folder / f"{k}.png", (k, len(folder), 0))
    with pytest.raises(UserError, match="only one of testA/ and testB/"):
        open_source(f"domains:{tmp_path}")
    paint(tmp_path / "testB" / "0.png")
    a, b = open_source(f"domains:{tmp_path}")
    assert (len(a), len(b)) == (3, 2)
    assert (set(a[0]), set(b[0])) == ({"a"}, {"b"})
    assert [len(side) for side in open_source(f"domains:{tmp_path}", "test")] == [1, 1]


@pytest.mark.parametrize("kind", ["folder", "pairs", "domains"])
def test_missing_and_empty_folders(tmp_path, kind):
    with pytest.raises(UserError, match="no such folder"):
        open_source(f"{kind}:{tmp_path / 'nowhere'}")
    file = paint(tmp_path / "image.png")
    with pytest.raises(UserError, match="is a file"):
        open_source(f"{kind}:{file}")
    (tmp_path / "empty" / "trainA").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no images in .*; put PNG, JPEG"):
        open_source(f"{kind}:{tmp_path / 'empty'}")


def test_broken_files_are_found_up_front(tmp_path):
    for k in range(4):
        paint(tmp_path / f"{k}.png", np.full(3, k))
    for k in (1, 2):
        whole = (tmp_path / f"{k}.png").read_bytes()
        (tmp_path / f"{k}.png").write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"1\.png is not a readable .*\(and 1 more such files\)"):
        open_source(f"folder:{tmp_path}")


def test_unknown_specs_and_splits_are_refused():
    for spec in ("mnist", "folder:", "tfds:", ""):
        with pytest.raises(UserError, match="there are mnist5k, emoji"):
            open_source(spec)
    with pytest.raises(UserError, match='"emoji" takes nothing after its name; leave :x out'):
        open_source("emoji:x")
    with pytest.raises(UserError, match="train"):
        open_source("photos", "valid")
    with pytest.raises(UserError, match="held_out"):
        open_source("photos", held_out=1.5)
