"""A user's own images: `folder:DIR`, `pairs:DIR`, `domains:DIR`."""

import csv
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jaxgen.data.images import SUFFIXES, decode
from jaxgen.data.source import Field, Source, digest, keep_split
from jaxgen.errors import UserError
from jaxgen.progress import progress

HELD_OUT_FOLDERS = ("test", "val", "validation")
PAIR = {"a": Field("image"), "b": Field("image")}
READABLE = "PNG, JPEG, WebP, BMP, TIFF or GIF"


@dataclasses.dataclass(frozen=True)
class Checked:
    """An image file that decodes: its BLAKE2 digest, height and width in pixels."""

    file: Path
    digest: str
    height: int
    width: int

    @property
    def origin(self) -> tuple[str, int, int]:
        """See `Source.origin`."""
        return str(self.file), self.height, self.width


def images_in(folder: Path) -> list[Path]:
    """Image files under `folder`, sorted; hidden ones are passed over, links are followed."""
    files, seen = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                files.append(Path(root, name))
    return sorted(files)


def check(files: Sequence[Path]) -> list[Checked]:
    """Decodes every file once; UserError names the first broken one and counts the others."""

    def check_one(file: Path) -> Checked | UserError:
        try:
            data = file.read_bytes()
            height, width, _ = decode(data, str(file)).shape
        except UserError as error:
            return error
        except OSError as error:
            return UserError(f"{file} cannot be read ({error.strerror}); mend it or move it away")
        return Checked(file, hashlib.blake2b(data, digest_size=8).hexdigest(), height, width)

    with ThreadPoolExecutor() as threads:
        checked = threads.map(check_one, files)
        results = list(progress(checked, "checking images", total=len(files), delay=2))
    broken = [result for result in results if isinstance(result, UserError)]
    if broken:
        more = f" (and {len(broken) - 1} more such files)" if len(broken) > 1 else ""
        raise UserError(f"{broken[0]}{more}")
    return results


def fingerprint(root: Path, *sides: Sequence[Checked], extra: Sequence[str] = ()) -> str:
    """Digest of names relative to `root` and contents; times and the place do not matter."""
    lines = [f"{c.file.relative_to(root)} {c.digest}" for side in sides for c in side]
    return digest(*lines, *extra)


def _existing(folder: Path, spec: str) -> Path:
    if not folder.exists():
        raise UserError(f"{spec}:{folder}: no such folder; check the path")
    if not folder.is_dir():
        raise UserError(f"{spec}:{folder} is a file; name the folder that holds the images")
    return folder


def _non_empty(files: list[Path], folder: Path, spec: str) -> list[Path]:
    if not files:
        raise UserError(f"{spec}: no images in {folder}; put {READABLE} files there")
    return files


def _split_folders(root: Path) -> dict[str, Path]:
    """Folders of the splits: train/ and test/ (or val/), train/ alone, or `root` for both."""
    if not (root / "train").is_dir():
        for name in HELD_OUT_FOLDERS:
            if (root / name).is_dir():
                raise UserError(f"{root} has {name}/ but no train/; move the others to train/")
        return {"train": root}
    tests = (root / name for name in HELD_OUT_FOLDERS)
    test = next((folder for folder in tests if folder.is_dir()), None)
    return {"train": root / "train"} | ({"test": test} if test else {})


def _kept(names: list[str], split: str, share: float | None, spec: str) -> list[int]:
    """Positions of the names in the split; all of them when it has its own folder (share None)."""
    if share is None:
        return list(range(len(names)))
    missing = f"{spec} holds out no test images; add train/ and test/ folders or hold out a share"
    return keep_split(names, split, share, missing)


def folder(root: Path, split: str = "train", held_out: float = 0.0) -> Source:
    """Images under `root`, with labels and captions where there are any.

    Labels: when every image lies in a sub-folder, the first-level sub-folder's name.
    Captions: `metadata.jsonl` or `metadata.csv` beside the images, with `file_name` (relative to
    it) and `caption` or `text`; then every image must have one.
    """
    spec = f"folder:{root}"
    folders = _split_folders(_existing(root, "folder"))
    base = folders.get(split, folders["train"])
    files = {side: _non_empty(images_in(side), side, spec) for side in folders.values()}
    labels = {side: _labels(side, files[side]) for side in files}
    label_names = sorted({name for side in labels.values() for name in side})
    number = {name: k for k, name in enumerate(label_names)}
    captions = _captions(base, files[base])

    names = [str(file.relative_to(base)) for file in files[base]]
    keep = _kept(names, split, None if "test" in folders else held_out, spec)
    checked = check([files[base][i] for i in keep])

    def read(i: int) -> dict:
        example = {"image": decode(checked[i].file)}
        if labels[base]:
            example["label"] = number[labels[base][keep[i]]]
        if captions:
            example["caption"] = captions[checked[i].file]
        return example

    words = [captions[image.file] for image in checked] if captions else []
    content = fingerprint(base, checked, extra=(*label_names, *words))
    fields = {"image": Field("image")}
    fields |= {"label": Field("label")} if labels[base] else {}
    fields |= {"caption": Field("caption")} if captions else {}
    return Source(
        length=len(keep),
        read=read,
        fingerprint=content,
        fields=fields,
        label_names=tuple(label_names if labels[base] else ()),
        measure=lambda i: checked[i].origin,
    )


def _labels(base: Path, files: list[Path]) -> list[str]:
    """The first-level sub-folder of each file; empty unless all files lie in sub-folders."""
    parts = [file.relative_to(base).parts for file in files]
    return [p[0] for p in parts] if all(len(p) > 1 for p in parts) else []


