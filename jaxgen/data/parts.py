"""The parts of an example as `hf:`, `tfds:` and `wds:` store them, and how they are read."""

from collections.abc import Callable, Collection

import numpy as np

from jaxgen.data.images import decode, decode_classes, header
from jaxgen.errors import UserError

CAPTIONS = ("caption", "captions", "text", "description")
MAPS = (
    *("mask", "masks", "seg", "segmentation", "segmentation_mask"),
    *("annotation", "label_map", "classes"),
)
LOOK = 16  # label maps that tell masks from classes


def only(names: Collection[str], preferred: tuple[str, ...]) -> str | None:
    """A preferred name that is there, else the only one, else None."""
    found = next((name for name in preferred if name in names), None)
    return found or (next(iter(names)) if len(names) == 1 else None)


def picture(data: bytes, name: str, least: int) -> np.ndarray:
    """uint8 [H, W, C]; a JPEG is reduced as `Header.reduction` of `least` says."""
    jpeg = least and data.startswith(b"\xff\xd8")
    return decode(data, name, header(data, name).reduction(least) if jpeg else 1)


def map_kind(read: Callable[[int], np.ndarray], length: int) -> str:
    """ "mask" when the first label maps, `LOOK` of them, have the values 0 and 255 alone, else
    "classes"."""
    binary = all(np.isin(read(i), (0, 255)).all() for i in range(min(length, LOOK)))
    return "mask" if binary else "classes"


def read_map(data: bytes, name: str, kind: str, image: bytes) -> np.ndarray:
    """uint8 [H, W, 1] of that kind; UserError where it does not lie on the image."""
    array = decode_classes(data, name)
    if kind == "mask" and not np.isin(array, (0, 255)).all():
        raise UserError(
            f"{name}: its mask has other values than 0 and 255, as the first {LOOK} have; write "
            "all of them as masks or all as classes"
        )
    sides = header(image, name)[:2]
    if array.shape[:2] != sides:
        raise UserError(
            f"{name}: its label map is {array.shape[0]}x{array.shape[1]} pixels (height x width), "
            f"and its image {sides[0]}x{sides[1]}; make them equal"
        )
    return array
