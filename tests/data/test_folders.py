"""A user's own images: layouts, captions, labels, splits, and one clear line for a mistake."""

import hashlib
import json
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from jaxgen.data.pipeline import load
from jaxgen.data.reading import tell
from jaxgen.data.source import Field, digest
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
        load(f"folder:{tmp_path}", size=4)
    large = load(f"folder:{tmp_path}", size=4, resident="no")
    with pytest.raises(UserError, match=r"1\.png is not a readable .*\(and 1 more such files\)"):
        large.batches(2, 0)
    (tmp_path / "3.png").write_bytes(whole[:10])  # without its header: no pixel has to be seen
    with pytest.raises(UserError, match=r"1\.png is not a readable .*\(and 2 more such files\)"):
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


def test_all_that_pillow_reads_is_read_and_the_rest_counted(tmp_path, capsys):
    names = ("1.png", "2.avif", "3.jfif", "4.JPG", "5.webp", "6.tga", "7.ppm", "8.jp2")
    for name in names:
        paint(tmp_path / name)
    for name in ("9.heic", "10.heic", "11.pdf", "12.eps", "notes", ".DS_Store"):
        (tmp_path / name).write_bytes(b"no image")
    (source,) = open_source(f"folder:{tmp_path}")
    assert len(source) == len(names)
    said = "8 images; passed over, as Pillow does not read them: 2 .heic, "
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert all(x in error for x in ("1 .pdf", "1 .eps", "1 without a suffix"))
    open_source(f"folder:{tmp_path}")
    assert capsys.readouterr().err == ""  # once is enough


def test_a_folder_of_known_files_says_nothing(tmp_path, capsys):
    paint(tmp_path / "1.png")
    (tmp_path / "metadata.csv").write_text("file_name,caption\n1.png,one\n")
    open_source(f"folder:{tmp_path}")
    assert capsys.readouterr().err == ""


def test_a_path_is_told_how_to_become_a_spec(tmp_path, monkeypatch):
    for layout, kind in (("x", "folder"), ("A B", "pairs"), ("trainA trainB", "domains")):
        for name in layout.split():
            paint(tmp_path / kind / name / "1.png")
        with pytest.raises(UserError, match=f"for your own images write {kind}:.*{kind}$"):
            open_source(str(tmp_path / kind))
    paint(tmp_path / "split" / "train" / "A" / "1.png")
    paint(tmp_path / "split" / "train" / "B" / "1.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="write pairs:split$"):
        open_source("split")
    with pytest.raises(UserError, match="write folder:folder/x$"):
        open_source("folder/x/1.png")
    with pytest.raises(UserError, match=f"no such folder in {tmp_path}"):
        open_source("folder:nowhere")


def test_names_are_one_in_either_spelling_of_unicode(tmp_path):
    """NFC, and NFD, as files that come from a Mac may have it."""
    nfc, nfd = (unicodedata.normalize(form, "h\u00e4user.png") for form in ("NFC", "NFD"))
    assert nfc != nfd
    for folder, disk, table in (("one", nfd, nfc), ("two", nfc, nfd)):
        paint(tmp_path / folder / "\u00e9t\u00e9" / disk)
        (tmp_path / folder / "metadata.csv").write_text(
            f"file_name,caption\n\u00e9t\u00e9/{table},houses\n", encoding="utf-8"
        )
    one, two = (open_source(f"folder:{tmp_path / folder}")[0] for folder in ("one", "two"))
    assert one[0]["caption"] == "houses"
    assert one.fingerprint == two.fingerprint
    paint(tmp_path / "p" / "A" / nfc)
    paint(tmp_path / "p" / "B" / nfd)
    assert len(open_source(f"pairs:{tmp_path / 'p'}")[0]) == 1


def test_the_fingerprint_is_the_digest_of_names_and_contents(tmp_path):
    """Runs of older versions go on with it: nothing is added where nothing is new."""
    paint(tmp_path / "x" / "1.png")
    content = hashlib.blake2b((tmp_path / "x" / "1.png").read_bytes(), digest_size=8).hexdigest()
    (tmp_path / "metadata.csv").write_text("file_name,caption\nx/1.png,one\n")
    (source,) = open_source(f"folder:{tmp_path}", reduce=True)
    assert source.fingerprint == digest(f"x/1.png {content}", "x", "one")


def test_large_jpegs_are_reduced_while_they_are_decoded(tmp_path):
    rows, columns = np.mgrid[:384, :512]
    image = np.stack([rows / 384, columns / 512, (rows + columns) / 896], -1) * 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to view
    for folder in ("set", "p/A", "p/B"):
        (tmp_path / folder).mkdir(parents=True)
        picture = Image.fromarray(image.astype(np.uint8))
        picture.save(tmp_path / folder / "1.jpg", exif=exif, quality=95)
        paint(tmp_path / folder / "2.jpg", size=(33, 40))
    spec = f"folder:{tmp_path / 'set'}"
    whole, reduced = (open_source(spec, size=20, reduce=reduce)[0] for reduce in (False, True))
    assert whole[0]["image"].shape == (512, 384, 3)
    assert reduced[0]["image"].shape == (128, 96, 3)  # 384 / 4 is four times 20 at least
    assert whole.origin(0) == reduced.origin(0)
    assert reduced[1]["image"].shape == (40, 33, 3)
    assert whole.fingerprint != reduced.fingerprint
    means = whole[0]["image"].reshape(128, 4, 96, 4, 3).mean((1, 3))
    assert np.abs(reduced[0]["image"] - means).max() < 4
    small = [open_source(spec, size=200, reduce=reduce)[0].fingerprint for reduce in (False, True)]
    assert small[0] == small[1]  # nothing is reduced, and nothing changes
    for options in ({"crop": "tiles"}, {"resample": "nearest"}):
        data = load(spec, size=20, resident="no", **options)
        assert data.sources[0].origin(0)[1] in (20, 512)
        assert data.open("train")[0].fingerprint == data.sources[0].fingerprint
        origin = open_source(spec)[0] if "crop" not in options else None
        assert origin is None or data.sources[0].fingerprint == origin.fingerprint
    both = open_source(f"pairs:{tmp_path / 'p'}", size=20, reduce=True)[0]
    assert both[0]["a"].shape == both[0]["b"].shape == (128, 96, 3)
    (tmp_path / "p" / "B" / "1.jpg").unlink()
    paint(tmp_path / "p" / "B" / "1.png", size=(384, 512))  # not reduced, so neither is A
    both = open_source(f"pairs:{tmp_path / 'p'}", size=20, reduce=True)[0]
    assert both[0]["a"].shape == both[0]["b"].shape == (512, 384, 3)


def test_halves_side_by_side_are_reduced_where_their_middle_stays(tmp_path):
    for name, wide in (("1.jpg", 640), ("2.jpg", 644)):  # 644 / 8 is not whole
        image = Image.new("RGB", (wide, 320), "red")
        image.paste("blue", (wide // 2, 0, wide, 320))
        image.save(tmp_path / name, subsampling=0, quality=95)
    (source,) = open_source(f"pairs:{tmp_path}", size=20, reduce=True)
    assert source[0]["a"].shape == source[0]["b"].shape == (80, 80, 3)
    assert source[1]["a"].shape == (320, 322, 3)
    assert source[0]["a"][..., 2].max() < 20 < 230 < source[0]["b"][..., 2].min()


def label_map(file, array, palette=False):
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(array, np.uint8), "P" if palette else None)
    if palette:
        image.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200])
    image.save(file)


