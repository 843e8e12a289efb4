"""WebDataset shards, `wds:PATTERN`: an index of the tar files makes every sample readable alone.

A shard is looked through once, and where its samples lie is kept in the cache, from where it is
mapped into memory.  Samples are then shuffled and resumed as all others are.
"""

import functools
import glob
import itertools
import json
import os
import re
import tarfile
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.recfunctions import repack_fields

from jaxgen.data.images import decode_classes, read_bytes, sides, suffixes
from jaxgen.data.metadata import captions_of
from jaxgen.data.parts import MAPS, look_through, picture, read_map
from jaxgen.data.reading import each, stamps
from jaxgen.data.source import LABELS, Field, Source, digest, keep_hashed, numbered, unit_hash
from jaxgen.errors import MissingData, UserError
from jaxgen.files import expanded, kept_array

FORMAT = "2"  # of an index; another number makes all of them anew
IMAGE, MAP, TEXT, JSON = range(4)  # the parts of a sample whose places an index holds
# dir/17.seg.png belongs to the sample dir/17, as its seg.png; ._17.png to none.
MEMBER = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
BLOCK = 512  # bytes of a tar file
OPEN = 128  # shards that are held open


def wds(pattern: str, split: str = "train", held_out: float = 0.0, least: int = 0) -> Source:
    """The samples of the shards that `pattern` names: a glob, with ranges such as {0000..0099}, or
    a folder of .tar files.

    A sample is an image, and beside it `.cls` (a class number), `.txt` or `.json` (caption, label,
    attributes) and `.seg.png` (a label map).  What one sample has, all must have.
    split: "test" is the share `held_out`, by the hash of the sample's key.
    least: see `picture`.
    Raises UserError, which names a broken shard.
    """
    samples = _Samples(_paths(pattern))
    captioned = samples.all_have("caption", samples.column("captions") > 0)
    labelled = samples.all_have("label", samples.column("label") >= 0)
    mapped = samples.all_have("label map", samples.column("offset", MAP) >= 0)
    maps = (lambda k: samples[k].label_map(), len(samples), samples.paths)
    label_map = look_through(f"wds:{pattern}", *maps) if mapped else None
    label_names = samples.label_names() if labelled else ()
    attributes = samples.attribute_names()
    missing = f"wds:{pattern} holds out no test images; hold out a share of it"
    keep = keep_hashed(samples.column("hash"), split, held_out, missing)

    fields = {"image": Field("image")}
    fields |= {label_map.kind: label_map} if label_map else {}
    fields |= {"label": Field("label")} if labelled else {}
    fields |= {"attributes": Field("attributes")} if attributes else {}
    fields |= {"caption": Field("caption")} if captioned else {}

    def read(i: int) -> dict[str, Any]:
        sample = samples[keep[i]]
        image = sample.part(IMAGE)
        example: dict[str, Any] = {"image": picture(image, sample.name, least)}
        if label_map:
            kind = label_map.kind
            example[kind] = read_map(sample.part(MAP), sample.name, kind, image)
        if labelled:
            example["label"] = int(sample.row["label"])
        if attributes:
            said = sample.attributes()
            example["attributes"] = np.array([said[name] for name in attributes], np.int32)
        if captioned:
            example["caption"] = sample.captions()[0]
        return example

    return Source(
        length=len(keep),
        read=read,
        fingerprint=digest(samples.fingerprint(), *label_names, *attributes, str(held_out)),
        fields=fields,
        label_names=label_names,
        attribute_names=attributes,
        measure=lambda i: samples[keep[i]].origin(),
        captions=(lambda i: samples[keep[i]].captions()) if captioned else None,
        caption_counts=samples.column("captions")[keep] if captioned else None,
    )


def _paths(pattern: str) -> list[Path]:
    """The shards, by name."""
    whole = str(expanded(pattern))
    if os.path.isdir(whole):
        whole = f"{glob.escape(whole)}/*.tar"
    starts = RANGE.split(whole)  # text, first, last, text, ...
    counts = [
        [f"{n:0{len(first)}}" for n in range(int(first), int(last) + 1)]
        for first, last in zip(starts[1::3], starts[2::3], strict=True)
    ]
    found: list[str] = []
    for numbers in itertools.product(*counts):
        one = "".join(itertools.chain(*itertools.zip_longest(starts[::3], numbers, fillvalue="")))
        files = sorted(glob.glob(one, recursive=True))
        if not files and os.path.exists(one):  # a name with [ in it
            files = [one]
        if not files:
            where = "" if os.path.isabs(one) else f" in {Path.cwd()}"
            raise MissingData(f"wds:{pattern}: no file is called {one}{where}; check the path")
        found += files
    if not found:
        raise UserError(f"wds:{pattern}: a range ends before it begins; write {{0000..0099}}")
    return list(map(Path, dict.fromkeys(found)))


