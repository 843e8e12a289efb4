"""Portraits drawn from numbers: any number of people, at any size, with all that is in the picture.

Person k is drawn from k alone.  First its attributes are drawn, then the variant of each part
(which of the nine short haircuts), each by the hash of k and its own name, so that one attribute
can be changed with all else held still.  A person's attributes are much alike in all styles.  What
cannot be seen (hair under a hat, eyes behind sunglasses) has the value 0.

The drawings are those of DiceBear's styles (packages dicebear-core and dicebear-styles); `STYLES`
has those that are offered, with their licences.
"""

import copy
import dataclasses
import functools
import importlib.metadata
import itertools
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.data.images import decode
from jaxgen.data.source import digest, package_folder
from jaxgen.errors import UserError
from jaxgen.files import keeping, kept_folder, replacing
from jaxgen.progress import progress

STYLE = "avataaars"
BLOCK = 100  # people whose drawings are one file
PACKAGES = ("dicebear-core", "dicebear-styles", "resvg-py")

PARTS = (
    *("background", "skin", "nose", "eyes", "eyebrows", "mouth", "hair", "beard", "headwear"),
    *("glasses", "clothes", "features"),
)
"""The classes of the label map `parts`: PARTS[c] is the name of class c.  The features are eyes,
brows and mouth where a style draws them as one mark."""

COLOURS = ("black", "grey", "white", "blue", "green", "yellow", "pink", "red")
VALUES: Mapping[str, tuple[str, ...]] = {
    "skin_tone": ("none", "light", "medium-light", "medium", "medium-dark", "dark"),
    "hair": ("unseen", "short", "long", "bob", "curly", "bun", "balding"),
    "hair_colour": ("unseen", "black", "brown", "blond", "red", "grey", "pink"),
    "headwear": ("none", "hat", "beanie", "hijab", "turban", "cap"),
    "headwear_colour": ("none", *COLOURS),
    "glasses": ("none", "glasses", "sunglasses"),
    "beard": ("none", "beard", "moustache"),
    "expression": ("unseen", "serious", "smiling", "sad", "open", "grimacing", "tongue", "angry"),
    "eyes": ("unseen", "open", "wide", "closed", "winking"),
    "clothes": ("none", "t-shirt", "hoodie", "sweater", "blazer", "overall"),
    "clothes_colour": ("none", *COLOURS),
}
"""The names of the values of each attribute, by their codes, which are the same in all styles."""

WEIGHTS = {  # how often a value is drawn, where it is not as often as the others
    "headwear": {"none": 12},
    "glasses": {"none": 5, "glasses": 3, "sunglasses": 1.5},
    "beard": {"none": 6, "beard": 2},
    "hair": {"short": 3, "long": 3, "bob": 1.5},
    "hair_colour": {"black": 2, "brown": 2, "blond": 2, "red": 1.5},
    "expression": {"serious": 2, "smiling": 4, "sad": 1.5},
    "eyes": {"open": 4},
    "clothes": {"t-shirt": 3},
}

Options = Mapping[str, Sequence[Any]]
Table = Mapping[str, Mapping[str, Options]]

SKIN = {
    "light": ("#ffdbb4",),
    "medium-light": ("#edb98a",),
    "medium": ("#d08b5b",),
    "medium-dark": ("#ae5d29",),
    "dark": ("#614335",),
}
HAIR = {
    "black": ("#2c1b18", "#1f1f24"),
    "brown": ("#4a312c", "#724133"),
    "blond": ("#d6b370", "#ecdcbf"),
    "red": ("#a55728", "#c93305"),
    "grey": ("#b8b4b4", "#a09c9c"),
    "pink": ("#f59797", "#f07fb0"),
}
CLOTH = {
    "black": ("#262e33", "#1d1d22"),
    "grey": ("#929598", "#7d8186"),
    "white": ("#e6e6e6", "#f4f4f4"),
    "blue": ("#5199e4", "#25557c"),
    "green": ("#78e185", "#3f9d5a"),
    "yellow": ("#ffe066", "#f3c33a"),
    "pink": ("#ffafb9", "#ff69a8"),
    "red": ("#ff5c5c", "#c92f2f"),
}


