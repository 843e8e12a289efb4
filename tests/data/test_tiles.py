"""Tiles at an image's own resolution, and several sets as one."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import ExifTags, Image

from jaxgen.data import tiles as module
from jaxgen.data.images import decode, sides
from jaxgen.data.pipeline import load
from jaxgen.data.source import Field, Source
from jaxgen.data.specs import PLUS, open_source
from jaxgen.data.tiles import tiles
from jaxgen.errors import UserError


def ramp(height, width, blue=0):
    """Red is the row, green the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, blue)], -1).astype(np.uint8)


def save(file, image):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file)


@pytest.fixture
def cut(tmp_path):
    """Two labelled images of 11 x 14 and 8 x 9 pixels: 6 tiles and 4 of side 4."""
    save(tmp_path / "set/cat/1.png", ramp(11, 14, 1))
    save(tmp_path / "set/dog/2.png", ramp(8, 9, 2))
    return f"folder:{tmp_path / 'set'}"


def corners(data):
    return [tuple(data[i]["image"][0, 0].tolist()) for i in range(len(data))]


def test_tiles_are_disjoint_and_lie_in_the_middle(cut):
    data = load(cut, size=4, crop="tiles")
    first = [(row, column, 1) for row in (1, 5) for column in (1, 5, 9)]
    second = [(row, column, 2) for row in (0, 4) for column in (0, 4)]
    assert corners(data) == first + second
    for i in range(len(data)):
        row, column, blue = data[i]["image"][0, 0]
        np.testing.assert_array_equal(data[i]["image"] - (row, column, 0), ramp(4, 4, blue))
    assert [int(data[i]["label"]) for i in (5, 6)] == [0, 1]
    assert data.info.label_names == ("cat", "dog")


def test_training_cuts_the_size_out_of_larger_tiles(cut):
    data = load(cut, size=3, random_crop=8, crop="tiles")
    assert (len(data), data.stored, data.info.shape) == (2, (8, 8), (3, 3, 3))
    assert corners(data) == [(1, 3, 1), (0, 0, 2)]
    assert data.examples(2)["image"].shape == (2, 3, 3, 3)
    assert data.augment is not None


def test_batches_are_the_same_decoded_or_read_as_they_come(cut):
    held, read = (load(cut, size=4, crop="tiles", resident=how) for how in ("yes", "no"))
    assert held.fingerprint == read.fingerprint
    assert load(cut, size=5, crop="tiles").fingerprint != held.fingerprint
    assert load(cut, size=4).fingerprint != held.fingerprint
    one, two = held.batches(7, 3), read.batches(7, 3)
    for _ in range(3):
        a, b = next(one), next(two)
        assert a.keys() == b.keys() == {"image", "label"}
        np.testing.assert_array_equal(a["image"], b["image"])
    two.close()


def test_images_that_are_too_small_are_named(cut):
    with pytest.raises(UserError, match=r"2\.png is 8x9 pixels .*, too small for a tile of 9x9;"):
        load(cut, size=9, crop="tiles")
    with pytest.raises(UserError, match=r"1\.png .*\(and 1 more such images\)"):
        load(cut, size=4, random_crop=12, crop="tiles")


def test_both_images_of_a_pair_are_cut_alike(tmp_path):
    save(tmp_path / "p/A/1.png", ramp(6, 9, 3))
    save(tmp_path / "p/B/1.png", ramp(6, 9, 4))
    data = load(f"pairs:{tmp_path / 'p'}", size=4, crop="tiles")
    assert len(data) == 2
    for name, blue in (("a", 3), ("b", 4)):
        np.testing.assert_array_equal(data[1][name], ramp(5, 8, blue)[1:, 4:] + (0, 0, 0))
    save(tmp_path / "p/B/1.png", ramp(12, 18, 4))
    with pytest.raises(UserError, match="differ in size; make them equal"):
        load(f"pairs:{tmp_path / 'p'}", size=4, crop="tiles")
    save(tmp_path / "both/1.png", np.concatenate([ramp(4, 8, 1), ramp(4, 8, 2)], 1))
    data = load(f"pairs:{tmp_path / 'both'}", size=4, crop="tiles")
    assert [data[i]["b"][0, 0].tolist() for i in range(2)] == [[0, 0, 2], [0, 4, 2]]


def test_unpaired_domains_have_tiles_each(tmp_path):
    save(tmp_path / "trainA/1.png", ramp(4, 12))
    save(tmp_path / "trainB/1.png", ramp(8, 4))
    a, b = load(f"domains:{tmp_path}", size=4, crop="tiles").sources
    assert (len(a), len(b)) == (3, 2)


def test_held_out_images_give_no_tiles_to_training(tmp_path):
    for k in range(30):
        save(tmp_path / f"{k}.png", ramp(8, 8, k))
    spec, options = f"folder:{tmp_path}", {"size": 4, "crop": "tiles", "held_out": 0.3}
    train = load(spec, **options)
    test = load(spec, split="test", **options)
    assert len(train) + len(test) == 120
    assert {c[2] for c in corners(train)}.isdisjoint(c[2] for c in corners(test))
    assert train.held_out(5)["image"].shape == (5, 4, 4, 3)