def test_label_maps_lie_in_masks(tmp_path):
    paint(tmp_path / "cat" / "1.jpg", size=(3, 2))
    paint(tmp_path / "dog" / "2.png", size=(2, 2))
    label_map(tmp_path / "masks" / "cat" / "1.png", [[0, 1, 2], [2, 1, 7]])
    label_map(tmp_path / "masks" / "dog" / "2.png", [[2, 1], [0, 0]], palette=True)
    (source,) = open_source(f"folder:{tmp_path}")
    assert {k: f.kind for k, f in source.fields.items()} == {
        "image": "image",
        "classes": "classes",
        "label": "label",
    }
    assert source.fields["classes"].classes == 8
    assert source.label_names == ("cat", "dog")
    assert source[0]["classes"].tolist() == [[[0], [1], [2]], [[2], [1], [7]]]
    assert source[1]["classes"].tolist() == [[[2], [1]], [[0], [0]]]
    data = load(f"folder:{tmp_path}", size=4)
    assert data.resident["classes"].shape == (2, 4, 4, 1)
    assert data.info.zeros(3)["classes"].dtype == np.int32
    before = source.fingerprint
    label_map(tmp_path / "masks" / "dog" / "2.png", [[2, 2], [0, 0]], palette=True)
    assert open_source(f"folder:{tmp_path}")[0].fingerprint != before