def _colours(palette: Mapping[str, Sequence[str]], *options: str) -> dict[str, Options]:
    return {value: dict.fromkeys(options, shades) for value, shades in palette.items()}


def _variants(option: str, **values: str) -> dict[str, Options]:
    names = {name.replace("_", "-"): text.split() for name, text in values.items()}
    return {name: {f"{option}Variant": variants} for name, variants in names.items()}


def _present(part: str, **values: str) -> dict[str, Options]:
    """Values of a part that may be absent ("none")."""
    there = {k: {**v, f"{part}Probability": (100,)} for k, v in _variants(part, **values).items()}
    return {"none": {f"{part}Probability": (0,)}, **there}


@dataclasses.dataclass(frozen=True)
class Style:
    """A style of DiceBear's, and how jaxgen uses it.

    licence: of the drawings, and who made them.
    table: by attribute and value, what the drawing's options are drawn from.  A later attribute
      overrules an earlier one.
    fixed: options of everybody.
    hides: (attribute, value) -> the attributes that cannot be seen then.
    parts: the class of "component/variant/colour", "component/colour", "component/variant" or
      "component", the first that is there.
    opaque: by component, the opacity from which a mark in a colour of its own counts (a lens, but
      no shadow); 0.5 where nothing is said.
    """

    licence: str
    table: Table
    parts: Mapping[str, str]
    fixed: Options = dataclasses.field(default_factory=dict)
    hides: Mapping[tuple[str, str], tuple[str, ...]] = dataclasses.field(default_factory=dict)
    opaque: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def attributes(self) -> tuple[str, ...]:
        return tuple(self.table)


_COVERED = {("headwear", value): ("hair",) for value in VALUES["headwear"][1:]}
_BARE = {("headwear", "none"): ("headwear_colour",)}

