"""Sets that tensorflow-datasets has prepared, read without TensorFlow and without the network."""

import functools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.data.images import decode, decode_classes, sides
from jaxgen.data.parts import CAPTIONS, MAPS, map_kind, only, read_map
from jaxgen.data.source import Field, Source, digest, keep_split
from jaxgen.errors import NoSplit, UserError
from jaxgen.files import expanded

VERSION = re.compile(r"\d+\.\d+\.\d+")
NO_CAPTION = {"file", "filename", "id", "key", "path", "url"}  # words in the names of other texts
TESTS = ("test", "validation", "val")


def data_folder() -> Path:
    """$TFDS_DATA_DIR, else ~/tensorflow_datasets, as tensorflow-datasets has it."""
    folder = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return expanded(folder, "set TFDS_DATA_DIR to the folder of the sets")


def prepare_command(name: str) -> str:
    """The shell command that downloads and prepares the set as array_record.

    tensorflow-datasets' own command `tfds build` does not start without apache-beam.
    """
    code = (
        "import tensorflow_datasets as tfds; "
        f"tfds.builder('{name}', file_format='array_record').download_and_prepare()"
    )
    return f'pip install "jaxgen[tfds]" && python -c "{code}"'


def tfds(name: str, split: str = "train", held_out: float = 0.0) -> tuple[Source, ...]:
    """The prepared set NAME[/CONFIG], in its newest version.

    Entries: `image` (or `a` and `b` of a set with splits trainA and trainB, unpaired), `label`
    where it has classes, `attributes` where it has more classes or truth values, `mask` or
    `classes` where it has a label map, `caption` where it has a text.  The test split is the set's
    test or validation split, else the share `held_out` of train.  UserError without network access
    when the set is not prepared or is not in the array_record format.
    """
    builder = _builder(name)
    splits = set(builder.info.splits)
    if {"trainA", "trainB"} <= splits:
        sides = [f"{split}{side}" for side in "AB"]
        if not set(sides) <= splits:
            raise NoSplit(f"tfds:{name} has no {split} split; it has {_listed(splits)}")
        return tuple(
            _source(
                *(builder, name, own, range(builder.info.splits[own].num_examples), key),
                train=f"train{key.upper()}",
            )
            for own, key in zip(sides, "ab", strict=True)
        )
    if "train" not in splits:
        raise UserError(f"tfds:{name} has no train split; it has {_listed(splits)}")
    test = next((s for s in TESTS if s in splits), None)
    own = test if test and split == "test" else "train"
    count = builder.info.splits[own].num_examples
    keep = range(count)
    if test is None:
        missing = f"tfds:{name} has no test split; hold out a share of it"
        keep = keep_split([str(i) for i in keep], split, held_out, missing)
    return (_source(builder, name, own, keep, "image"),)


def _listed(names) -> str:
    return ", ".join(sorted(names))


def _builder(name: str):
    """The read-only builder of the newest prepared version."""
    if not re.fullmatch(r"[a-z]\w*(/[\w.\-]+)?", name):
        raise UserError(f"tfds:{name}: write tfds:NAME or tfds:NAME/CONFIG, as in tfds:mnist")
    folder = data_folder() / name
    version = _newest(folder)
    if version is None and folder.is_dir():
        configs = sorted(c.name for c in folder.iterdir() if c.is_dir() and _newest(c))
        if len(configs) == 1:
            version = _newest(folder / configs[0])
        elif configs:
            choices = ", ".join(f"tfds:{name}/{config}" for config in configs)
            raise UserError(f"tfds:{name} is prepared in several configurations; use {choices}")
    if version is None:
        raise UserError(
            f"tfds:{name} is not prepared in {data_folder()} (TFDS_DATA_DIR names another folder); "
            f"run: {prepare_command(name)}"
        )
    import tensorflow_datasets

    builder = tensorflow_datasets.builder_from_directory(version)
    file_format = builder.info.file_format
    if file_format is None or file_format.value != "array_record":
        raise UserError(
            f"tfds:{name} is prepared as {file_format and file_format.value}, which has no random "
            f"access; move {version} away and run: {prepare_command(name)}"
        )
    return builder


def _newest(folder: Path) -> Path | None:
    if not folder.is_dir():
        return None
    versions = [
        v
        for v in folder.iterdir()
        if VERSION.fullmatch(v.name) and (v / "dataset_info.json").is_file()
    ]
    return max(versions, key=lambda v: tuple(map(int, v.name.split("."))), default=None)