def test_sides_are_those_of_the_decoded_image(tmp_path):
    for orientation in (1, 3, 6):
        file = tmp_path / f"{orientation}.jpg"
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        Image.fromarray(ramp(6, 9)).save(file, exif=exif)
        assert sides(file) == decode(file).shape[:2]
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"broken\.png is not a readable image"):
        sides(tmp_path / "broken.png")


def counted(n):
    """A source of n images of 4 x 8 pixels, slow to decode, and what it has read."""
    read = []

    def decode(i):
        read.append(i)
        time.sleep(0.01)
        return {"image": ramp(4, 8, i)}

    fields = {"image": Field("image")}
    return Source(n, decode, "counted", fields, measure=lambda i: (str(i), 4, 8)), read


def test_neighbouring_tiles_decode_an_image_once():
    source, read = counted(3)
    cut = tiles(source, (2, 2))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda k: cut[k]["image"][0, 0].tolist(), range(len(cut))))
    assert sorted(read) == [0, 1, 2]
    assert found[:2] == [[0, 0, 0], [0, 2, 0]]
    assert cut[0]["image"].base is None  # keeps no decoded image alive


def test_few_decoded_images_are_kept(monkeypatch):
    monkeypatch.setattr(module, "AT_HAND", 2 * 4 * 4 * 8)
    source, read = counted(3)
    cut = tiles(source, (4, 4))
    for k in (0, 2, 1, 4, 0, 2):  # images 0, 1, 0, 2, 0, 1
        cut[k]
    assert read == [0, 1, 2, 1]


def test_several_sets_are_one():
    photos, emoji = (open_source(spec)[0] for spec in ("photos", "emoji"))
    (both,) = open_source("photos+emoji")
    assert len(both) == len(photos) + len(emoji)
    assert set(both[0]) == set(both[len(photos)]) == {"image", "caption"}
    assert both[len(photos) - 1]["caption"] == photos[len(photos) - 1]["caption"]
    assert both[len(both) - 1]["caption"] == emoji[len(emoji) - 1]["caption"]
    assert both.label_names == ()
    assert both.origin(len(photos))[1:] == (72, 72)
    assert both.fingerprint != open_source("emoji+photos")[0].fingerprint
    (test,) = open_source("photos+emoji", "test")
    assert len(test) == sum(len(open_source(spec, "test")[0]) for spec in ("photos", "emoji"))


def test_labels_of_one_name_are_one(tmp_path):
    for place in ("a/cat/1", "a/dog/1", "b/ape/1", "b/dog/1"):
        save(tmp_path / f"{place}.png", ramp(4, 4))
    data = load(f"folder:{tmp_path / 'a'}+folder:{tmp_path / 'b'}", size=4)
    assert data.info.label_names == ("cat", "dog", "ape")
    assert [int(data[i]["label"]) for i in range(4)] == [0, 1, 2, 1]
    save(tmp_path / "c/1.png", ramp(4, 4))
    data = load(f"folder:{tmp_path / 'a'}+folder:{tmp_path / 'c'}", size=4)
    assert (data.info.label_names, set(data[0])) == ((), {"image"})


def test_a_plus_may_be_part_of_a_path(tmp_path):
    save(tmp_path / "c++/x+y/1.png", ramp(4, 4))
    assert len(load(f"folder:{tmp_path}/c++/x+y", size=4)) == 1
    assert PLUS.split("folder:/c++/x+photos") == ["folder:/c++/x", "photos"]
    assert PLUS.split("emoji-lines+emoji+tfds:a/b") == ["emoji-lines", "emoji", "tfds:a/b"]


def test_sets_that_cannot_be_joined_are_named(tmp_path):
    save(tmp_path / "A/1.png", ramp(4, 4))
    save(tmp_path / "B/1.png", ramp(4, 4))
    for side in "AB":
        save(tmp_path / f"two/train{side}/1.png", ramp(4, 4))
    for spec, message in (
        (f"photos+pairs:{tmp_path}", "photos has image, but pairs:.* has a and b; join"),
        (f"photos+domains:{tmp_path / 'two'}", "is two sets, shuffled apart"),
        ("photos+emojis", 'no data "photos\\+emojis"'),
        ("+photos", 'no data ""'),
        (f"photos+folder:{tmp_path / 'none'}", "no such folder"),
    ):
        with pytest.raises(UserError, match=message):
            open_source(spec)


def test_joined_sets_have_the_images_that_all_of_them_have(tmp_path):
    save(tmp_path / "one/1.png", ramp(4, 4, blue=1))
    save(tmp_path / "one/masks/1.png", np.zeros((4, 4), np.uint8))
    save(tmp_path / "two/1.png", ramp(4, 4, blue=2))
    one, two = (f"folder:{tmp_path}/{name}" for name in ("one", "two"))
    for spec, blues in ((f"{one}+{two}", [1, 2]), (f"{two}+{one}", [2, 1])):
        data = load(spec, size=4)
        assert list(data.info.fields) == ["image"]
        assert [int(data[i]["image"][0, 0, 2]) for i in range(2)] == blues