STYLES: Mapping[str, Style] = {
    "avataaars": Style(
        licence="free for personal and commercial use (Avataaars by Pablo Stanley)",
        table={
            "skin_tone": _colours(SKIN, "skinColor"),
            "hair": _variants(
                "top",
                short="dreads01 frizzle shaggy shortCurly shortFlat shortRound shortWaved "
                "theCaesar theCaesarAndSidePart",
                long="bigHair curvy dreads longButNotTooLong straight01 straight02 "
                "straightAndStrand",
                bob="bob miaWallace",
                curly="curly fro",
                bun="bun",
                balding="sides",
            ),
            "hair_colour": _colours(HAIR, "hairColor", "facialHairColor"),
            "headwear": {
                "none": {},
                **_variants(
                    "top", hat="hat", beanie="winterHat03 winterHat04", hijab="hijab",
                    turban="turban",
                ),
            },
            "headwear_colour": _colours(CLOTH, "hatColor"),
            "glasses": _present(
                "accessories",
                glasses="prescription01 prescription02 round",
                sunglasses="kurt sunglasses wayfarers",
            ),
            "beard": _present(
                "facialHair",
                beard="beardLight beardMajestic beardMedium",
                moustache="moustacheFancy moustacheMagnum",
            ),
            "expression": _variants(
                "mouth", serious="serious", smiling="smile twinkle default", sad="sad disbelief",
                open="screamOpen concerned", grimacing="grimace", tongue="tongue",
            ),
            "eyes": _variants(
                "eyes", open="default side", wide="surprised eyeRoll", closed="closed happy",
                winking="wink winkWacky",
            ),
            "clothes": {
                "t-shirt": {
                    "clothesVariant": (
                        "shirtCrewNeck", "shirtScoopNeck", "shirtVNeck", "graphicShirt",
                    )
                },
                **_variants(
                    "clothes", hoodie="hoodie", sweater="collarAndSweater",
                    blazer="blazerAndShirt blazerAndSweater", overall="overall",
                ),
            },
            "clothes_colour": _colours(CLOTH, "clothesColor"),
        },
        fixed={
            "eyebrowsVariant": (
                "default", "defaultNatural", "flatNatural", "raisedExcited",
                "raisedExcitedNatural",
            ),
            "accessoriesColor": ("#262e33", "#25557c", "#3c4f5c", "#ff488e", "#ff5c5c"),
        },
        hides={**_COVERED, **_BARE, ("glasses", "sunglasses"): ("eyes",)},
        parts={
            "canvas": "skin", "nose": "nose", "eyes": "eyes", "eyebrows": "eyebrows",
            "mouth": "mouth", "top": "headwear", "top/hair": "hair", "facialHair": "beard",
            "accessories": "glasses", "clothes": "clothes", "clothesGraphic": "clothes",
        },
        opaque={"nose": 0, "top": 0.65},
    ),
    "lorelei": Style(
        licence="CC0 1.0 (Lorelei by Lisa Wischofsky)",
        table={
            "skin_tone": _colours(SKIN, "skinColor"),
            "hair": _variants(
                "hair",
                short="variant01 variant02 variant03 variant04 variant06 variant07 variant08 "
                "variant09 variant12 variant22 variant43 variant47",
                long="variant13 variant15 variant16 variant21 variant35 variant40",
                bob="variant18 variant19 variant23",
                curly="variant05 variant24 variant39",
                bun="variant14 variant26 variant38 variant46",
            ),
            "hair_colour": _colours(HAIR, "hairColor"),
            "glasses": _present(
                "glasses", glasses="variant01 variant03 variant04 variant05",
                sunglasses="variant02",
            ),
            "beard": _present("beard", beard="variant01 variant02"),
            "expression": _variants(
                "mouth", serious="happy14", smiling="happy01 happy02 happy03 happy05 happy06",
                sad="sad03 sad04 sad05", open="sad01", grimacing="sad06", tongue="happy09 sad08",
            ),
        },
        fixed={
            f"{part}Probability": (0,) for part in ("earrings", "freckles", "hairAccessories")
        },
        hides={("beard", "beard"): ("expression",)},
        parts={
            "head": "skin", "nose": "nose", "eyes": "eyes", "eyebrows": "eyebrows",
            "mouth": "mouth", "hair": "hair", "beard": "beard", "glasses": "glasses",
        },
    ),
    "open-peeps": Style(
        licence="CC0 1.0 (Open Peeps by Pablo Stanley)",
        table={
            "skin_tone": _colours(SKIN, "skinColor"),
            "hair": _variants(
                "head",
                short="flatTop grayShort pomp short1 short2 short3 short4 short5 shaved2",
                long="long longBangs mediumStraight medium3",
                bob="bangs2 medium1 mediumBangs",
                curly="afro longAfro longCurly dreads1 dreads2",
                bun="grayBun",
                balding="noHair3",
            ),
            "headwear": {
                "none": {},
                **_variants("head", hat="hatHip", hijab="hijab", turban="turban"),
            },
            "glasses": _present(
                "accessories", glasses="glasses glasses2 glasses3 glasses5",
                sunglasses="sunglasses sunglasses2",
            ),
            "beard": _present(
                "facialHair", beard="full full2 full3 chin goatee1 goatee2",
                moustache="moustache2 moustache3 moustache5 moustache7",
            ),
            "expression": _variants(
                "expression", serious="serious blank", smiling="smile smileBig smileTeethGap",
                sad="tired concerned", angry="veryAngry rage",
            ),
            "clothes_colour": _colours(CLOTH, "clothingColor"),
        },
        fixed={"headContrastColor": ("#2c1b18",), "maskProbability": (0,)},
        hides={
            **_COVERED,
            ("beard", "beard"): ("expression",),
            ("beard", "moustache"): ("expression",),
        },
        parts={
            "canvas/skin": "skin", "canvas": "clothes", "head/skin": "skin", "head": "hair",
            "head/clothing": "headwear", "head/hatHip/ink": "headwear",
            "head/hijab/ink": "headwear", "head/turban/ink": "headwear",
            "expression": "features", "facialHair": "beard", "accessories": "glasses",
        },
    ),
    "personas": Style(
        licence="CC BY 4.0 (Personas by Draftbit, draftbit.com)",
        table={
            "skin_tone": _colours(SKIN, "skinColor"),
            "hair": _variants(
                "hair", short="shortCombover shortComboverChops", long="extraLong long",
                bob="bobBangs bobCut", curly="curly curlyHighTop", bun="bunUndercut",
                balding="balding",
            ),
            "hair_colour": _colours(HAIR, "hairColor", "facialHairColor"),
            "headwear": {"none": {}, **_variants("hair", beanie="beanie", cap="cap")},
            "eyes": _variants("eyes", open="open", closed="happy sleep", winking="wink"),
            "glasses": {
                "none": {}, **_variants("eyes", glasses="glasses", sunglasses="sunglasses")
            },
            "beard": _present("facialHair", beard="beardMustache", moustache="pyramid walrus"),
            "expression": _variants(
                "mouth", smiling="bigSmile smile smirk", sad="frown", open="surprise"
            ),
            "clothes_colour": _colours(CLOTH, "clothingColor"),
        },
        hides={
            **_COVERED,
            ("beard", "beard"): ("expression",),
            ("glasses", "glasses"): ("eyes",),
            ("glasses", "sunglasses"): ("eyes",),
        },
        parts={
            "canvas": "skin", "nose": "nose", "eyes": "eyes", "eyes/glasses": "glasses",
            "eyes/sunglasses": "glasses", "mouth": "mouth", "hair/hair": "hair",
            "hair": "headwear", "hair/bunUndercut": "hair", "facialHair": "beard",
            "clothes": "clothes",
        },
        opaque={"nose": 0},
    ),
}  # fmt: skip