def _flags(features: Mapping[str, Any]) -> dict[str, Callable[[dict], int]]:
    """The classes and truth values among the features, also those of a dict in them, by name; each
    is read from a record."""
    import tensorflow_datasets

    kinds = tensorflow_datasets.features
    found: dict[str, Callable[[dict], int]] = {}
    for name, feature in features.items():
        if isinstance(feature, kinds.FeaturesDict):
            for inner, look in _flags(feature).items():
                found[inner] = lambda record, name=name, look=look: look(record[name])
        elif isinstance(feature, kinds.ClassLabel) or (
            isinstance(feature, kinds.Tensor)
            and feature.shape == ()
            and np.dtype(feature.np_dtype) == bool
        ):
            found[name] = lambda record, name=name: int(record[name])
    return found


def _source(builder, name: str, split: str, keep, key: str, train: str = "train") -> Source:
    """train: the split whose label maps say whether they are masks."""
    import tensorflow_datasets

    kinds = tensorflow_datasets.features
    features = builder.info.features
    of_kind = lambda kind: [part for part, x in features.items() if isinstance(x, kind)]
    images, labeled = of_kind(kinds.Image), of_kind(kinds.LabeledImage)
    maps = [part for part in (*labeled, *MAPS) if part in images]
    image = only([part for part in images if part not in maps], ("image",))
    if image is None:
        raise UserError(
            f"tfds:{name} has no feature that is the image; its features are {_listed(features)}"
        )
    label = only(of_kind(kinds.ClassLabel), ("label",))
    told = lambda part: NO_CAPTION.isdisjoint(re.split(r"[\W_]+", part.lower()))
    text = only(list(filter(told, of_kind(kinds.Text))), CAPTIONS)
    flags = {part: look for part, look in sorted(_flags(features).items()) if part != label}
    as_bytes = tensorflow_datasets.decode.SkipDecoding()
    records = {
        part: builder.as_data_source(part, decoders=dict.fromkeys(images, as_bytes))
        for part in ({split, train} if maps else {split})
    }
    label_names = tuple(features[label].names or ()) if label else ()

    def get(i: int, look: Callable, split: str = split) -> tuple[dict[str, Any], Any]:
        """The record of example i, and what `look` (decode, sides) sees of its image."""
        try:
            record = records[split][i]
            return record, look(record[image], f"{name}/{split}/{i}")
        except Exception as error:  # a truncated shard or image
            raise UserError(
                f"tfds:{name}: example {i} of {split} in {builder.data_dir} cannot be read "
                f"({str(error).splitlines()[0] if str(error) else type(error).__name__}); "
                "prepare the set again"
            ) from None

    def label_map(i: int) -> np.ndarray:
        record, _ = get(i, sides, train)
        return decode_classes(record[maps[0]], f"tfds:{name}, example {i} of {train}")

    kind = map_kind(label_map, len(records[train])) if maps else ""
    fields = {key: Field("image")}
    fields |= {kind: Field(kind)} if maps else {}
    fields |= {"label": Field("label")} if label else {}
    fields |= {"attributes": Field("attributes")} if flags else {}
    fields |= {"caption": Field("caption")} if text else {}

    def read(i: int) -> dict[str, Any]:
        record, pixels = get(keep[i], decode)
        example = {key: pixels}
        if maps:
            where = f"tfds:{name}, example {keep[i]} of {split}"
            example[kind] = read_map(record[maps[0]], where, kind, record[image])
        if label:
            example["label"] = int(record[label])
        if flags:
            example["attributes"] = np.array([look(record) for look in flags.values()], np.int32)
        if text:
            example["caption"] = said(record)
        return example

    def said(record) -> str:
        value = record[text]
        return value.decode() if isinstance(value, bytes) else str(value)

    return Source(
        length=len(keep),
        read=read,
        fingerprint=_digest(str(builder.data_dir), split),
        fields=fields,
        label_names=label_names,
        attribute_names=tuple(flags),
        measure=lambda i: (f"tfds:{name}, example {keep[i]} of {split}", *get(keep[i], sides)[1]),
        captions=(lambda i: (said(get(keep[i], sides)[0]),)) if text else None,
        caption_counts=np.ones(len(keep), np.int32) if text else None,
    )


@functools.cache
def _digest(folder: str, split: str) -> str:
    """Digest of the set's description and of the names and sizes of its shards; the shards
    themselves carry checks of their own."""
    path = Path(folder)
    info = (path / "dataset_info.json").read_bytes()
    shards = sorted(path.glob(f"*-{split}.array_record*"))
    return digest(info, split, *(f"{shard.name} {shard.stat().st_size}" for shard in shards))
