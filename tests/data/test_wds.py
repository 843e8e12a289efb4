"""WebDataset shards are read sample by sample, by an index that is made once."""

import gzip
import io
import os
import tarfile

import numpy as np
import pytest

from jaxgen.data import wds
from jaxgen.data.pipeline import load
from jaxgen.data.specs import open_source
from jaxgen.errors import UserError
from tests.data.stored import number, numbered, png, write_shard
from tests.data.test_pipeline import assert_same, take


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path / "cache"))


def sample(k, **others):
    map = np.tile(np.arange(4, dtype=np.uint8) * 60, (8, 2))
    return {"png": numbered(k), "cls": str(k % 3), "txt": f"number {k}\n", "seg.png": png(map)} | {
        suffix.replace("_", "."): content for suffix, content in others.items()
    }


@pytest.fixture
def shards(tmp_path):
    """Three shards of 4, 5 and 6 samples."""
    ends = (0, 4, 9, 15)
    for n in range(3):
        numbers = range(ends[n], ends[n + 1])
        write_shard(tmp_path / f"s-{n:02}.tar", {f"dir.x/{k:04}": sample(k) for k in numbers})
    return tmp_path


def test_all_parts_of_a_sample_are_read(shards):
    (source,) = open_source(f"wds:{shards}/s-{{00..02}}.tar")
    assert {name: field.kind for name, field in source.fields.items()} == {
        "image": "image",
        "classes": "classes",
        "label": "label",
        "caption": "caption",
    }
    assert source.fields["classes"].classes == 181
    assert (len(source), source.label_names) == (15, ("0", "1", "2"))
    for k in range(15):
        example = source[k]
        assert number(example["image"]) == k
        assert example["label"] == k % 3
        assert example["caption"] == f"number {k}"
        assert example["classes"][0, :5, 0].tolist() == [0, 60, 120, 180, 0]
    path = shards / "s-01.tar"
    assert source.origin(7) == (f"{path}, sample dir.x/0007", 8, 8)