def test_label_maps_of_black_and_white_are_masks(tmp_path):
    """Maps of all splits together, so that a split does not decide on its own."""
    for part in ("train", "test"):
        for k in range(2):
            paint(tmp_path / part / f"{k}.png", size=(2, 1))
            label_map(tmp_path / part / "masks" / f"{k}.png", [[0, 255 * k]])
    Image.new("1", (2, 1), 1).save(tmp_path / "train" / "masks" / "0.png")
    (source,) = open_source(f"folder:{tmp_path}")
    assert (source.fields["mask"].kind, "classes" in source.fields) == ("mask", False)
    assert source[0]["mask"].tolist() == [[[255], [255]]]
    label_map(tmp_path / "test" / "masks" / "0.png", [[0, 3]])
    for split in ("train", "test"):
        field = open_source(f"folder:{tmp_path}", split)[0].fields["classes"]
        assert field == Field("classes", classes=4)  # 255 is none
    copy = tmp_path / "copy"
    paint(copy / "1.png", size=(2, 1))
    label_map(copy / "masks" / "1.png", [[0, 5]])
    joined = load(f"folder:{tmp_path}+folder:{copy}", size=4)
    assert joined.info.fields["classes"].classes == 6


def test_mistakes_in_label_maps_are_named(tmp_path):
    def refused(message):
        with pytest.raises(UserError, match=message):
            open_source(f"folder:{tmp_path}")

    paint(tmp_path / "1.jpg", size=(3, 2))
    (tmp_path / "masks").mkdir()
    refused(r"1\.jpg has no label map .*masks/1\.png; add it, or rename masks/")
    label_map(tmp_path / "masks" / "1.png", [[0, 1]])
    refused(r"masks/1\.png is 1x2 pixels .*1\.jpg 2x3; make them equal")
    paint(tmp_path / "masks" / "1.png", size=(3, 2))
    refused(r"masks/1\.png: its pixels are RGB; a label map has one channel")
    label_map(tmp_path / "masks" / "1.png", np.zeros((2, 3)))
    label_map(tmp_path / "masks" / "2.png", np.zeros((2, 3)))
    refused(r"masks/2\.png has no image; add it, or rename masks/")
    (tmp_path / "masks" / "2.png").unlink()
    (tmp_path / "masks" / "1.png").unlink()
    Image.new("L", (3, 2)).save(tmp_path / "masks" / "1.jpg")
    refused(r"masks/1\.jpg is no PNG")
    (tmp_path / "masks" / "1.jpg").unlink()
    Image.fromarray(np.full((2, 3), 300, np.uint16)).save(tmp_path / "masks" / "1.png")
    refused(r"1\.png: it has class 300; classes are numbers from 0 to 255")
    paint(tmp_path / "1.png", size=(3, 2))
    refused(r"are both called 1; rename one")


def test_folders_beside_train_are_told_of(tmp_path, capsys):
    for name in ("bus", "car", "train", "test", "empty"):
        paint(tmp_path / name / "1.png")
    (tmp_path / "empty" / "1.png").rename(tmp_path / "empty" / "1.txt")
    assert len(open_source(f"folder:{tmp_path}")[0]) == 1
    said = f"{tmp_path}: bus/, car/ beside train/ are not used; if all of them are classes, rename"
    assert said in capsys.readouterr().err
    for folder in ("bus", "car"):
        (tmp_path / folder / "1.png").unlink()
    tell.cache_clear()
    open_source(f"folder:{tmp_path}")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("what", ["label maps", "labels", "captions", "attributes"])
def test_both_splits_have_the_same_fields(tmp_path, what):
    for part in ("train", "test"):
        paint(tmp_path / part / "x" / "1.png")
    train, test = tmp_path / "train", tmp_path / "test"
    if what == "label maps":
        label_map(train / "masks" / "x" / "1.png", np.zeros((8, 12)))
    elif what == "labels":
        (test / "x" / "1.png").rename(test / "1.png")
    else:
        column, value = ("caption", "one") if what == "captions" else ("n", "1")
        (train / "metadata.csv").write_text(f"file_name,{column}\nx/1.png,{value}\n")
    for split in ("train", "test"):
        with pytest.raises(UserError, match=f"{train} has {what}, and {test} has none; give"):
            open_source(f"folder:{tmp_path}", split)


def test_folders_of_numbers_are_labels_in_their_order(tmp_path):
    for k in (10, 9, 1):
        paint(tmp_path / str(k) / "1.png", (k, 0, 0))
    (source,) = open_source(f"folder:{tmp_path}")
    assert source.label_names == ("1", "9", "10")
    assert [source.label_names[source[i]["label"]] for i in range(3)] == [
        str(red) for red, _, _ in colours(source)
    ]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    paint(tmp_path / "a" / "1.png")
    paint(tmp_path / "b" / "1.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"/b cannot be read \(Permission denied\)"):
        open_source(f"folder:{tmp_path}")


def test_a_broken_test_image_is_not_a_missing_split(tmp_path):
    for part in ("train", "test"):
        paint(tmp_path / part / "1.png")
    data = load(f"folder:{tmp_path}", size=4)
    assert data.held_out(1)["image"].shape == (1, 4, 4, 3)
    (tmp_path / "test" / "2.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"test/2\.png is not a readable image"):
        data.held_out(1)
