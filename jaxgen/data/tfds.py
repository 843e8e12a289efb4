"""Sets that tensorflow-datasets has prepared, read without TensorFlow and without the network."""

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jaxgen.data.films import every_half
from jaxgen.data.images import decode, decode_classes, sides
from jaxgen.data.parts import CAPTIONS, MAPS, look_through, only, read_map
from jaxgen.data.reading import each, stamps, tell
from jaxgen.data.source import Field, Source, digest, keep_split
from jaxgen.errors import NoSplit, UserError
from jaxgen.files import expanded, kept_array

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


def tfds(
    name: str, split: str = "train", held_out: float = 0.0, frames: int = 8
) -> tuple[Source, ...]:
    """The prepared set NAME[/CONFIG], in its newest version.

    Entries: `image` (or `a` and `b` of a set with splits trainA and trainB, unpaired), or `video`
    where it has films and no images: clips of `frames` frames, every half clip; `label` where it
    has classes, `attributes` where it has more classes or truth values, `mask` or `classes` where
    it has a label map beside the image, `caption` where it has a text.  The test split is the set's
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
                *(builder, name, own, range(builder.info.splits[own].num_examples), key, frames),
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
    return (_source(builder, name, own, keep, "", frames),)


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

    _read_films()
    builder = tensorflow_datasets.builder_from_directory(version)
    file_format = builder.info.file_format
    if file_format is None or file_format.value != "array_record":
        raise UserError(
            f"tfds:{name} is prepared as {file_format and file_format.value}, which has no random "
            f"access; move {version} away and run: {prepare_command(name)}"
        )
    return builder


@functools.cache
def _read_films() -> None:
    """Has the feature Video, which does not start without TensorFlow, read as the sequence of
    images that it is."""
    from tensorflow_datasets import features as kinds

    class Frames(kinds.Sequence):
        ALIASES: ClassVar = ["tensorflow_datasets.core.features.video_feature.Video"]

        @classmethod
        def from_json_content(cls, value: Any):
            length, *sides = (side if side > 0 else None for side in value.shape.dimensions)
            return cls(kinds.Image(shape=sides), length=length)


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


def _source(
    builder, name: str, split: str, keep, key: str, frames: int, train: str = "train"
) -> Source:
    """key: the name of the images; empty for the one of their kind.  train: the split whose label
    maps say whether they are masks."""
    import tensorflow_datasets

    kinds = tensorflow_datasets.features
    features = builder.info.features
    of_kind = lambda kind: [part for part, x in features.items() if isinstance(x, kind)]
    images, labeled = of_kind(kinds.Image), of_kind(kinds.LabeledImage)
    maps = [part for part in (*labeled, *MAPS) if part in images]
    image = only([part for part in images if part not in maps], ("image",))
    films = [x for x in of_kind(kinds.Sequence) if isinstance(features[x].feature, kinds.Image)]
    if video := image is None and bool(films):
        image, maps = only(films, ("video",)), []
    if image is None:
        raise UserError(
            f"tfds:{name} has no feature that is the image, or the film; its features are "
            f"{_listed(features)}"
        )
    key = key or ("video" if video else "image")
    label = only(of_kind(kinds.ClassLabel), ("label",))
    told = lambda part: NO_CAPTION.isdisjoint(re.split(r"[\W_]+", part.lower()))
    text = only(list(filter(told, of_kind(kinds.Text))), CAPTIONS)
    flags = {part: look for part, look in sorted(_flags(features).items()) if part != label}
    as_bytes: Any = tensorflow_datasets.decode.SkipDecoding()
    as_bytes.decode_batch_example_np = as_bytes.decode_example_np  # of the frames of a film
    records = {
        part: builder.as_data_source(part, decoders=dict.fromkeys([*images, *films], as_bytes))
        for part in ({split, train} if maps else {split})
    }
    label_names = tuple(features[label].names or ()) if label else ()
    shards = lambda split: _shards(str(builder.data_dir), split)

    def get(
        k: int, look: Callable | None = None, split: str = split, part: slice = slice(None)
    ) -> tuple[dict[str, Any], list[Any]]:
        """Record k, and what `look` (decode, sides) sees of its image, or one after the other of
        that part of its frames."""
        try:
            record = records[split][k]
            shown = record[image][part] if video else [record[image]]
            return record, [look(x, f"{name}/{split}/{k}") if look else x for x in shown]
        except Exception as error:  # a truncated shard or image
            raise UserError(
                f"tfds:{name}: example {k} of {split} in {builder.data_dir} cannot be read "
                f"({str(error).splitlines()[0] if str(error) else type(error).__name__}); "
                "prepare the set again"
            ) from None

    def read_train_map(k: int) -> np.ndarray:
        record, _ = get(k, split=train)
        return decode_classes(record[maps[0]], f"tfds:{name}, example {k} of {train}")

    label_map = None
    if maps:
        label_map = look_through(f"tfds:{name}", read_train_map, len(records[train]), shards(train))
        if label_map.kind == "classes":  # of which the set may have more than it shows
            declared = getattr(features[maps[0]], "num_classes", 0) or 0
            label_map = dataclasses.replace(label_map, classes=max(declared, label_map.classes))
    first = None
    if video:
        count = lambda k: len(get(k)[1])
        lengths = _lengths(f"tfds:{name}", count, len(records[split]), shards(split))
        keep, first = _clips(f"tfds:{name}", keep, lengths, frames)
    fields = {key: Field("video", depth=frames) if video else Field("image")}
    fields |= {label_map.kind: label_map} if label_map else {}
    fields |= {"label": Field("label")} if label else {}
    fields |= {"attributes": Field("attributes")} if flags else {}
    fields |= {"caption": Field("caption")} if text else {}

    def example(i: int, look: Callable | None = None) -> tuple[dict[str, Any], list[Any]]:
        part = slice(None) if first is None else slice(first[i], first[i] + frames)
        return get(int(keep[i]), look, part=part)

    def where(i: int) -> str:
        at = "" if first is None else f", frame {first[i]}"
        return f"tfds:{name}, example {keep[i]} of {split}{at}"

    def read(i: int) -> dict[str, Any]:
        record, pixels = example(i, decode)
        entries: dict[str, Any] = {key: np.stack(pixels) if video else pixels[0]}
        if label_map:
            of = (record[maps[0]], where(i), label_map.kind, record[image])
            entries[label_map.kind] = read_map(*of)
        if label:
            entries["label"] = int(record[label])
        if flags:
            entries["attributes"] = np.array([look(record) for look in flags.values()], np.int32)
        if text:
            entries["caption"] = said(record)
        return entries

    def said(record) -> str:
        value = record[text]
        return value.decode() if isinstance(value, bytes) else str(value)

    own = _digest(str(builder.data_dir), split)
    return Source(
        length=len(keep),
        read=read,
        fingerprint=own if first is None else digest(own, f"clips of {frames} frames"),
        fields=fields,
        label_names=label_names,
        attribute_names=tuple(flags),
        measure=lambda i: (where(i), *example(i, sides)[1][0]),
        captions=(lambda i: (said(example(i)[0]),)) if text else None,
        caption_counts=np.ones(len(keep), np.int32) if text else None,
    )


def _lengths(
    spec: str, read: Callable[[int], int], count: int, files: Sequence[Path]
) -> np.ndarray:
    """The frames of each film, int [count], by `read`; kept in the cache for as long as the files
    are the same."""
    look = lambda: [np.array(each(f"counting frames of {spec}", read, range(count)), np.int64)]
    return kept_array("frames", stamps(files), look)


def _clips(
    spec: str, keep: Sequence[int], lengths: np.ndarray, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """The film of each clip, one of `keep`, and the clip's first frame in it, int [clips]."""
    begin = [every_half(0, int(lengths[k]), frames) for k in keep]
    if short := sum(not found for found in begin):
        if short == len(begin):
            raise UserError(f"{spec} has no film of {frames} frames; use fewer frames")
        tell(f"{spec}: {short} of {len(begin)} films have fewer than {frames} frames; passed over")
    counts = [len(found) for found in begin]
    return np.repeat(keep, counts), np.concatenate([np.array(found, int) for found in begin])


@functools.cache
def _digest(folder: str, split: str) -> str:
    """Digest of the set's description and of the names and sizes of its shards; the shards
    themselves carry checks of their own."""
    info = (Path(folder) / "dataset_info.json").read_bytes()
    sizes = (f"{shard.name} {shard.stat().st_size}" for shard in _shards(folder, split))
    return digest(info, split, *sizes)


def _shards(folder: str, split: str) -> list[Path]:
    return sorted(Path(folder).glob(f"*-{split}.array_record*"))