def _unit(ks: np.ndarray, name: str) -> np.ndarray:
    """Numbers in (0, 1), each a function of its k and the name: SplitMix64 (Steele et al. 2014)."""
    z = ks * np.uint64(0x9E3779B97F4A7C15) + np.uint64(int(digest(name), 16))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(12)) * 2.0**-52 + 2.0**-53


def persons(ks: Sequence[int], style: str) -> list[dict[str, str]]:
    """All attributes of these people, also those that cannot be seen, by name.

    Each value draws a lot, and the least wins: where a style has fewer values the drawn one stays
    while it is among them, so that all styles show the same person as far as they can.
    """
    numbers, drawn = np.array(ks, np.uint64), {}
    for name, values in STYLES[style].table.items():
        weights = [WEIGHTS.get(name, {}).get(value, 1) for value in values]
        lots = [
            -np.log(_unit(numbers, f"{name} {value}")) / weight
            for value, weight in zip(values, weights, strict=True)
        ]
        drawn[name] = np.array(list(values))[np.argmin(lots, 0)].tolist()
    found = [dict(zip(drawn, row, strict=True)) for row in zip(*drawn.values(), strict=True)]
    for person in found:
        if person.get("headwear") == "hijab":
            person["beard"] = "none"
    return found


def visible(person: Mapping[str, str], style: str) -> dict[str, str]:
    """The attributes with the first value of `VALUES` for what cannot be seen."""
    hidden = {name for pair in person.items() for name in STYLES[style].hides.get(pair, ())}
    if "hair" in hidden and person["beard"] == "none":
        hidden.add("hair_colour")
    return {n: VALUES[n][0] if n in hidden else value for n, value in person.items()}


