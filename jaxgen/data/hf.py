"""Sets of Hugging Face `datasets` in parquet form in a local folder: `hf:DIR`.

Rows of a parquet file cannot be read alone, so `datasets` writes the set into the cache once, as
an Arrow file that is mapped into memory.
"""

import functools
import glob
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.data.folders import existing, files_in
from jaxgen.data.images import decode_classes, sides
from jaxgen.data.parts import CAPTIONS, MAPS, look_through, only, picture, read_map
from jaxgen.data.reading import readable
from jaxgen.data.source import (
    Field,
    Source,
    digest,
    in_order,
    keep_hashed,
    numbered,
    unit_hash,
)
from jaxgen.errors import MissingData, NoSplit, UserError
from jaxgen.files import kept_folder

# Words in a file's name that say its split; "test" is the first of the others that is there.
SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "valid", "val", "dev"),
}
MAGIC = b"PAR1"  # begins and ends a parquet file


def hf(root: Path, split: str = "train", held_out: float = 0.0, least: int = 0) -> Source:
    """The rows of the .parquet files below `root`.

    Columns: `image`, or the only one of images; a label map, another of images that is called
    `mask`, `label`, `annotation`, ...; `label` (classes, numbers or names); attributes (other
    columns of classes or truth values, and lists of classes, of which each is an attribute);
    `caption`, `text`, ... (texts, or lists of them).  Others are not read.
    split: the files' names say it (train, test, validation); without a test split "test" is the
    share `held_out` of train, by the hash of the row's number.
    least: see `picture`.
    Raises UserError.
    """
    files = _files(root)
    test = next((name for name in ("test", "validation") if name in files), None)
    own = test if test and split == "test" else "train"
    ends = {file: _footer(file) for split in files for file in files[split]}
    prints = [digest(str(file.relative_to(root)), ends[file]) for file in files[own]]
    splits = _load(root, files)
    keep: Any = range(len(splits[own]))
    if test is None and (held_out or split == "test"):
        missing = f"hf:{root} has no test split; hold out a share of it"
        keep = keep_hashed([unit_hash(str(k)) for k in keep], split, held_out, missing)
    rows = _Rows(f"hf:{root}", splits, own)
    fields = rows.fields(files["train"])

    def read(i: int) -> dict[str, Any]:
        return rows.read(int(keep[i]), fields, least)

    counts = rows.caption_counts()
    return Source(
        length=len(keep),
        read=read,
        fingerprint=digest(*prints, *rows.label_names, own, str(held_out)),
        fields=fields,
        label_names=rows.label_names,
        attribute_names=rows.attribute_names,
        measure=lambda i: rows.origin(int(keep[i])),
        captions=None if counts is None else lambda i: rows.captions(int(keep[i])),
        caption_counts=None if counts is None else counts[keep],
    )


def _files(root: Path) -> dict[str, list[Path]]:
    """The .parquet files of each split, by name."""
    found: dict[str, list[Path]] = {}
    for file in sorted(files_in(existing(root, "hf"))):
        if file.suffix != ".parquet":
            continue
        words = re.split("[^a-z]+", str(file.relative_to(root)).lower())
        said = [split for word in words for split, names in SPLITS.items() if word in names]
        found.setdefault(said[-1] if said else "train", []).append(file)
    if not found:
        raise MissingData(f"hf:{root}: no .parquet files in it; write the set by to_parquet")
    if "train" not in found:
        raise UserError(f"hf:{root} has no train split; it has {', '.join(found)}")
    return found


def _footer(file: Path) -> bytes:
    """The end of a parquet file, which says where all its parts lie; UserError without one."""
    with readable(file), file.open("rb") as opened:
        size = opened.seek(0, 2)
        opened.seek(max(size - 8, 0))
        end = opened.read()
        length = int.from_bytes(end[:4], "little") + 8
        if end[4:] != MAGIC or length > size:
            raise UserError(f"{file} is not a whole parquet file; copy or download it again")
        opened.seek(size - length)
        return opened.read()


