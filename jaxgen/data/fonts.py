"""Digits drawn in the fonts that matplotlib ships, in the form of MNIST."""

import functools
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxgen.data.source import Field, Source, digest, package_digest, package_folder
from jaxgen.files import kept_array

VERSION = "1"  # of how they are drawn
DIGITS = 6000
# The 21 fonts that have digits.  The others have none, or boxes (LastResort) or symbols in their
# place (cmex10, cmsy10), or old-style ones on different heights (cmmi10).
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSans-Oblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSansMono-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic"),
    *("DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralBolIta"),
    *("STIXGeneralItalic", "cmb10", "cmr10", "cmti10", "cmss10", "cmtt10"),
)
# Slanted cuts are the upright ones sheared, so a family stands on one side.
HELD_OUT = ("cmss10", "cmtt10")
SIDE, BOX = 28, 20


def fonts(split: str) -> Source:
    """6,000 digits [28, 28, 1], white on black, drawn by a fixed seed: of size 20 to 27, turned by
    N(0, 8 degrees), sheared by N(0, 0.15), then brought into a box of 20 pixels with the centre of
    mass in the middle (13.5), as MNIST was.

    Those in Computer Modern's sans serif and typewriter, about a tenth, are test.
    """
    version = package_digest(DIGITS, "matplotlib", "pillow")
    images = kept_array("fonts", f"{version}-{VERSION}", lambda: [_draw()])
    labels, font, *_ = _drawn()
    held = np.isin(font, [FONTS.index(name) for name in HELD_OUT])
    kept = np.flatnonzero(held == (split == "test"))
    return Source(
        length=len(kept),
        read=lambda i: {"image": np.array(images[kept[i]]), "label": int(labels[kept[i]])},
        fingerprint=digest("fonts", VERSION, version, split),
        fields={"image": Field("image", 1), "label": Field("label")},
        label_names=tuple("0123456789"),
    )


def _drawn() -> tuple[np.ndarray, ...]:
    """Each digit's label, font, size, angle in radians and shear."""
    rng = np.random.default_rng(0)
    return (
        rng.integers(10, size=DIGITS),
        rng.integers(len(FONTS), size=DIGITS),
        rng.integers(20, 28, size=DIGITS),
        rng.normal(0, np.deg2rad(8), DIGITS),
        rng.normal(0, 0.15, DIGITS),
    )


def _draw() -> np.ndarray:
    folder = package_folder("matplotlib", "matplotlib", "fonts") / "mpl-data" / "fonts" / "ttf"
    return np.stack([_digit(folder, *row) for row in zip(*_drawn(), strict=True)])


@functools.cache
def _font(file: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


def _digit(folder: Path, label: int, font: int, size: int, angle: float, shear: float):
    """uint8 [28, 28, 1]."""
    wide = 64
    page = Image.new("L", (wide, wide))
    written = _font(folder / f"{FONTS[font]}.ttf", int(size))
    ImageDraw.Draw(page).text((wide / 2, wide / 2), str(label), 255, written, anchor="mm")
    cos, sin = np.cos(angle), np.sin(angle)
    back = np.array([[cos, sin], [-sin, cos]]) @ [[1, shear], [0, 1]]  # from the page to the text
    shift = wide / 2 - back @ [wide / 2, wide / 2]
    rows = (*back[0], shift[0], *back[1], shift[1])
    page = page.transform(page.size, Image.Transform.AFFINE, rows, Image.Resampling.BICUBIC)
    page = page.crop(page.getbbox())
    scale = BOX / max(page.size)
    sides = [max(1, round(side * scale)) for side in page.size]
    page = page.resize(sides, Image.Resampling.BICUBIC)
    return centred(np.asarray(page))[..., None]


def centred(digit: np.ndarray) -> np.ndarray:
    """uint8 [28, 28] with the digit [h, w] so that its centre of mass lies at (13.5, 13.5), to the
    pixel, and all of it inside."""
    mass, corner = digit / digit.sum(), []
    for axis, side in enumerate(digit.shape):
        middle = (mass.sum(axis=1 - axis) * np.arange(side)).sum()
        corner.append(min(max(round((SIDE - 1) / 2 - middle), 0), SIDE - side))
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[corner[0] : corner[0] + digit.shape[0], corner[1] : corner[1] + digit.shape[1]] = digit
    return image