def attributes(ks: Sequence[int], style: str = STYLE) -> list[dict[str, str]]:
    """The look of these people: for each the value of each of the style's attributes."""
    return [visible(person, style) for person in persons(ks, style)]


def caption(seen: Mapping[str, str]) -> str:
    """A phrase in plain English that says what `attributes` gives."""
    get = lambda name: seen.get(name, "none").replace("unseen", "none")
    tinted = lambda thing, colour: thing if colour == "none" else f"{colour} {thing}"
    mood, hair, beard, eyes = map(get, ("expression", "hair", "beard", "eyes"))
    who, has = f"{mood} person", [f"{get('skin_tone')} skin"]
    if shown := {"open": "an open mouth", "tongue": "a tongue that sticks out"}.get(mood):
        has.insert(0, shown)
    if shown or mood == "none":
        who = "person"
    coloured = tinted("hair", get("hair_colour"))
    if hair != "none":
        has.append(f"{coloured} in a {hair}" if hair in ("bob", "bun") else f"{hair} {coloured}")
    if beard != "none":
        has.append(f"a {tinted(beard, get('hair_colour')) if hair == 'none' else beard}")
    if eyes in ("wide", "closed", "winking"):
        has.append("a winking eye" if eyes == "winking" else f"{eyes} eyes")
    clothes = {"none": "clothes", "overall": "overalls"}.get(get("clothes"), get("clothes"))
    wears = []
    if get("clothes_colour") != "none":
        wears.append(("" if clothes.endswith("s") else "a ") + f"{get('clothes_colour')} {clothes}")
    if get("headwear") != "none":
        wears.append(f"a {tinted(get('headwear'), get('headwear_colour'))}")
    if get("glasses") != "none":
        wears.append(get("glasses"))
    phrase = f"{'an' if who[0] in 'aeiou' else 'a'} {who} with {_listed(has)}"
    return f"{phrase}, wearing {_listed(wears)}" if wears else phrase


def _listed(things: Sequence[str]) -> str:
    *most, last = things
    return f"{', '.join(most)} and {last}" if most else last


def _options(k: int, style: str, person: Mapping[str, str]) -> dict[str, Any]:
    """DiceBear's options for the person, of which each is one value; the seed is for the rest."""
    number = np.array([k], np.uint64)
    pick = lambda name, items: items[int(_unit(number, f"{name} variant")[0] * len(items))]
    chosen = {name: pick(name, items) for name, items in STYLES[style].fixed.items()}
    for name, value in person.items():
        for option, items in STYLES[style].table[name][value].items():
            chosen[option] = pick(name, items)
    return {"seed": str(k), **chosen}


def _style_file(style: str) -> Path:
    """DiceBear's definition of the style; UserError where a package is missing."""
    package_folder("dicebear", "dicebear-core", "faces")
    package_folder("resvg_py", "resvg-py", "faces")
    folder = package_folder("dicebear_styles", "dicebear-styles", "faces")
    return folder / f"{style}.json"


@functools.cache
def _definitions(style: str) -> tuple[Any, Any]:
    """DiceBear's style, and the same with every mark in the flat colour of its class."""
    definition = json.loads(_style_file(style).read_text(encoding="utf-8"))
    import dicebear

    return dicebear.Style(definition), dicebear.Style(_flat(definition, STYLES[style]))