class _Samples:
    """The samples of several shards, one after the other."""

    def __init__(self, paths: list[Path]):
        self.paths = paths
        self._indices = each("indexing shards", _index, paths)
        self._ends = list(itertools.accumulate(map(len, self._indices)))
        self._open = functools.lru_cache(OPEN)(_Shard)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, k: int) -> "_Sample":
        n = bisect_right(self._ends, k)
        index = self._indices[n]
        return _Sample(self.paths[n], index[k - self._ends[n] + len(index)], self._open)

    def column(self, name: str, part: int | None = None) -> np.ndarray:
        """An entry of all rows; see `_layout`."""
        columns = [index[name] for index in self._indices]
        return np.concatenate(columns if part is None else [x[:, part] for x in columns])

    def attribute_names(self) -> tuple[str, ...]:
        """In the order of the first sample; UserError where another has others."""
        named = self.column("attributes")
        if not self.all_have("attribute", named > 0):
            return ()
        names = tuple(self[0].attributes())
        if (others := named != named[0]).any():
            raise UserError(
                f"{self[int(np.argmax(others))].name}: its attributes are not {', '.join(names)}, "
                "as those of the first sample are; give all samples the same"
            )
        return names

    def label_names(self) -> tuple[str, ...]:
        """The lines of classes.txt beside the shards, else the numbers."""
        last = int(self.column("label").max())
        file = self.paths[0].with_name("classes.txt")
        if not file.is_file():
            return numbered(last, "the label")
        names = tuple(_text(read_bytes(file), str(file)).splitlines())
        if len(names) <= last:
            raise UserError(
                f"{file} names {len(names)} classes, and labels go to {last}; add a line for "
                "every class"
            )
        return names

    def all_have(self, what: str, there: np.ndarray) -> bool:
        """True when all samples have it, False when none has; else UserError."""
        if there.any() and not there.all():
            name = self[int(np.argmin(there))].name
            raise UserError(f"{name}: there is no {what}, which others have; give all or none one")
        return bool(there.all())

    def fingerprint(self) -> str:
        """Digest of the shards' names, and of the keys, labels, places and sizes of what they hold;
        images are not read, and neither are attributes."""
        parts = [name for name in _layout(1).names or () if name != "attributes"]
        rows = (repack_fields(index[parts]).tobytes() for index in self._indices)
        both = zip(self.paths, rows, strict=True)
        return digest(*(digest(path.name, row) for path, row in both))


class _Sample(NamedTuple):
    """A sample of the shard in `path`; row: what the index says of it, see `_layout`."""

    path: Path
    row: Any
    open: Callable[[Path], "_Shard"]

    @property
    def name(self) -> str:
        return f"{self.path}, sample {self.row['key'].decode()}"

    def has(self, which: int) -> bool:
        return self.row["offset"][which] >= 0

    def part(self, which: int) -> bytes:
        return self.open(self.path).read(
            int(self.row["offset"][which]), int(self.row["size"][which])
        )

    def origin(self) -> tuple[str, int, int]:
        return self.name, *sides(self.part(IMAGE), self.name)

    def label_map(self) -> np.ndarray:
        return decode_classes(self.part(MAP), self.name)

    def record(self) -> dict[str, Any]:
        """The sample's .json; empty without one."""
        return _record(self.part(JSON), self.name) if self.has(JSON) else {}

    def captions(self) -> list[str]:
        if self.has(TEXT):
            return [_text(self.part(TEXT), self.name)]
        return captions_of(self.record())

    def attributes(self) -> dict[str, int]:
        return _attributes(self.record(), self.name)


class _Shard:
    """A file that several threads may read at once; closed when nobody holds it any more."""

    def __init__(self, path: Path):
        self._path = path
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); put it back") from None

    def __del__(self):
        if hasattr(self, "_file"):
            os.close(self._file)

    def read(self, start: int, count: int) -> bytes:
        data = os.pread(self._file, count, start)
        if len(data) < count:
            raise UserError(f"{self._path} has become shorter; put the whole shard back")
        return data


def _layout(key: int) -> np.dtype:
    """A row of an index.  key: bytes of the longest one.

    hash: that of the key; label: -1 without; captions: how many; offset, size: of the parts in
    the shard, -1 and 0 without; attributes: a number of their names, 0 without.
    """
    return np.dtype(
        [
            ("key", f"S{key}"),
            ("hash", "f8"),
            ("label", "i4"),
            ("captions", "i4"),
            ("offset", "i8", 4),
            ("size", "u4", 4),
            ("attributes", "u8"),
        ]
    )


def _index(path: Path) -> np.ndarray:
    """The shard's index, out of the cache where it is there already; UserError for a broken one."""
    try:
        kept = kept_array("shards", stamps([path], FORMAT), lambda: [_look_through(path)])
        return np.asarray(kept)  # rows of a plain array come faster
    except OSError as error:
        raise UserError(f"{path} cannot be indexed ({error.strerror or error})") from None


