"""Parquet sets of Hugging Face are read row by row, through one Arrow file in the cache."""

import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxgen.data.pipeline import load
from jaxgen.data.specs import open_source
from jaxgen.errors import NoSplit, UserError
from tests.data.stored import number, numbered, png
from tests.data.test_pipeline import assert_same, take


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path / "cache"))


def images(numbers):
    return [{"bytes": numbered(k), "path": None} for k in numbers]


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def rich(tmp_path):
    """A set as `to_parquet` writes it, with features of its own, in two splits."""
    kinds = datasets.Features(
        {
            "image": datasets.Image(),
            "annotation": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "smiling": datasets.Value("bool"),
            "shape": datasets.ClassLabel(names=["square", "heart", "oval"]),
            "tags": datasets.List(datasets.ClassLabel(names=["red", "big"])),
            "captions": datasets.List(datasets.Value("string")),
            "url": datasets.Value("string"),
        }
    )
    for split, numbers in (("train", range(5)), ("test", range(5, 8))):
        rows = {
            "image": images(numbers),
            "annotation": [{"bytes": png(np.full((8, 8), k)), "path": None} for k in numbers],
            "label": [k % 2 for k in numbers],
            "smiling": [k % 2 == 0 for k in numbers],
            "shape": [k % 3 for k in numbers],
            "tags": [[0, 1] if k == 4 else [k % 2] for k in numbers],
            "captions": [[f"{k} a", f"{k} b"][: 1 + k % 2] for k in numbers],
            "url": ["x"] * len(numbers),
        }
        table = datasets.Dataset.from_dict(rows, features=kinds)
        (tmp_path / "rich" / "data").mkdir(parents=True, exist_ok=True)
        file = tmp_path / "rich" / "data" / f"{split}-00000-of-00001.parquet"
        table.to_parquet(str(file))
    return tmp_path / "rich"


def test_columns_are_read_by_their_features(rich):
    (source,), (test,) = open_source(f"hf:{rich}"), open_source(f"hf:{rich}", "test")
    assert (len(source), len(test)) == (5, 3)
    assert {name: field.kind for name, field in source.fields.items()} == {
        "image": "image",
        "classes": "classes",
        "label": "label",
        "attributes": "attributes",
        "caption": "caption",
    }
    assert test.fields == source.fields
    assert source.fields["classes"].classes == 5  # of the training split
    assert source.label_names == ("cat", "dog")
    assert source.attribute_names == ("smiling", "shape", "red", "big")
    for k in range(8):
        example = source[k] if k < 5 else test[k - 5]
        assert number(example["image"]) == k
        assert (example["classes"] == k).all()
        assert example["label"] == k % 2
        tags = [1, 1] if k == 4 else [1 - k % 2, k % 2]
        assert example["attributes"].tolist() == [1 - k % 2, k % 3, *tags]
        assert example["caption"] == f"{k} a"
    assert source.texts(3) == ["3 a", "3 b"]
    assert source.counts().tolist() == [1, 2, 1, 2, 1]
    assert source.origin(2) == (f"hf:{rich}, row 2 of train", 8, 8)
    assert source.fingerprint != test.fingerprint


def test_plain_parquet_files_have_labels_of_numbers_or_names(tmp_path):
    numbers = range(6)
    write(tmp_path / "n/a.parquet", img=images(numbers), label=[0, 4, 1, 1, 0, 2])
    write(tmp_path / "s/a.parquet", image=[numbered(k) for k in range(2)], label=["b", "a"])
    write(tmp_path / "s/b.parquet", image=[numbered(k) for k in range(2, 4)], label=["c", "a"])
    (one,), (two,) = (open_source(f"hf:{tmp_path}/{name}") for name in "ns")
    assert one.label_names == tuple("01234")
    assert [one[k]["label"] for k in numbers] == [0, 4, 1, 1, 0, 2]
    assert two.label_names == ("a", "b", "c")
    assert [two[k]["label"] for k in range(4)] == [1, 0, 2, 0]
    assert [number(two[k]["image"]) for k in range(4)] == list(range(4))


