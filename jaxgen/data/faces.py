"""Sets of drawn people: the source `faces`, pairs with one attribute changed, and two styles."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxgen.data import portraits
from jaxgen.data.portraits import PACKAGES, PARTS, STYLE, STYLES, VALUES, attributes, caption
from jaxgen.data.source import Field, Source, digest, package_digest, parse_count, some, unit_hash
from jaxgen.errors import UserError

HELD_OUT = 0.1
HELD_OUT_DOMAINS = 0.3  # of each domain, so that about 9 % are held out of both
PEOPLE, DOMAINS = 5000, ("avataaars", "open-peeps")

FIELDS = {
    "image": Field("image", 4),
    "alpha": Field("mask"),
    "parts": Field("classes", classes=len(PARTS)),
    "attributes": Field("attributes"),
    "caption": Field("caption"),
}


def counterfactual(
    k: int, size: int, style: str = STYLE, **changes: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Person k before and after some of its attributes are changed and all else is held still:
    two examples as the source `faces` gives them.

        before, after = counterfactual(7, 64, glasses="sunglasses")

    Names of attributes and values are those of `VALUES`.  UserError where the style has them not.
    """
    portraits.check_style(style)
    table = STYLES[style].table
    for name, value in changes.items():
        if name not in table:
            raise UserError(f'{style} has no "{name}"; its attributes are {", ".join(table)}')
        if value not in table[name]:
            raise UserError(f'{name} of {style} is {" or ".join(table[name])}, not "{value}"')
    (person,) = portraits.persons([k], style)
    before, after = (
        _example(portraits.draw(k, style, size, one), size, portraits.visible(one, style))
        for one in (person, {**person, **changes})
    )
    return before, after


def _held_out(ks: Sequence[int], style: str, share: float) -> list[bool]:
    """By the attributes, so that people of equal attributes stand on one side."""
    return [unit_hash(f"{style} {seen}") < share for seen in attributes(ks, style)]


def people(split: str, number: int = PEOPLE, style: str = STYLE) -> list[int]:
    """The people in the split, of the first `number`: k of each example of `faces`."""
    held = _held_out(range(number), style, HELD_OUT)
    return [k for k in range(number) if held[k] == (split == "test")]


def faces(split: str, size: int, *options: str) -> Source:
    """Portraits with `alpha`, `parts` (see `PARTS`), attributes (see `VALUES`) and a caption.

    options: the number of people, training and test together, and the style; each may be left
    out.
    """
    number, (style,) = _read(options, "faces", (STYLE,))
    chosen = people(split, number, style)
    some(chosen, f"faces:{number}", split)
    drawn = portraits.drawings(chosen, style, size)
    seen = attributes(chosen, style)
    return Source(
        length=len(chosen),
        read=lambda i: _example(drawn[chosen[i]], size, seen[i]),
        fingerprint=digest(package_digest(number, *PACKAGES), portraits.key(style)),
        fields=FIELDS,
        attribute_names=STYLES[style].attributes,
        measure=lambda i: (f"person {chosen[i]}", size, size),
        captions=lambda i: (caption(seen[i]),),
    )


EDITS: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "glasses": ("glasses", ("glasses", "sunglasses"), ("none",)),
    "beard": ("beard", ("beard", "moustache"), ("none",)),
    "smiling": ("expression", ("smiling",), ("serious", "sad", "open", "grimacing", "tongue")),
    "dark_skin": ("skin_tone", ("dark", "medium-dark"), ("light", "medium-light", "medium")),
    "long_hair": ("hair", ("long", "bob"), ("short", "curly", "bun", "balding")),
    "dark_hair": ("hair_colour", ("black", "brown"), ("blond", "red", "grey", "pink")),
    "warm_clothes": (
        "clothes_colour", ("red", "pink", "yellow"), ("blue", "green", "black", "grey", "white"),
    ),
    "blazer": ("clothes", ("blazer",), ("t-shirt", "hoodie", "sweater", "overall")),
}  # fmt: skip
"""Attributes that a person has or has not: the attribute of `VALUES` that says so, its values that
mean yes and those that mean no; the first of either is what a person gets that is edited."""


