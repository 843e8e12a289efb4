"""Sources: random access to raw examples, from a `--data` SPEC.

    mnist5k | emoji | openmoji | emoji-lines | emoji-domains | photos      shipped by pip packages
    tfds:NAME[/CONFIG]                                                     tensorflow-datasets
    folder:DIR | pairs:DIR | domains:DIR                                   a person's own images
    photos+emoji, folder:ONE+folder:TWO, ...                               several sets as one

A raw example is a dict: `image` (or `a` and `b`) uint8 [H, W, 1|3|4] of any size, `label` and
other attributes int, `caption` str.
"""

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import itertools
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError

SHIPPED = ("mnist5k", "emoji", "openmoji", "emoji-lines", "emoji-domains", "photos")
OWN = ("tfds:NAME", "folder:DIR", "pairs:DIR", "domains:DIR")
# A plus is a part of a path, unless a set's name follows.
PLUS = re.compile(rf"\+(?=(?:tfds|folder|pairs|domains):|(?:{'|'.join(SHIPPED)})(?:\+|$))")


@dataclasses.dataclass(frozen=True)
class Source:
    """`source[i]` is a raw example, i in 0 .. len(source) - 1; every read returns the same.

    `fingerprint`: a short digest of the content (for shipped sets: of the packages' versions).
    `label_names[k]` is the name of label k; empty without labels.  `measure(i)` is what `origin`
    gives, where it can be had without decoding the image.
    """

    length: int
    read: Callable[[int], dict[str, Any]]
    fingerprint: str
    label_names: tuple[str, ...] = ()
    measure: Callable[[int], tuple[str, int, int]] | None = None

    def origin(self, i: int) -> tuple[str, int, int]:
        """The name of example i, and its image's height and width in pixels (of a pair, those of
        both)."""
        if self.measure:
            return self.measure(i)
        example = self[i]
        height, width, _ = example.get("image", example.get("a", example.get("b"))).shape
        return f"image {i}", height, width

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> dict[str, Any]:
        if not 0 <= i < self.length:
            raise IndexError(i)
        return self.read(i)


def open_source(
    spec: str, split: str = "train", size: int = 64, held_out: float = 0.0
) -> tuple[Source, ...]:
    """The source `spec` names; two of them, shuffled apart, for unpaired domains (a, then b).

    `split` is "train" or "test".  Shipped sets hold out about 10 %.  A person's own set holds out
    its test/ or val/ folder, else the share `held_out` (by the hash of the file's name).
    `size`: drawings are drawn at this size in pixels.  Raises UserError.
    """
    if split not in ("train", "test"):
        raise UserError(f'no split "{split}"; there are "train" and "test"')
    if not 0 <= held_out < 1:
        raise UserError(f"held_out is a share from 0 up to 1, not {held_out:g}")
    if len(specs := PLUS.split(spec)) > 1:
        return (_joined(specs, [open_source(part, split, size, held_out) for part in specs]),)
    from jaxgen.data import emoji, folders, samples, tfds

    kind, _, rest = spec.partition(":")
    match kind, rest:
        case "mnist5k", "":
            return (samples.mnist5k(split),)
        case "photos", "":
            return (samples.photos(split),)
        case "emoji", "":
            return (emoji.twemoji(split),)
        case "openmoji", "":
            return (emoji.openmoji(split, size),)
        case "emoji-lines", "":
            return (emoji.lines(split, size),)
        case "emoji-domains", "":
            return emoji.domains(split, size)
        case "tfds", name if name:
            return tfds.tfds(name, split, held_out)
        case "folder", path if path:
            return (folders.folder(Path(path).expanduser(), split, held_out),)
        case "pairs", path if path:
            return (folders.pairs(Path(path).expanduser(), split, held_out),)
        case "domains", path if path:
            return folders.domains(Path(path).expanduser(), split, held_out)
    raise UserError(f'no data "{spec}"; --data takes {", ".join((*SHIPPED, *OWN))}')


def _joined(specs: Sequence[str], opened: Sequence[tuple[Source, ...]]) -> Source:
    """The sets one after the other, with what the examples of all of them have.  Labels of one
    name become one label."""
    for spec, sources in zip(specs, opened, strict=True):
        if len(sources) > 1:
            raise UserError(f"{spec} is two sets, shuffled apart, which others cannot join")
    sources = [source for (source,) in opened]
    first = [source[0] for source in sources]
    images = [" and ".join(k for k in ("image", "a", "b") if k in example) for example in first]
    for spec, its in zip(specs, images, strict=True):
        if its != images[0]:
            raise UserError(
                f"{specs[0]} has {images[0]}, but {spec} has {its}; join sets that have the same"
            )
    kept = set.intersection(*map(set, first))
    names: tuple[str, ...] = ()
    if "label" in kept and all(source.label_names for source in sources):
        names = tuple(dict.fromkeys(n for source in sources for n in source.label_names))
    else:
        kept.discard("label")
    number = {name: k for k, name in enumerate(names)}
    ends = list(itertools.accumulate(map(len, sources)))

    def find(i: int) -> tuple[Source, int]:
        part = bisect_right(ends, i)
        return sources[part], i - ends[part] + len(sources[part])

    def read(i: int) -> dict[str, Any]:
        source, k = find(i)
        example = {name: value for name, value in source[k].items() if name in kept}
        if names:
            example["label"] = number[source.label_names[example["label"]]]
        return example

    def measure(i: int) -> tuple[str, int, int]:
        source, k = find(i)
        return source.origin(k)

    return Source(ends[-1], read, digest(*(s.fingerprint for s in sources)), names, measure)


def digest(*parts: str | bytes) -> str:
    """Sixteen hex digits of the BLAKE2 hash of the parts."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        state.update(len(part).to_bytes(8, "big") + part)
    return state.hexdigest()


def unit_hash(name: str) -> float:
    """A number in [0, 1) that depends on the name alone, so that a split is stable."""
    return int(digest(name), 16) / 2**64


def keep_split(names: Sequence[str], split: str, held_out: float, missing: str) -> list[int]:
    """Positions of the names in the split, by `unit_hash(name) < held_out` for "test".

    An empty test split raises UserError: `missing`, when nothing is held out at all.
    """
    test = [unit_hash(name) < held_out for name in names]
    kept = [i for i, held in enumerate(test) if held == (split == "test")]
    if not kept:
        if not held_out:
            raise UserError(missing)
        raise UserError(
            f"a held-out share of {held_out:g} leaves nothing for {split} of {len(names)} "
            "examples; ask for another share or add images"
        )
    return kept


def package_folder(module: str, package: str, spec: str) -> Path:
    """Where the pip package keeps its files; UserError with the command that installs it."""
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise UserError(f'data "{spec}" needs {package}: pip install "jaxgen[samples]"')
    return Path(found.submodule_search_locations[0])


def package_digest(count: int, *packages: str) -> str:
    """The fingerprint of a shipped set: its packages, their versions and how many examples."""
    return digest(*(f"{p}=={importlib.metadata.version(p)}" for p in packages), str(count))
