"""A user's own images: `folder:DIR`, `pairs:DIR`, `domains:DIR`."""

import collections
import dataclasses
import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxgen.data import metadata
from jaxgen.data.images import Header, decode, decode_classes, header, read_bytes, suffixes
from jaxgen.data.metadata import Metadata, name_in
from jaxgen.data.parts import map_field, there
from jaxgen.data.reading import each, readable, tell
from jaxgen.data.source import Field, Source, digest, in_order, keep_split
from jaxgen.errors import MissingData, UserError

HELD_OUT_FOLDERS = ("test", "val", "validation")
MAPS = "masks"
PAIR = {"a": Field("image"), "b": Field("image")}


@dataclasses.dataclass(frozen=True)
class Checked:
    """An image file: its BLAKE2 digest, its header, and by how much it is reduced when it is
    decoded (see `decode`)."""

    file: Path
    digest: str
    header: Header
    reduce: int = 1

    @property
    def origin(self) -> tuple[str, int, int]:
        """See `Source.origin`."""
        return str(self.file), self.header.height, self.header.width

    def decode(self) -> np.ndarray:
        """uint8 [H, W, C].  UserError for a broken file."""
        return decode(self.file, reduce=self.reduce)


def files_in(folder: Path, without: Path | None = None) -> Iterator[Path]:
    """The files under `folder` (but for those under `without`) that are not hidden; links are
    followed, but not back.  UserError for a folder that cannot be read."""

    def refuse(error: OSError) -> None:
        with readable(error.filename):
            raise error

    seen = set()
    for root, inner, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(root)
        if real in seen:  # a link that leads back
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(x for x in inner if not x.startswith(".") and Path(root, x) != without)
        yield from (Path(root, name) for name in sorted(names) if not name.startswith("."))


def images_in(folder: Path, without: Path | None = None) -> list[Path]:
    """The image files of `files_in`, sorted.  A line tells of files of other kinds."""
    files, others = [], collections.Counter()
    tables = [folder / name for name in metadata.TABLES]
    for file in files_in(folder, without):
        suffix = file.suffix.lower()
        if suffix in suffixes():
            files.append(file)
        elif file not in tables:
            others[suffix or "without a suffix"] += 1
    if others:
        counts = ", ".join(f"{n} {suffix}" for suffix, n in others.most_common())
        read = f"{len(files)} image{'s' * (len(files) != 1)}"
        tell(f"{folder}: {read}; passed over, as Pillow does not read them: {counts}")
    return sorted(files, key=lambda file: Path(name_in(file, folder)))


def check(files: Sequence[Path], least: int = 0) -> list[Checked]:
    """The files' digests and headers; large JPEGs will be reduced where `Header.reduction` of
    `least` can.  UserError names the first broken one and counts the others; what is broken behind
    its header shows when it is decoded."""

    def look(file: Path) -> Checked:
        data = read_bytes(file)
        head = header(data, str(file))
        content = hashlib.blake2b(data, digest_size=8).hexdigest()
        return Checked(file, content, head, head.reduction(least))

    try:
        return each("looking at images", look, files)
    except UserError:
        each("checking images", decode, files)  # those that are broken behind their headers, too
        raise


def decodes(*sides: Sequence[Checked]) -> Callable[[], None]:
    """The `Source.check` of these files."""

    def decode_all() -> None:
        each("checking images", lambda image: image.decode().nbytes, [x for s in sides for x in s])

    return decode_all


def fingerprint(root: Path, *sides: Sequence[Checked], extra: Sequence[str] = ()) -> str:
    """Digest of names relative to `root` and contents, and of how images are reduced; times and
    the place do not matter."""
    lines = [f"{name_in(c.file, root)} {c.digest}" for side in sides for c in side]
    reduced = [f"{c.digest} reduced by {c.reduce}" for s in sides for c in s if c.reduce > 1]
    return digest(*lines, *extra, *reduced)


def spec_of(path: Path) -> str:
    """The SPEC of a folder (of an image file: its folder) as it is laid out."""
    root = path if path.is_dir() else path.parent
    kinds = {"domains": ("trainA", "trainB"), "pairs": ("A", "B"), "folder": ()}
    bases = (root, root / "train")
    fits = lambda parts: any(all((base / part).is_dir() for part in parts) for base in bases)
    return f"{next(kind for kind, parts in kinds.items() if fits(parts))}:{root}"


def existing(folder: Path, spec: str) -> Path:
    """The folder.  UserError where there is none."""
    if not folder.exists():
        where = "" if folder.is_absolute() else f" in {Path.cwd()}"
        raise MissingData(f"{spec}:{folder}: no such folder{where}; check the path")
    if not folder.is_dir():
        raise UserError(f"{spec}:{folder} is a file; name the folder that holds the images")
    return folder