def edits(split: str, size: int, number: str = "10000") -> Source:
    """Bare-headed people and which of `EDITS` they have, 1 or 0; "test" has beside each the same
    person with one attribute the other way, the first person the first attribute, and so on:
    `edited` and `edited_attributes`.

    number: of the people that are drawn, bare-headed or not, training and test together.
    """
    count = parse_count("faces-edits", number)
    everybody = people(split, count)
    looks = zip(everybody, attributes(everybody), strict=True)
    chosen = {k: look for k, look in looks if look["headwear"] == "none"}
    some(list(chosen), f"faces-edits:{count}", split)
    ks, drawn = list(chosen), portraits.drawings(list(chosen), STYLE, size)
    has = np.array([[chosen[k][of] in yes for of, yes, _ in EDITS.values()] for k in ks], np.int32)
    fields = {"image": FIELDS["image"], "attributes": FIELDS["attributes"]}

    def read(i):
        return {"image": portraits.unpacked(drawn[ks[i]], size)[..., :4], "attributes": has[i]}

    def read_pair(i):
        which = i % len(EDITS)
        of, yes, no = list(EDITS.values())[which]
        _, after = counterfactual(ks[i], size, **{of: (no if has[i, which] else yes)[0]})
        flip = np.arange(len(EDITS)) == which
        edited = {"edited": after["image"], "edited_attributes": np.where(flip, 1 - has[i], has[i])}
        return read(i) | edited

    if split == "test":
        fields |= {"edited": fields["image"], "edited_attributes": fields["attributes"]}
    return Source(
        length=len(ks),
        read=read_pair if split == "test" else read,
        fingerprint=digest(package_digest(count, *PACKAGES), portraits.key(STYLE), repr(EDITS)),
        fields=fields,
        attribute_names=tuple(EDITS),
        measure=lambda i: (f"person {ks[i]}", size, size),
    )


def domains(split: str, size: int, *options: str) -> tuple[Source, ...]:
    """a and b: people in two styles.  Unpaired for "train", in which nobody stands in both;
    "test" is one source of people in both styles, whose like neither training domain shows.

    options: the number of people of each domain, and the two styles.
    """
    number, styles = _read(options, "faces-domains", DOMAINS)
    # Every other block of people is a's, so that no drawing is made in vain.
    one = [i + i // portraits.BLOCK * portraits.BLOCK for i in range(number)]
    if split == "test":
        held = zip(*(_held_out(one, style, HELD_OUT_DOMAINS) for style in styles), strict=True)
        both = [k for k, sides in zip(one, held, strict=True) if all(sides)]
        some(both, f"faces-domains:{number}", split)
        a, b = (_side(name, both, style, size) for name, style in zip("ab", styles, strict=True))
        return (
            Source(
                length=len(both),
                read=lambda i: {**a[i], **b[i]},
                fingerprint=digest(a.fingerprint, b.fingerprint),
                fields={**a.fields, **b.fields},
                measure=a.measure,
            ),
        )
    sides = []
    for name, style, chosen in zip(
        "ab", styles, (one, [k + portraits.BLOCK for k in one]), strict=True
    ):
        held = _held_out(chosen, style, HELD_OUT_DOMAINS)
        kept = [k for k, out in zip(chosen, held, strict=True) if not out]
        some(kept, f"faces-domains:{number}", split)
        sides.append(_side(name, kept, style, size))
    return tuple(sides)


def _side(name: str, chosen: Sequence[int], style: str, size: int) -> Source:
    drawn = portraits.drawings(chosen, style, size)
    return Source(
        length=len(chosen),
        read=lambda i: {name: portraits.unpacked(drawn[chosen[i]], size)[..., :4]},
        fingerprint=digest(package_digest(len(chosen), *PACKAGES), portraits.key(style)),
        fields={name: Field("image", 4)},
        measure=lambda i: (f"person {chosen[i]}", size, size),
    )


def _read(
    options: Sequence[str], spec: str, styles: tuple[str, ...]
) -> tuple[int, tuple[str, ...]]:
    """The number of people and the styles that follow the name of the set."""
    number = PEOPLE
    if options and options[0].isdecimal():
        number, options = int(options[0]), options[1:]
    if number < 1:
        raise UserError(f"{spec} needs one person or more, not {number}")
    if options and len(options) != len(styles):
        raise UserError(
            f"{spec} takes a number of people and then "
            + ("a style" if len(styles) == 1 else f"{len(styles)} styles")
            + f", not {':'.join(options)}; the styles are {', '.join(STYLES)}"
        )
    for style in options:
        portraits.check_style(style)
    return number, tuple(options) or styles


def _codes(seen: Mapping[str, str]) -> np.ndarray:
    return np.array([VALUES[name].index(value) for name, value in seen.items()], np.int32)


def _example(drawing: bytes, size: int, seen: Mapping[str, str]) -> dict[str, Any]:
    planes = portraits.unpacked(drawing, size)
    return {
        "image": planes[..., :4],
        "alpha": np.where(planes[..., 3:4] >= 128, np.uint8(255), np.uint8(0)),
        "parts": planes[..., 4:],
        "attributes": _codes(seen),
        "caption": caption(seen),
    }
