"""The table beside a user's images: captions, labels and attributes, each with its line."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxgen.data.pipeline import load
from jaxgen.data.specs import open_source
from jaxgen.errors import UserError


@pytest.fixture
def images(tmp_path):
    """A folder of a.png and b.png: a function that writes its table and opens it."""
    for name in ("a.png", "b.png"):
        Image.new("L", (2, 2)).save(tmp_path / name)

    def with_table(text, suffix="csv", split="train"):
        for table in tmp_path.glob("metadata.*"):
            table.unlink()
        (tmp_path / f"metadata.{suffix}").write_bytes(text.encode())
        return open_source(f"folder:{tmp_path}", split)[0]

    with_table.folder = tmp_path
    return with_table


def test_quoted_line_breaks_and_quotes_survive(images):
    source = images('file_name,caption\r\na.png,"two\r\nlines\nand ""more"""\r\n\r\nb.png,b\r\n')
    assert source[0]["caption"] == 'two\r\nlines\nand "more"'
    assert source[1]["caption"] == "b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a.png,a dog, a cat\nb.png,b\n",
            "line 2 has 3 cells, and there are 2 columns; put a text",
        ),
        ('a.png,"x\ny"\nb.png,b,c\n', "line 4 has 3 cells"),
        ("a.png\nb.png,b\n", "line 2 has 1 cells"),
        ('a.png,a\nb.png,"b\n', "line 3 is not CSV .*mend its quotes"),
        ('a.png,"a" dog\nb.png,b\n', "line 2 is not CSV"),
    ],
)
def test_rows_that_do_not_fit_the_columns_are_refused(images, text, message):
    with pytest.raises(UserError, match=message):
        images("file_name,caption\n" + text)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "file_name;caption",
            "line 1 names the columns file_name;caption, and no file_name; .*commas",
        ),
        ("file_name,caption,caption", "line 1 names a column twice"),
    ],
)
def test_headers_that_are_none_are_refused(images, header, message):
    with pytest.raises(UserError, match=message):
        images(f"{header}\na.png,a,a\n")


def test_several_captions_are_rows_or_lists(images):
    rows = images("file_name,caption\na.png,one\nb.png,b\na.png,two\n")
    lines = [{"file_name": "a.png", "text": ["one", "two"]}, {"file_name": "b.png", "text": "b"}]
    lists = images("\n".join(map(json.dumps, lines)), "jsonl")
    for source in (rows, lists):
        assert [tuple(source.texts(i)) for i in range(2)] == [("one", "two"), ("b",)]
        assert source[0]["caption"] == "one"
    assert rows.fingerprint == lists.fingerprint
    lines[0]["text"] = ["two", "one"]
    assert images("\n".join(map(json.dumps, lines)), "jsonl").fingerprint != rows.fingerprint
    data = load(f"folder:{images.folder}", size=2)
    assert data.all_captions(9) == ["two", "one", "b"]
    assert data.captions(3) == ["two", "b", "two"]