def _non_empty(files: list[Path], folder: Path, spec: str) -> list[Path]:
    if not files:
        raise UserError(f"{spec}: no images in {folder}; put PNG, JPEG or other image files there")
    return files


def split_folders(root: Path, kinds: Collection[str]) -> dict[str, Path]:
    """Folders of the splits: train/ and test/ (or val/), train/ alone, or `root` for both.  A line
    tells of others beside them that have files of these kinds."""
    if not (root / "train").is_dir():
        for name in HELD_OUT_FOLDERS:
            if (root / name).is_dir():
                raise UserError(f"{root} has {name}/ but no train/; move the others to train/")
        return {"train": root}
    known = {"train", MAPS, *HELD_OUT_FOLDERS}
    others = [x for x in sorted(root.iterdir()) if x.is_dir() and x.name not in known]
    fits = lambda folder: any(file.suffix.lower() in kinds for file in files_in(folder))
    if unused := [f"{x.name}/" for x in others if not x.name.startswith(".") and fits(x)]:
        tell(
            f"{root}: {', '.join(unused)} beside train/ {'is' if len(unused) == 1 else 'are'} not "
            "used; if all of them are classes, rename train/"
        )
    tests = (root / name for name in HELD_OUT_FOLDERS)
    test = next((folder for folder in tests if folder.is_dir()), None)
    return {"train": root / "train"} | ({"test": test} if test else {})


def kept(names: list[str], split: str, share: float | None, spec: str) -> list[int]:
    """Positions of the names in the split; all of them when it has its own folder (share None)."""
    if share is None:
        return list(range(len(names)))
    missing = f"{spec} holds out no test images; add train/ and test/ folders or hold out a share"
    return keep_split(names, split, share, missing)


def folder(root: Path, split: str = "train", held_out: float = 0.0, least: int = 0) -> Source:
    """Images under `root`, with what lies beside them.

    Label: when every image lies in a sub-folder, the first-level sub-folder's name.
    Caption (one or several), attributes, label: of `metadata.jsonl` or `metadata.csv` beside the
    images, by `file_name`; see `jaxgen.data.metadata`.
    Mask or classes: `masks/` beside the images has a PNG of each image's name and size.  When all
    their values are 0 or 255 they are masks, else label maps.
    least: see `check`.
    """
    spec = f"folder:{root}"
    folders = split_folders(existing(root, "folder"), suffixes())
    base = folders.get(split, folders["train"])
    for name in (*metadata.TABLES, MAPS):
        if root not in folders.values() and (root / name).exists():
            tell(f"{root / name} is not used; move it beside the images, into {folders['train']}")
    files = {s: _non_empty(images_in(s, s / MAPS), s, spec) for s in folders.values()}
    tables = {side: metadata.read(side, files[side]) for side in files}
    table = tables[base]
    _agree(list(tables.values()))
    labels = {side: tables[side].labels or labels_of(side, files[side]) for side in files}
    number = numbers(labels)
    maps = {side: _maps(side, files[side]) for side in files}
    same_fields("label maps", maps)
    same_fields("captions", {side: tables[side].captions for side in files})
    same_fields("attributes", {side: tables[side].attributes for side in files})
    label_map = None
    if maps[base]:
        label_map = map_field(np.any([x.there for m in maps.values() for x in m.values()], axis=0))

    names = [name_in(file, base) for file in files[base]]
    keep = kept(names, split, None if "test" in folders else held_out, spec)
    checked = check([files[base][i] for i in keep], least)
    fields = {"image": Field("image")}
    fields |= {label_map.kind: label_map} if label_map else {}
    fields |= {"label": Field("label")} if labels[base] else {}
    fields |= {"attributes": Field("attributes")} if table.attributes else {}
    fields |= {"caption": Field("caption")} if table.captions else {}
    for image in checked if label_map else ():
        maps[base][image.file].check_size(image)

    def read(i: int) -> dict:
        file = checked[i].file
        example: dict = {"image": checked[i].decode()}
        if label_map:
            example[label_map.kind] = decode_classes(maps[base][file].file)
        if labels[base]:
            example["label"] = number[labels[base][file]]
        if table.attributes:
            example["attributes"] = np.array(table.attributes[file], np.int32)
        if table.captions:
            example["caption"] = table.captions[file][0]
        return example

    def captions(i: int) -> tuple[str, ...]:
        return table.captions[checked[i].file]

    said = [table.said(image.file) for image in checked]
    drawn = [maps[base][image.file].digest for image in checked] if label_map else []
    extra = (*number, *(text for texts in said for text in texts), *table.attribute_names)
    return Source(
        length=len(keep),
        read=read,
        fingerprint=fingerprint(base, checked, extra=(*extra, *drawn)),
        fields=fields,
        label_names=tuple(number),
        attribute_names=table.attribute_names,
        measure=lambda i: checked[i].origin,
        captions=captions if table.captions else None,
        check=decodes(checked),
    )