def _load(root: Path, files: dict[str, list[Path]]) -> Any:
    """The splits as Arrow tables on the disk, by `datasets`."""
    try:
        import datasets
        from datasets import config as datasets_config
    except ImportError:
        raise UserError(f'hf:{root} needs datasets: pip install "jaxgen[hf]"') from None
    names = {split: [glob.escape(str(file)) for file in own] for split, own in files.items()}
    folder = str(kept_folder("huggingface"))
    datasets_config.HF_UPDATE_DOWNLOAD_COUNTS = False  # it would tell huggingface.co
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        return datasets.load_dataset("parquet", data_files=names, cache_dir=folder)
    except Exception as error:  # Arrow and datasets raise many kinds
        while error.__cause__:
            error = error.__cause__
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"hf:{root} cannot be read ({reason}); all its files need the same columns, and the "
            f"cache {folder} room for them"
        ) from None


class _Rows:
    """One split of a set, and what its columns are."""

    def __init__(self, spec: str, splits: Any, split: str):
        from datasets import ClassLabel, Image, List

        self._spec, self._splits, self._split = spec, splits, split
        self._features = features = splits[split].features
        images = [name for name in features if self._is_image(name)]
        maps = [name for name in (*MAPS, "label") if name in images]
        image = only([name for name in images if name not in maps] or images, ("image", "img"))
        if image is None:
            raise UserError(
                f"{spec} has no column that is the image; its columns are {', '.join(features)}"
            )
        classes = [name for name, x in features.items() if isinstance(x, ClassLabel)]
        label = "label" if self._is_label("label") else only(classes, ()) or ""
        self._image, self._label = image, label
        self._map = next((name for name in maps if name != image), "")
        self._flags = [
            name
            for name, x in features.items()
            if name != label and (isinstance(x, ClassLabel) or getattr(x, "dtype", "") == "bool")
        ]
        self._tags = [
            name
            for name, x in features.items()
            if isinstance(x, List) and isinstance(x.feature, ClassLabel)
        ]
        self._caption = next((name for name in CAPTIONS if self._is_caption(name)), "")
        used = [image, label, self._map, *self._flags, *self._tags, self._caption]
        table = splits[split].select_columns([name for name in used if name])
        for name in filter(None, used):
            if count := table.data.column(name).null_count:
                bare = name == label and split != "train" and count == len(table)
                refused = NoSplit if bare else UserError  # as tests of the Hub may have no labels
                raise refused(f"{spec}: {count} rows of {split} have no {name}; leave them out")
            if isinstance(features[name], Image):
                table = table.cast_column(name, Image(decode=False))
        self._table = table
        self.label_names = self._names(label) if label else ()
        self._number = {name: k for k, name in enumerate(self.label_names)}
        tags = [tag for name in self._tags for tag in features[name].feature.names]
        self.attribute_names = (*self._flags, *tags)

    def _is_image(self, name: str) -> bool:
        from datasets import Image

        feature = self._features[name]
        whole = isinstance(feature, dict) and set(feature) == {"bytes", "path"}
        return whole or isinstance(feature, Image) or getattr(feature, "dtype", "") == "binary"

    def _is_label(self, name: str) -> bool:
        return bool(re.fullmatch("u?int.*|(large_)?string", self._dtype(name)))

    def _is_caption(self, name: str) -> bool:
        types = self._dtype(name), self._dtype(name, inside=True)
        return any(one.endswith("string") for one in types)

    def _dtype(self, name: str, inside: bool = False) -> str:
        """The type of a column, or of the entries of a column of lists; empty for others."""
        feature = self._features.get(name)
        if inside:
            feature = getattr(feature, "feature", None)
        return str(getattr(feature, "dtype", "")) if not isinstance(feature, dict) else ""

    def _names(self, label: str) -> tuple[str, ...]:
        """Names of the classes, the same in every split, also beside one without labels."""
        found = {split: set(rows.unique(label)) - {None} for split, rows in self._splits.items()}
        labels = set().union(*found.values())
        if self._dtype(label).endswith("string"):
            return tuple(in_order(labels))
        own = found[self._split] or {0}
        if (least := min(own)) < 0:  # -1 says that there is none
            refused = NoSplit if self._split != "train" and max(own) < 0 else UserError
            raise refused(
                f"{self._spec}, {self._split}: {label} goes down to {least}, not to 0; leave out "
                "the rows that have none"
            )
        known = getattr(self._features[label], "names", None)
        return tuple(known or numbered(max(labels, default=0), f"{self._spec}: {label}"))

    def name(self, k: int) -> str:
        return f"{self._spec}, row {k} of {self._split}"

    def fields(self, files: list[Path]) -> dict[str, Field]:
        """files: of the training split, which says what label maps are."""
        label_map = None
        if self._map:
            train = _Rows(self._spec, self._splits, "train") if self._split != "train" else self
            label_map = look_through(self._spec, train._label_map, len(train._table), files)
        return {
            "image": Field("image"),
            **({label_map.kind: label_map} if label_map else {}),
            **({"label": Field("label")} if self._label else {}),
            **({"attributes": Field("attributes")} if self.attribute_names else {}),
            **({"caption": Field("caption")} if self._caption else {}),
        }

    def _bytes(self, row: dict[str, Any], column: str, k: int) -> bytes:
        found = row[column]
        found = found["bytes"] if isinstance(found, dict) else found
        if not found:
            raise UserError(
                f"{self.name(k)}: {column} holds no image, only a path; write the set by "
                "to_parquet, which puts the images in"
            )
        return found

    @functools.cached_property
    def _images(self) -> Any:
        return self._table.select_columns([self._image])

    @functools.cached_property
    def _maps(self) -> Any:
        return self._table.select_columns([self._map])

    @functools.cached_property
    def _captions(self) -> Any:
        return self._table.select_columns([self._caption])

    def origin(self, k: int) -> tuple[str, int, int]:
        name = self.name(k)
        return name, *sides(self._bytes(self._images[k], self._image, k), name)

    def _label_map(self, k: int) -> np.ndarray:
        return decode_classes(self._bytes(self._maps[k], self._map, k), self.name(k))

    def captions(self, k: int) -> list[str]:
        found = self._captions[k][self._caption]
        return found if isinstance(found, list) else [found]

    def caption_counts(self) -> np.ndarray | None:
        """The number of captions of each row; None without a column of them."""
        if not self._caption:
            return None
        if self._dtype(self._caption).endswith("string"):
            return np.ones(len(self._table), np.int32)
        lists = self._table.data.column(self._caption).chunks
        counts = np.concatenate([part.value_lengths().to_numpy() for part in lists])
        if not counts.all():
            raise UserError(
                f"{self.name(int(np.argmin(counts)))} has no {self._caption}; leave it out"
            )
        return counts

    def read(self, k: int, fields: dict[str, Field], least: int) -> dict[str, Any]:
        row, name = self._table[k], self.name(k)
        image = self._bytes(row, self._image, k)
        example: dict[str, Any] = {"image": picture(image, name, least)}
        for kind in ("mask", "classes"):
            if kind in fields:
                example[kind] = read_map(self._bytes(row, self._map, k), name, kind, image)
        if self._label:
            label = row[self._label]
            example["label"] = self._number[label] if isinstance(label, str) else int(label)
        if self.attribute_names:
            tags = [
                number in row[tag]
                for tag in self._tags
                for number in range(self._features[tag].feature.num_classes)
            ]
            flags = [row[flag] for flag in self._flags]
            example["attributes"] = np.array([*flags, *tags], np.int32)
        if self._caption:
            found = row[self._caption]
            example["caption"] = found[0] if isinstance(found, list) else found
        return example