def test_splits_shares_and_changes(tmp_path):
    write(tmp_path / "x/some.parquet", image=images(range(30)), text=list(map(str, range(30))))
    spec = f"hf:{tmp_path}/x"
    with pytest.raises(UserError, match="has no test split; hold out a share"):
        open_source(spec, "test")
    train, test = (open_source(spec, split, held_out=0.3)[0] for split in ("train", "test"))
    found = [number(side[i]["image"]) for side in (train, test) for i in range(len(side))]
    assert sorted(found) == list(range(30))
    assert 3 < len(test) < 15
    assert train.texts(1) == [train[1]["caption"]] == [str(number(train[1]["image"]))]
    (tmp_path / "moved [1]").mkdir()
    (tmp_path / "x/some.parquet").rename(tmp_path / "moved [1]/some.parquet")
    moved = open_source(f"hf:{tmp_path}/moved [1]", held_out=0.3)[0]
    assert moved.fingerprint == train.fingerprint
    write(tmp_path / "moved [1]/some.parquet", image=images(range(31)), text=["x"] * 31)
    assert len(open_source(f"hf:{tmp_path}/moved [1]")[0]) == 31


def test_streamed_and_resident_batches_are_the_same(rich):
    spec = f"hf:{rich}"
    tokenize = lambda text: [ord(letter) for letter in text]
    streamed = take(load(spec, size=6, resident="no", tokenize=tokenize).batches(7, 1), 6)
    held = load(spec, size=6, resident="yes", tokenize=tokenize).batches(7, 1)
    assert_same(take(held, 6), streamed)


def test_what_does_not_fit_is_named(tmp_path):
    def refused(name, said, **columns):
        if columns:
            write(tmp_path / name / "train.parquet", **columns)
        with pytest.raises(UserError, match=said) as error:
            open_source(f"hf:{tmp_path}/{name}")[0][0]
        assert "\n" not in str(error.value)

    one = images([1])
    refused("nowhere", "no such folder")
    (tmp_path / "empty").mkdir()
    refused("empty", r"no \.parquet files in it")
    refused("words", "no column that is the image; its columns are text, x", text=["a"], x=[1])
    refused("two", "no column that is the image; its columns are left, right", left=one, right=one)
    refused("gap", "1 rows of train have no text", image=one * 2, text=["a", None])
    refused("none", "1 rows of train have no image", image=[*one, None])
    refused("path", "holds no image, only a path", image=[{"bytes": None, "path": "a.png"}])
    refused("minus", "label goes down to -1", image=one, label=[-1])
    refused("many", "label goes to 1,000,000, and labels are numbers", image=one, label=[10**6])
    refused("broken", "row 0 of train is not a readable image", image=[b"broken"])
    (tmp_path / "cut").mkdir()
    whole = (tmp_path / "minus/train.parquet").read_bytes()
    (tmp_path / "cut/train.parquet").write_bytes(whole[:-20])
    refused("cut", r"cut/train\.parquet is not a whole parquet file")
    write(tmp_path / "mixed/a.parquet", image=one, label=[1])
    write(tmp_path / "mixed/b.parquet", image=one, text=["a"])
    refused("mixed", r"hf:.*/mixed cannot be read .*need the same columns")
    write(tmp_path / "tests/test.parquet", image=one)
    refused("tests", "has no train split; it has test")


def test_without_the_extra_the_command_is_named(tmp_path, monkeypatch):
    write(tmp_path / "x/train.parquet", image=images([1]))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r'needs datasets: pip install "jaxgen\[hf\]"'):
        open_source(f"hf:{tmp_path}/x")


def test_other_data_does_not_import_datasets():
    code = "import sys, jaxgen.data.specs; assert not {'datasets', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("absent", [-1, None])
def test_a_test_split_without_labels_is_none(tmp_path, absent):
    """As many of the Hub's are."""
    write(tmp_path / "x/train.parquet", image=images(range(3)), label=[0, 1, 2])
    labels = pa.array([absent] * 2, "int64")
    write(tmp_path / "x/test.parquet", image=images(range(2)), label=labels)
    data = load(f"hf:{tmp_path}/x", size=8)
    assert data.info.label_names == ("0", "1", "2")
    assert data.held_out(2) is None
    with pytest.raises(NoSplit, match="leave (them )?out"):
        data.of_split("test")
    labels = pa.array([absent, 1], "int64")  # and one that has some is broken
    write(tmp_path / "x/test.parquet", image=images(range(2)), label=labels)
    with pytest.raises(UserError, match="leave (them )?out"):
        load(f"hf:{tmp_path}/x", size=8).held_out(2)


def test_labels_of_numbers_are_in_their_order(tmp_path):
    write(tmp_path / "x/train.parquet", image=images(range(3)), label=["10", "9", "1"])
    assert open_source(f"hf:{tmp_path}/x")[0].label_names == ("1", "9", "10")


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write(tmp_path / "x/train.parquet", image=images([1]))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"train\.parquet cannot be read \(Permission denied\)"):
        open_source(f"hf:{tmp_path}/x")