def labels_of(base: Path, files: list[Path]) -> dict[Path, str]:
    """The first-level sub-folder of each file; empty unless all files lie in sub-folders."""
    parts = {file: Path(name_in(file, base)).parts for file in files}
    return {f: p[0] for f, p in parts.items()} if all(len(p) > 1 for p in parts.values()) else {}


def numbers(labels: Mapping[Path, Mapping[Path, str]]) -> dict[str, int]:
    """The numbers of the labels' names in all splits together.  UserError where one split has
    labels and another none."""
    same_fields("labels", labels)
    names = in_order(name for side in labels.values() for name in side.values())
    return {name: k for k, name in enumerate(names)}


def same_fields(what: str, sides: Mapping[Path, Collection]) -> None:
    """UserError where one split has such fields and another none."""
    having, lacking = ([x for x in sides if bool(sides[x]) == there] for there in (True, False))
    if having and lacking:
        raise UserError(
            f"{having[0]} has {what}, and {lacking[0]} has none; give all of its images some, or "
            f"take those of {having[0].name}/ away"
        )


def _agree(tables: list[Metadata]) -> None:
    """UserError where the tables of the splits have different attributes; tells of columns that
    are of no use."""
    first, *others = [table for table in tables if table.attributes] or [None]
    for other in others:
        if other.attribute_names != first.attribute_names:
            one, two = (", ".join(t.attribute_names) for t in (first, other))
            raise UserError(
                f"{first.table} has the attributes {one}, and {other.table} {two}; give both the "
                "same, in one order"
            )
    for table in tables:
        if table.unused:
            tell(f"{table.table}: columns that are not used: {', '.join(table.unused)}")


@dataclasses.dataclass(frozen=True)
class LabelMap:
    """The file of a label map, its BLAKE2 digest and sides; there: its numbers, bool [256]."""

    file: Path
    digest: str
    height: int
    width: int
    there: np.ndarray

    def check_size(self, image: Checked) -> None:
        """UserError where it does not lie on the image."""
        if (self.height, self.width) != image.origin[1:]:
            raise UserError(
                f"{self.file} is {self.height}x{self.width} pixels (height x width), and "
                f"{image.file} {image.header.height}x{image.header.width}; make them equal"
            )


def _maps(base: Path, files: list[Path]) -> dict[Path, LabelMap]:
    """The label map of each image, masks/NAME.png; empty without that folder."""
    folder = base / MAPS
    if not folder.is_dir():
        return {}

    def look(file: Path) -> LabelMap:
        data = read_bytes(file)
        if data[:8] != b"\x89PNG\r\n\x1a\n":
            raise UserError(
                f"{file} is no PNG, as other formats may change its numbers; save it as one"
            )
        array = decode_classes(data, str(file))
        content = hashlib.blake2b(data, digest_size=8).hexdigest()
        return LabelMap(file, content, *array.shape[:2], there(array))

    found, stems = _by_stem(images_in(folder), folder), _by_stem(files, base)
    if alone := sorted(set(stems) ^ set(found)):
        more = f" (and {len(alone) - 1} more such)" if len(alone) > 1 else ""
        lacking = f"no label map {folder / alone[0]}.png" if alone[0] in stems else "no image"
        raise UserError(
            f"{(stems | found)[alone[0]]} has {lacking}{more}; add it, or rename {MAPS}/ if it "
            "holds no label maps"
        )
    looked = each("reading label maps", look, [found[name] for name in stems])
    return dict(zip(stems.values(), looked, strict=True))


def pairs(root: Path, split: str = "train", held_out: float = 0.0, least: int = 0) -> Source:
    """a and b of the same scene: folders A/ and B/ with equal names (suffixes may differ), or
    files with a in the left half and b in the right.  least: see `check`."""
    spec = f"pairs:{root}"
    folders = split_folders(existing(root, "pairs"), suffixes())
    base = folders.get(split, folders["train"])
    share = None if "test" in folders else held_out
    if (base / "A").is_dir() != (base / "B").is_dir():
        there, absent = ("A", "B") if (base / "A").is_dir() else ("B", "A")
        raise UserError(f"{spec}: {base / there} has no {absent}/ beside it; pairs need both")
    if not (base / "A").is_dir():
        return _side_by_side(base, split, share, spec, least)
    keep = lambda stems: kept(stems, split, share, spec)
    return matched(base / "A", base / "B", spec, keep, least)