def _captions(base: Path, files: list[Path]) -> dict[Path, str]:
    """Captions by file from base/metadata.jsonl or .csv; empty without such a file."""
    table = next((t for t in (base / "metadata.jsonl", base / "metadata.csv") if t.is_file()), None)
    if table is None:
        return {}
    captions = {}
    for line, row in _rows(table):
        text = row.get("caption", row.get("text"))
        if not isinstance(row.get("file_name"), str) or not isinstance(text, str):
            raise UserError(f'{table}, line {line}: give "file_name" and "caption" (or "text")')
        captions[base / row["file_name"]] = text
    known = set(files)
    for file in captions:
        if file not in known:
            raise UserError(f"{table} names {file.relative_to(base)}, which is not there")
    for file in files:
        if file not in captions:
            raise UserError(
                f"{table} has no caption for {file.relative_to(base)}; add a line or move it away"
            )
    return captions


def _rows(table: Path):
    """(line number, row) of a .jsonl or .csv file."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{table} is not UTF-8 text; save it as UTF-8") from None
    lines = text.split("\n")  # not splitlines: a caption may hold U+2028
    if table.suffix == ".csv":
        reader = csv.DictReader(lines)
        for row in reader:
            yield reader.line_num, row
        return
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{table}, line {number} is not JSON ({error.msg})") from None
        if not isinstance(row, dict):
            raise UserError(f"{table}, line {number} is not a JSON object")
        yield number, row


def pairs(root: Path, split: str = "train", held_out: float = 0.0) -> Source:
    """a and b of the same scene: folders A/ and B/ with equal names (suffixes may differ), or
    files with a in the left half and b in the right."""
    spec = f"pairs:{root}"
    folders = _split_folders(_existing(root, "pairs"))
    base = folders.get(split, folders["train"])
    share = None if "test" in folders else held_out
    if (base / "A").is_dir() != (base / "B").is_dir():
        there, absent = ("A", "B") if (base / "A").is_dir() else ("B", "A")
        raise UserError(f"{spec}: {base / there} has no {absent}/ beside it; pairs need both")
    if not (base / "A").is_dir():
        return _side_by_side(base, split, share, spec)
    return matched(base / "A", base / "B", spec, lambda stems: _kept(stems, split, share, spec))


def matched(
    first: Path, second: Path, spec: str, keep: Callable[[list[str]], list[int]] | None = None
) -> Source:
    """a and b: the images of two folders that have one name, but for their suffixes.

    keep: the names' indices that count, all by default.  UserError for one without a partner, or
    of other proportions.
    """
    a, b = (_by_stem(folder, spec) for folder in (first, second))
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
    checked = check([side[stem] for side in (a, b) for stem in stems])
    one, two = checked[: len(stems)], checked[len(stems) :]
    for x, y in zip(one, two, strict=True):
        if abs(x.width * y.height - x.height * y.width) > 0.02 * x.width * y.height:
            raise UserError(
                f"{x.file} ({x.width}x{x.height}) and {y.file} ({y.width}x{y.height}) differ in "
                "proportions; cut both alike"
            )

    def measure(i: int) -> tuple[str, int, int]:
        if one[i].origin[1:] != two[i].origin[1:]:
            raise UserError(f"{one[i].file} and {two[i].file} differ in size; make them equal")
        return one[i].origin

    return Source(
        length=len(stems),
        read=lambda i: {"a": decode(one[i].file), "b": decode(two[i].file)},
        fingerprint=digest(fingerprint(first, one), fingerprint(second, two)),
        fields=PAIR,
        measure=measure,
    )


def _by_stem(folder: Path, spec: str) -> dict[str, Path]:
    files = _non_empty(images_in(folder), folder, spec)
    found: dict[str, Path] = {}
    for file in files:
        stem = str(file.relative_to(folder).with_suffix(""))
        if stem in found:
            raise UserError(f"{found[stem]} and {file} are both called {stem}; rename one")
        found[stem] = file
    return found


def _side_by_side(base: Path, split: str, share: float | None, spec: str) -> Source:
    files = _non_empty(images_in(base), base, spec)
    keep = _kept([str(file.relative_to(base)) for file in files], split, share, spec)
    checked = check([files[i] for i in keep])
    for image in checked:
        if image.width % 2:
            raise UserError(
                f"{image.file} is {image.width} pixels wide; a and b side by side need an even "
                "width, or put them into folders A/ and B/"
            )

    def read(i: int) -> dict:
        image = decode(checked[i].file)
        middle = image.shape[1] // 2
        return {"a": image[:, :middle], "b": image[:, middle:]}

    return Source(
        length=len(keep),
        read=read,
        fingerprint=fingerprint(base, checked),
        fields=PAIR,
        measure=lambda i: (str(checked[i].file), checked[i].height, checked[i].width // 2),
    )


def domains(root: Path, split: str = "train", held_out: float = 0.0) -> tuple[Source, Source]:
    """Unpaired a and b: folders trainA/ and trainB/, and testA/ and testB/ for the test split."""
    spec = f"domains:{_existing(root, 'domains')}"
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
        names = [str(file.relative_to(folder)) for file in files]
        keep = _kept(names, split, None if own_test else held_out, spec)
        sources.append(_domain(side.lower(), folder, check([files[i] for i in keep])))
    return tuple(sources)


def _domain(name: str, folder: Path, checked: list[Checked]) -> Source:
    return Source(
        length=len(checked),
        read=lambda i: {name: decode(checked[i].file)},
        fingerprint=fingerprint(folder, checked),
        fields={name: Field("image")},
        measure=lambda i: checked[i].origin,
    )