def test_columns_of_numbers_are_attributes(images, capsys):
    source = images("file_name,smiling,by,age\nb.png,0,me,-3\na.png,1.0,you,20\n")
    assert source.attribute_names == ("smiling", "age")
    assert "columns that are not used: by" in capsys.readouterr().err
    assert "caption" not in source.fields
    assert source[0]["attributes"].tolist() == [1, 20]
    assert source[0]["attributes"].dtype == np.int32
    data = load(f"folder:{images.folder}", size=2, resident="no")
    assert data.info.attribute_names == ("smiling", "age")
    assert next(data.batches(2, 0))["attributes"].shape == (2, 2)
    lines = [
        {"file_name": "a.png", "caption": "x", "smiling": True, "age": 20, "boxes": [1]},
        {"file_name": "b.png", "caption": "y", "smiling": False, "age": -3, "boxes": []},
    ]
    other = images("\n".join(map(json.dumps, lines)), "jsonl")
    assert other.attribute_names == ("smiling", "age")
    assert [other[i]["attributes"].tolist() for i in range(2)] == [[1, 20], [0, -3]]
    lines[0]["age"] = 21
    assert images("\n".join(map(json.dumps, lines)), "jsonl").fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png,1\nb.png,0.5\n", "line 3: n is 0.5; attributes are whole numbers"),
        ("a.png,1\nb.png,\n", "line 3: n is missing"),
        ("a.png,yes\nb.png,1\n", "line 2: n is yes"),
        ("a.png,1\nb.png,nan\n", "line 3: n is nan"),
        ("a.png,1\nb.png,3000000000\n", "line 3: n is 3000000000"),
        ("a.png,1\nb.png,1\na.png,2\n", "line 4 has other attributes of a.png than a line before"),
        ("a.png,1\n", "has no attributes for b.png"),
        ("a.png,Jaws\nb.png,1984\n", "line 2: n is Jaws; .* or remove the column"),
        ("/a.png,1\nb.png,1\n", "names /a.png, which is not there; give names relative to"),
        ("../a.png,1\nb.png,1\n", r"names \.\./a.png, which is not there"),
        ("", "has no rows; give one to each image"),
    ],
)
def test_attributes_that_are_not_whole_numbers_are_refused(images, text, message):
    with pytest.raises(UserError, match=message):
        images("file_name,n\n" + text)


def test_a_column_of_labels(images):
    source = images("file_name,label\na.png,10\nb.png,9\n")
    assert source.label_names == ("9", "10")  # in the order of numbers
    assert [source[i]["label"] for i in range(2)] == [1, 0]
    source = images("file_name,label,caption\na.png,dog,x\nb.png,cat,y\n")
    assert source.label_names == ("cat", "dog")
    with pytest.raises(UserError, match="line 4 has another label of a.png than a line before"):
        images("file_name,label\na.png,dog\nb.png,cat\na.png,emu\n")
    with pytest.raises(UserError, match=r"has no label for b\.png"):
        images("file_name,label\na.png,dog\nb.png,\n".replace("b.png,", "a.png,dog"))


def test_splits_have_the_same_attributes(tmp_path):
    for part, names in (("train", "x,y"), ("test", "y,x")):
        (tmp_path / part).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / part / "1.png")
        (tmp_path / part / "metadata.csv").write_text(f"file_name,{names}\n1.png,1,2\n")
    with pytest.raises(UserError, match=r"has the attributes x, y, and .*test/metadata\.csv y, x"):
        open_source(f"folder:{tmp_path}")


def test_nothing_is_left_unused_in_silence(images, capsys):
    images("file_name,caption,text\na.png,one,1st\nb.png,two,2nd\n")
    assert "columns that are not used: text" in capsys.readouterr().err
    (images.folder / "metadata.jsonl").touch()
    with pytest.raises(UserError, match=r"metadata\.jsonl and metadata\.csv; keep one of them"):
        open_source(f"folder:{images.folder}")
    folder = images.folder / "split"
    for part in ("train", "test"):
        (folder / part / "deep").mkdir(parents=True)
        Image.new("L", (2, 2)).save(folder / part / "1.png")
    (folder / "metadata.csv").write_text("file_name,caption\n1.png,one\n")
    (folder / "train" / "deep" / "metadata.csv").write_text("")
    open_source(f"folder:{folder}")
    error = capsys.readouterr().err
    assert f"metadata.csv is not used; move it beside the images, into {folder}/train" in error
    assert f"{folder}/train: 1 image; passed over, as Pillow does not read them: 1 .csv" in error


def test_columns_without_whole_numbers_of_32_bits_are_not_used(images, capsys):
    rows = "a.png,x,0.5,3000000000,{0}\nb.png,y,0.25,3000000001,{0}\n".format("9" * 400)
    source = images("file_name,caption,score,id,huge\n" + rows)
    assert "attributes" not in source.fields
    assert "columns that are not used: score, id, huge" in capsys.readouterr().err
    lines = [{"file_name": name, "caption": "x", "id": 10**400} for name in ("a.png", "b.png")]
    assert "attributes" not in images("\n".join(map(json.dumps, lines)), "jsonl").fields