def _flat(definition: Mapping[str, Any], style: Style) -> dict[str, Any]:
    """The style's definition, in which every mark has the flat colour of its class, and shadows
    and lights are left out."""
    definition = copy.deepcopy(dict(definition))
    definition["attributes"]["shape-rendering"] = "crispEdges"  # no blends of two classes

    def paint(element, component, variant, opacity=1.0):
        if element.get("name") in ("mask", "clipPath", "defs"):
            return
        marks = element.get("attributes", {})
        opacity *= float(marks.pop("opacity", 1))
        for key in ("fill", "stroke"):
            shade = marks.get(key, "none")
            if shade == "none":
                continue
            colour = shade["name"] if isinstance(shade, dict) else ""
            names = (f"{variant}/{colour}", colour, variant)
            found = (f"{component}/{name}" for name in names if name)
            part = next((p for p in (*found, component) if p in style.parts), "")
            least = 0.5 if colour else style.opaque.get(component, 0.5)
            if opacity * float(marks.pop(f"{key}-opacity", 1)) < least or not part:
                marks[key] = "none"
            else:
                marks[key] = _flat_colour(PARTS.index(style.parts[part]))
        marks.pop("style", None)
        for child in element.get("children", ()):
            paint(child, component, variant, opacity)

    for element in definition["canvas"]["elements"]:
        paint(element, "canvas", "")
    for component, described in definition["components"].items():
        for variant, drawn in described.get("variants", {}).items():
            for element in drawn["elements"]:
                paint(element, component, variant)
    return definition


STEP = 20  # between the flat colours' reds


def _flat_colour(part: int) -> str:
    return f"#{STEP * part:02x}8040"


def draw(k: int, style: str, size: int, person: Mapping[str, str]) -> bytes:
    """The picture (RGBA) and the classes, uint8 [size, size, 5], packed by zlib."""
    import dicebear
    import resvg_py

    options = _options(k, style, person)
    image, flat = (
        decode(
            resvg_py.svg_to_bytes(
                svg_string=str(dicebear.Avatar(definition, options)),
                width=size,
                height=size,
                skip_system_fonts=True,
            )
        )
        for definition in _definitions(style)
    )
    parts = np.where(flat[..., 3:] > 0, flat[..., :1] // STEP, np.uint8(0))
    return zlib.compress(np.concatenate([image, parts], -1).tobytes())


def unpacked(drawing: bytes, size: int) -> np.ndarray:
    return np.frombuffer(zlib.decompress(drawing), np.uint8).reshape(size, size, 5)


def key(style: str) -> str:
    """A digest of all that a drawing depends on."""
    versions = [importlib.metadata.version(package) for package in PACKAGES]
    return digest(*versions, repr(STYLES[style]), repr(WEIGHTS), repr(PARTS))


def drawings(chosen: Sequence[int], style: str, size: int) -> dict[int, bytes]:
    """`draw` of these people; drawn once, in blocks, then cached."""
    _style_file(style)  # raises where a package is missing
    folder = kept_folder("faces", f"{style}-{key(style)}", str(size))
    with keeping(folder):
        blocks = {b: _block(folder / f"{b}.npz") for b in sorted({k // BLOCK for k in chosen})}
        missing = [b for b, packed in blocks.items() if packed is None]
        whole = len(missing) * BLOCK
        with progress(what=f"drawing faces at {size} pixels", total=whole, delay=2) as bar:
            for block in missing:
                ks = range(block * BLOCK, (block + 1) * BLOCK)
                blocks[block] = packed = []
                for k, person in zip(ks, persons(ks, style), strict=True):
                    packed.append(draw(k, style, size, person))
                    bar.update()
                with replacing(folder / f"{block}.npz") as temporary:
                    joined = np.frombuffer(b"".join(packed), np.uint8)
                    np.savez(temporary, joined=joined, ends=np.cumsum([len(p) for p in packed]))
    whole = (enumerate(packed or (), b * BLOCK) for b, packed in blocks.items())
    return dict(itertools.chain.from_iterable(whole))


def _block(file: Path) -> list[bytes] | None:
    """The drawings of a block; None where it is not there, or damaged."""
    try:
        with open(file, "rb") as opened, np.load(opened) as kept:
            joined, ends = kept["joined"].tobytes(), [0, *kept["ends"].tolist()]
    except (FileNotFoundError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    return [joined[start:end] for start, end in itertools.pairwise(ends)]


def check_style(style: str) -> None:
    if style not in STYLES:
        raise UserError(f'faces have no style "{style}"; the styles are {", ".join(STYLES)}')