def matched(
    first: Path,
    second: Path,
    spec: str,
    keep: Callable[[list[str]], list[int]] | None = None,
    least: int = 0,
) -> Source:
    """a and b: the images of two folders that have one name, but for their suffixes.

    keep: the names' indices that count, all by default.  least: see `check`.  UserError for one
    without a partner, or of other proportions.
    """
    a, b = (_by_stem(_non_empty(images_in(x), x, spec), x) for x in (first, second))
    alone = sorted(set(a) ^ set(b))
    if alone:
        there, absent = (first, second) if alone[0] in a else (second, first)
        more = f" (and {len(alone) - 1} more such)" if len(alone) > 1 else ""
        raise UserError(
            f"{spec}: {there.name}/{alone[0]} has no partner in {absent.name}/{more}; give both "
            "one name"
        )
    stems = sorted(a)
    stems = [stems[i] for i in keep(stems)] if keep else stems
    checked = check([side[stem] for side in (a, b) for stem in stems], least)
    one, two = checked[: len(stems)], checked[len(stems) :]
    for i, (x, y) in enumerate(zip(one, two, strict=True)):
        (high, wide, _), (tall, broad, _) = x.header, y.header
        if abs(wide * tall - high * broad) > 0.02 * wide * tall:
            raise UserError(
                f"{x.file} ({wide}x{high}) and {y.file} ({broad}x{tall}) differ in proportions; "
                "cut both alike"
            )
        reduce = min(x.reduce, y.reduce)  # both alike, so that they stay on each other
        one[i], two[i] = (dataclasses.replace(side, reduce=reduce) for side in (x, y))

    def measure(i: int) -> tuple[str, int, int]:
        if one[i].origin[1:] != two[i].origin[1:]:
            raise UserError(f"{one[i].file} and {two[i].file} differ in size; make them equal")
        return one[i].origin

    return Source(
        length=len(stems),
        read=lambda i: {"a": one[i].decode(), "b": two[i].decode()},
        fingerprint=digest(fingerprint(first, one), fingerprint(second, two)),
        fields=PAIR,
        measure=measure,
        check=decodes(one, two),
    )


def _by_stem(files: Sequence[Path], folder: Path) -> dict[str, Path]:
    """The files by their names in the folder without suffixes."""
    found: dict[str, Path] = {}
    for file in files:
        stem = str(Path(name_in(file, folder)).with_suffix(""))
        if stem in found:
            raise UserError(f"{found[stem]} and {file} are both called {stem}; rename one")
        found[stem] = file
    return found


def _side_by_side(base: Path, split: str, share: float | None, spec: str, least: int) -> Source:
    files = _non_empty(images_in(base), base, spec)
    keep = kept([name_in(file, base) for file in files], split, share, spec)
    checked = check([files[i] for i in keep])
    for i, image in enumerate(checked):
        width = image.header.width
        if width % 2:
            raise UserError(
                f"{image.file} is {width} pixels wide; a and b side by side need an even "
                "width, or put them into folders A/ and B/"
            )
        half = image.header._replace(width=width // 2)
        if not width % (2 * (reduce := half.reduction(least))):  # the middle stays in the middle
            checked[i] = dataclasses.replace(image, reduce=reduce)

    def read(i: int) -> dict:
        image = checked[i].decode()
        middle = image.shape[1] // 2
        return {"a": image[:, :middle], "b": image[:, middle:]}

    def measure(i: int) -> tuple[str, int, int]:
        name, height, width = checked[i].origin
        return name, height, width // 2

    return Source(
        length=len(keep),
        read=read,
        fingerprint=fingerprint(base, checked),
        fields=PAIR,
        measure=measure,
        check=decodes(checked),
    )


def domains(
    root: Path, split: str = "train", held_out: float = 0.0, least: int = 0
) -> tuple[Source, Source]:
    """Unpaired a and b: folders trainA/ and trainB/, and testA/ and testB/ for the test split.
    least: see `check`."""
    spec = f"domains:{existing(root, 'domains')}"
    tests = [root / f"test{side}" for side in "AB"]
    own_test = all(folder.is_dir() for folder in tests)
    if not own_test and any(folder.is_dir() for folder in tests):
        raise UserError(f"{spec} has only one of testA/ and testB/; give both or none")
    part = "test" if own_test and split == "test" else "train"
    sources = []
    for side in "AB":
        folder = root / f"{part}{side}"
        if not folder.is_dir():
            raise UserError(f"{spec} has no {folder.name}/; it needs trainA/ and trainB/")
        files = _non_empty(images_in(folder), folder, spec)
        names = [name_in(file, folder) for file in files]
        keep = kept(names, split, None if own_test else held_out, spec)
        sources.append(_domain(side.lower(), folder, check([files[i] for i in keep], least)))
    return tuple(sources)


def _domain(name: str, folder: Path, checked: list[Checked]) -> Source:
    return Source(
        length=len(checked),
        read=lambda i: {name: checked[i].decode()},
        fingerprint=fingerprint(folder, checked),
        fields={name: Field("image")},
        measure=lambda i: checked[i].origin,
        check=decodes(checked),
    )