def test_patterns_and_places_do_not_change_the_set(shards, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("other [place]")
    for file in shards.glob("*.tar"):
        (elsewhere / file.name).write_bytes(file.read_bytes())
    specs = [f"{shards}/s-{{00..02}}.tar", f"{shards}/s-*.tar", str(shards), str(elsewhere)]
    assert len({open_source(f"wds:{spec}")[0].fingerprint for spec in specs}) == 1
    two = open_source(f"wds:{shards}/s-{{01..02}}.tar")[0]
    assert number(two[0]["image"]) == 4
    assert two.fingerprint != open_source(f"wds:{shards}")[0].fingerprint


def test_class_names_stand_beside_the_shards(shards):
    (shards / "classes.txt").write_text("cat\ndog\nnewt\n")
    assert open_source(f"wds:{shards}")[0].label_names == ("cat", "dog", "newt")
    (shards / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(UserError, match="names 2 classes, and labels go to 2"):
        open_source(f"wds:{shards}")


def test_json_says_captions_labels_and_attributes(tmp_path):
    records = [
        {"caption": ["one", "two"], "label": 5, "attributes": {"red": 1, "big": True}},
        {"caption": "three", "label": 0, "attributes": {"big": False, "red": 7}},
    ]
    shard = write_shard(
        tmp_path / "s.tar", {str(k): {"jpg": numbered(k), "json": r} for k, r in enumerate(records)}
    )
    (source,) = open_source(f"wds:{shard}")
    assert source.attribute_names == ("red", "big")
    assert [source[k]["attributes"].tolist() for k in range(2)] == [[1, 1], [7, 0]]
    assert [source[k]["label"] for k in range(2)] == [5, 0]
    assert [source.texts(k) for k in range(2)] == [["one", "two"], ["three"]]
    assert source.counts().tolist() == [2, 1]
    drawn = set()
    tokenize = lambda text: [len(text), ord(text[0])]
    batches = load(f"wds:{shard}", size=8, resident="no", tokenize=tokenize).batches(2, 0)
    for batch in take(batches, 12):
        drawn |= {tuple(text) for text in batch["text"].tolist()}
    assert drawn == {tuple(tokenize(text)) for text in ("one", "two", "three")}


def test_maps_of_0_and_255_are_masks(tmp_path):
    mask = np.zeros((8, 8))
    mask[2:] = 255
    samples = {str(k): {"png": numbered(k), "mask.png": png(mask)} for k in range(20)}
    spec = f"wds:{write_shard(tmp_path / 's.tar', samples)}"
    (source,) = open_source(spec)
    assert source.fields["mask"].kind == "mask"
    np.testing.assert_array_equal(source[3]["mask"][..., 0], mask)
    samples["18"]["mask.png"] = png(mask[:4])
    write_shard(tmp_path / "s.tar", samples)
    with pytest.raises(UserError, match=r"sample 18: its label map is 4x8 pixels .*image 8x8"):
        open_source(spec)[0][18]
    samples["18"]["mask.png"] = png(mask // 2)
    write_shard(tmp_path / "s.tar", samples)
    assert open_source(spec)[0].fields["classes"].classes == 128
    samples["18"]["mask.png"] = b"broken"
    write_shard(tmp_path / "s.tar", samples)
    with pytest.raises(UserError, match="sample 18 is not a readable image"):
        open_source(spec)


def test_a_split_depends_on_the_keys_alone(shards, tmp_path_factory):
    one = tmp_path_factory.mktemp("one")
    write_shard(one / "all.tar", {f"dir.x/{k:04}": sample(k) for k in reversed(range(15))})
    found = {}
    for spec in (shards, one):
        for split in ("train", "test"):
            (source,) = open_source(f"wds:{spec}", split, held_out=0.4)
            found[spec, split] = {int(number(source[i]["image"])) for i in range(len(source))}
        assert found[spec, "train"] | found[spec, "test"] == set(range(15))
        assert not found[spec, "train"] & found[spec, "test"]
    assert found[shards, "test"] == found[one, "test"] != set()
    with pytest.raises(UserError, match="holds out no test images"):
        open_source(f"wds:{shards}", "test")


def test_streamed_and_resident_batches_are_the_same(shards):
    spec = f"wds:{shards}"
    streamed = take(load(spec, size=6, resident="no").batches(7, 1), 6)
    assert_same(take(load(spec, size=6, resident="yes").batches(7, 1), 6), streamed)
    assert sorted(number(np.concatenate([b["image"] for b in streamed]))[:15]) == list(range(15))


def test_opening_reads_no_images_and_captions_are_read_alone(shards, monkeypatch):
    spec = f"wds:{shards}"
    looked, read = [], []
    look, part = wds._look_through, wds._Sample.part
    monkeypatch.setattr(wds, "_look_through", lambda path: looked.append(path) or look(path))
    monkeypatch.setattr(wds._Sample, "part", lambda s, n: read.append(n) or part(s, n))
    open_source(spec)  # counts the classes of the label maps, once
    assert (len(looked), set(read)) == (3, {wds.MAP})
    looked.clear()
    read.clear()
    tokenize = lambda text: [len(text)]
    for _ in range(2):
        data = load(spec, size=8, resident="no", tokenize=tokenize)
        data.fingerprint  # noqa: B018
        data.several  # noqa: B018
    assert (looked, read) == ([], [])
    assert len(data.all_captions(4)) == 4
    assert read == [wds.TEXT] * 4
    read.clear()
    data.examples(2)
    assert read.count(wds.IMAGE) == 2


def test_a_shard_that_changes_is_looked_through_again(shards):
    before = open_source(f"wds:{shards}")[0].fingerprint
    write_shard(shards / "s-00.tar", {str(k): sample(k) for k in range(100, 103)})
    (source,) = open_source(f"wds:{shards}")
    assert (number(source[0]["image"]), len(source)) == (100, 14)
    assert source.fingerprint != before
    os.truncate(shards / "s-02.tar", 5000)
    with pytest.raises(UserError, match=r"s-02\.tar has become shorter"):
        source[13]


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (0, "empty file"),
        (700, "unexpected end of data"),
        # After the last member, where only the mark of the end is missing.
        ("end", "it breaks off after"),
        ("noise", "it breaks off after"),
    ],
)
def test_a_broken_shard_is_named(shards, cut, said):
    path = shards / "s-01.tar"
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    if cut == "end":
        cut = last.offset_data + -(-last.size // 512) * 512
    if cut == "noise":
        data = bytearray(path.read_bytes())
        data[last.offset : last.offset + 512] = b"x" * 512
        path.write_bytes(data)
    else:
        os.truncate(path, cut)
    with pytest.raises(UserError, match=rf"s-01\.tar is not a whole tar file \({said}") as error:
        open_source(f"wds:{shards}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([("a", {"txt": "x"})], r"sample a has no image, only txt"),
        ([("a", {"png": b"", "jpg": b""})], "sample a: jpg is there twice, or beside another"),
        ([("a", sample(1)), ("b", {"png": b""})], "sample b: there is no caption, which others"),
        ([("a", {"png": b"", "cls": "cat"})], r"sample a: its \.cls holds b'cat'"),
        ([("a", {"png": b"", "json": "{"})], r"sample a: its \.json cannot be read"),
        ([("README", {"md": "x"}), ("__x", {"png": b""})], "holds no samples"),
        ([("._a", {"png": b""})], "holds no samples"),
        (
            [("a", {"png": numbered(1), "json": {"attributes": {"x": 0.5}}})],
            "sample a: x is 0.5; attributes are whole numbers",
        ),
        ([("a", {"png": b"", "json": {"attributes": {"x": 5 * 10**9}}})], "sample a: x is 50+;"),
        ([("a", {"png": b"", "json": {"attributes": 5}})], "sample a: its attributes are 5; write"),
        ([("a", {"png": b"", "cls": "3000000000"})], "sample a: its label is 30+, and labels are"),
        (
            [("a", {"png": b"", "json": {"label": 10**6}})],
            "sample a: its label is 10+, and labels are",
        ),
        (
            [("a", {"png": b""}), ("b", {"png": b"", "json": {"attributes": {"x": 1}}})],
            "sample a: there is no attribute, which others have",
        ),
        (
            [(k, {"png": b"", "json": {"attributes": {k: 1}}}) for k in "ab"],
            "sample b: its attributes are not a, as those of the first",
        ),
    ],
)
def test_samples_that_do_not_fit_are_named(tmp_path, samples, said):
    write_shard(tmp_path / "s.tar", samples)
    with pytest.raises(UserError, match=said):
        open_source(f"wds:{tmp_path}")[0][0]


def test_what_is_not_there_is_named(shards, tmp_path):
    with pytest.raises(UserError, match=r"no file is called .*/s-03\.tar"):
        open_source(f"wds:{shards}/s-{{00..04}}.tar")
    with pytest.raises(UserError, match=r"no file is called .*x\*\.tar"):
        open_source(f"wds:{shards}/x*.tar")
    with pytest.raises(UserError, match="a range ends before it begins"):
        open_source(f"wds:{shards}/s-{{02..00}}.tar")
    packed = tmp_path / "p.tar.gz"
    packed.write_bytes(gzip.compress((shards / "s-00.tar").read_bytes()))
    with pytest.raises(UserError, match=r"p\.tar\.gz is compressed, which has no random access"):
        open_source(f"wds:{packed}")
    write_shard(tmp_path / "b.tar", {"k": {"png": b"broken"}})
    with pytest.raises(UserError, match=r"b\.tar, sample k is not a readable image"):
        open_source(f"wds:{tmp_path}/b.tar")[0][0]


def test_names_of_any_encoding_are_samples(tmp_path):
    how = {"format": tarfile.GNU_FORMAT, "encoding": "latin-1"}
    with tarfile.open(tmp_path / "s.tar", "w", **how) as tar:
        info = tarfile.TarInfo("caf\xe9.png")
        info.size = len(numbered(3))
        tar.addfile(info, io.BytesIO(numbered(3)))
    (source,) = open_source(f"wds:{tmp_path}", held_out=0.001)
    assert number(source[0]["image"]) == 3
    assert source.origin(0)[0].endswith("sample caf\\udce9")


def test_a_damaged_index_is_made_again(shards, tmp_path):
    before = open_source(f"wds:{shards}")[0]
    for k, file in enumerate(sorted((tmp_path / "cache").rglob("*.npy"))):
        os.truncate(file, 140 * k)  # the first is empty
    again = open_source(f"wds:{shards}")[0]
    assert (again.fingerprint, len(again)) == (before.fingerprint, len(before))


def test_a_home_that_is_not_there_is_named():
    for spec in ("wds:~nobody-here/s.tar", "folder:~nobody-here/p", "~nobody-here/p"):
        with pytest.raises(UserError, match="there is no such home folder; write the whole path"):
            open_source(spec)
