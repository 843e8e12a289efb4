"""The parts of an example as `hf:`, `tfds:` and `wds:` store them, and how they are read."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import numpy as np

from jaxgen.data.images import decode, decode_classes, header
from jaxgen.data.reading import each, stamps
from jaxgen.data.source import Field
from jaxgen.errors import UserError
from jaxgen.files import kept_array

CAPTIONS = ("caption", "captions", "text", "description")
MAPS = (
    *("mask", "masks", "seg", "segmentation", "segmentation_mask"),
    *("annotation", "label_map", "classes"),
)


def only(names: Collection[str], preferred: tuple[str, ...]) -> str | None:
    """A preferred name that is there, else the only one, else None."""
    found = next((name for name in preferred if name in names), None)
    return found or (next(iter(names)) if len(names) == 1 else None)


def picture(data: bytes, name: str, least: int) -> np.ndarray:
    """uint8 [H, W, C]; a JPEG is reduced as `Header.reduction` of `least` says."""
    jpeg = least and data.startswith(b"\xff\xd8")
    return decode(data, name, header(data, name).reduction(least) if jpeg else 1)


def there(label_map: np.ndarray) -> np.ndarray:
    """Which of the numbers 0 to 255 are in it, bool [256]."""
    return np.bincount(label_map.ravel(), minlength=256) > 0


def map_field(there: np.ndarray) -> Field:
    """The field of label maps that have these numbers, bool [256]: a mask where they are 0 and 255
    alone, else classes."""
    if not there[1:255].any():
        return Field("mask")
    return Field("classes", classes=count_classes(there))


def count_classes(there: np.ndarray) -> int:
    """One more than the largest of these numbers, bool [256], but for 255."""
    return int(np.flatnonzero(there[:255]).max(initial=0)) + 1


def look_through(
    spec: str, read: Callable[[int], np.ndarray], length: int, files: Iterable[Path]
) -> Field:
    """The field of the label maps `read(i)`, i in 0 .. length - 1.  All of them are decoded once;
    what they have is kept in the cache for as long as the files are the same."""

    def look() -> list[np.ndarray]:
        found = np.zeros(256, bool)
        see = lambda i: found.put(read(i), True)
        each(f"looking at label maps of {spec}", see, range(length))
        return [found[None]]

    return map_field(kept_array("label-maps", stamps(files), look)[0])


def read_map(data: bytes, name: str, kind: str, image: bytes) -> np.ndarray:
    """uint8 [H, W, 1] of that kind; UserError where it does not lie on the image."""
    array = decode_classes(data, name)
    if kind == "mask" and not np.isin(array, (0, 255)).all():
        raise UserError(
            f"{name}: its mask has other values than 0 and 255, and those of the training split "
            "have not; write all of them as masks or all as classes"
        )
    sides = header(image, name)[:2]
    if array.shape[:2] != sides:
        raise UserError(
            f"{name}: its label map is {array.shape[0]}x{array.shape[1]} pixels (height x width), "
            f"and its image {sides[0]}x{sides[1]}; make them equal"
        )
    return array