def _look_through(path: Path) -> np.ndarray:
    rows = []
    with path.open("rb") as file:
        read = lambda start, count: os.pread(file.fileno(), count, start)
        if read(0, 6).startswith(COMPRESSED):
            raise UserError(f"{path} is compressed, which has no random access; unpack it to .tar")
        members = _members(path, file, read)
        for key, group in itertools.groupby(members, lambda member: member[0]):
            parts = [(suffix, *place) for _, suffix, *place in group if _known(suffix)]
            if parts:  # not a README
                rows.append(_row(f"{path}, sample {key}", key, parts, read))
    if not rows:
        raise UserError(f"{path} holds no samples; WebDataset's are called KEY.jpg, KEY.txt, ...")
    index = np.zeros(len(rows), _layout(max(len(row[0]) for row in rows)))
    for name, column in zip(index.dtype.names, zip(*rows, strict=True), strict=True):
        index[name] = column
    return index


def _members(path: Path, file, read) -> Iterator[tuple[str, str, int, int]]:
    """Key, suffix, offset and size of the files in the shard; UserError where it is not whole."""
    fault = None
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
                found = MEMBER.fullmatch(member.name)
                if found and member.isreg() and not member.name.startswith("__"):
                    key, suffix = found.groups()
                    key = key.encode(errors="backslashreplace").decode()  # names that are not UTF-8
                    yield key, suffix.lower(), member.offset_data, member.size
            if read(tar.offset, BLOCK).strip(b"\0") or not read(tar.offset, BLOCK):
                fault = f"it breaks off after {tar.offset} bytes"
    except (tarfile.TarError, EOFError, ValueError) as error:
        fault = str(error)
    if fault:
        raise UserError(f"{path} is not a whole tar file ({fault}); copy or download it again")


def _row(name: str, key: str, parts: list, read) -> tuple:
    """The layout of one sample; see `_layout`."""
    offset, size, label, captions, attributes = [-1] * 4, [0] * 4, -1, 0, 0
    for suffix, start, count in parts:
        which = _part(suffix)
        if which is not None:
            if offset[which] >= 0:
                raise UserError(f"{name}: {suffix} is there twice, or beside another of its kind")
            offset[which], size[which] = start, count
        if suffix == "cls":
            label = _class(read(start, count), name)
    if offset[IMAGE] < 0:
        has = ", ".join(suffix for suffix, *_ in parts)
        raise UserError(f"{name} has no image, only {has}; its files must follow each other")
    if offset[JSON] >= 0:
        record = _record(read(offset[JSON], size[JSON]), name)
        captions = len(captions_of(record))
        if names := sorted(_attributes(record, name)):
            attributes = int(digest(*names), 16)
        given = record.get("label")
        if label < 0 and type(given) is int and given >= 0:
            label = given
    if offset[TEXT] >= 0:
        captions = 1
    if label >= LABELS:
        raise UserError(
            f"{name}: its label is {label}, and labels are numbers below {LABELS:,}; number the "
            "classes from 0"
        )
    return key.encode(), unit_hash(key), label, captions, offset, size, attributes


def _known(suffix: str) -> bool:
    return suffix == "cls" or _part(suffix) is not None


@functools.lru_cache(1000)
def _part(suffix: str) -> int | None:
    *before, last = suffix.split(".")
    if f".{last}" in suffixes():
        if not before or before[-1] in ("image", "img"):
            return IMAGE
        return MAP if before[-1] in MAPS else None
    return {"txt": TEXT, "caption": TEXT, "json": JSON}.get(suffix)


def _class(data: bytes, name: str) -> int:
    text = data.strip()
    if not text.isdigit():
        raise UserError(f"{name}: its .cls holds {text[:20]!r}; it is the number of its class")
    return int(text)


def _record(data: bytes, name: str) -> dict[str, Any]:
    try:
        record = json.loads(data)
    except ValueError as error:
        raise UserError(f"{name}: its .json cannot be read ({error}); mend it") from None
    return record if isinstance(record, dict) else {}


def _attributes(record: dict[str, Any], name: str) -> dict[str, int]:
    """The record's attributes; UserError where they are no whole numbers."""
    given = record.get("attributes") or {}
    if not isinstance(given, dict):
        raise UserError(f'{name}: its attributes are {given}; write them as {{"smiling": 1, ...}}')
    for attribute, value in given.items():
        if type(value) not in (int, bool) or abs(value) >= 2**31:
            raise UserError(
                f"{name}: {attribute} is {value}; attributes are whole numbers of 32 bits"
            )
    return given


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise UserError(f"{name}: its text is not UTF-8; save it as UTF-8") from None
