"""Images of any size, mode and bit depth as uint8 arrays [H, W, C]; then squares of one size."""

import io
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from jaxgen.errors import UserError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"})

RESAMPLE = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}
CROPS = ("center", "stretch", "pad")


def decode(file: Path | str | bytes, name: str = "") -> np.ndarray:
    """The image in `file` (a path, or the file's bytes called `name`), upright as its EXIF says.

    Returns uint8 [H, W, C]: C is 1 (grey), 3 (RGB) or 4 (RGBA, where the file has transparency).
    16-bit grey is scaled by 1/257, CMYK becomes RGB, of an animation the first frame counts.
    Raises UserError, which names the file, when it cannot be read.
    """
    with _opened(file, name) as image:
        image.load()
        return from_pil(ImageOps.exif_transpose(image))


def sides(file: Path | str | bytes, name: str = "") -> tuple[int, int]:
    """Height and width of the image that `decode` would give, from the file's header alone."""
    with _opened(file, name) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return (image.width, image.height) if turned else (image.height, image.width)


@contextmanager
def _opened(file, name):
    name = name or str(file)
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            yield image
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; it was there when the run began") from None
    except Exception as error:  # Pillow raises many kinds for a broken file
        reason = str(error).split("\n")[0] or type(error).__name__
        reason = re.sub(r" file <_io.*", "", reason)  # of no use to a person
        raise UserError(
            f"{name} is not a readable image ({reason}); replace it by a whole PNG or JPEG, or "
            "move it away"
        ) from None


def from_pil(image: Image.Image) -> np.ndarray:
    """uint8 [H, W, C] of a Pillow image of any mode; see `decode`."""
    if image.mode.startswith("I"):
        return from_array(np.asarray(image))
    if image.mode == "F":
        raise UserError("floating-point pixels have no agreed range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode in ("1", "L"):
        image = image.convert("L")
    else:  # palette, CMYK, YCbCr, LAB, HSV
        image = image.convert("RGB")
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def from_array(array: np.ndarray) -> np.ndarray:
    """uint8 [H, W, C] of an array [H, W] or [H, W, C] with 8 or 16 bits a pixel."""
    if array.ndim == 2:
        array = array[..., None]
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 65535:
        raise UserError(f"{array.dtype} pixels beyond 16 bits; save it with 8 or 16 bits")
    return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)


def to_pil(image: np.ndarray) -> Image.Image:
    """The Pillow image of a uint8 array [H, W, C], C in 1, 3, 4."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def with_channels(image: Image.Image, channels: int) -> Image.Image:
    """Grey for 1, RGB for 3 (transparency lies on white), RGBA for 4."""
    if channels == 4:
        return image.convert("RGBA")
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def to_input(image: np.ndarray, args) -> np.ndarray:
    """A person's image as held-out ones come to a run of these arguments: uint8 [size, size, c],
    out of the middle where training cuts at random."""
    stored = args.random_crop or args.size
    first = (stored - args.size) // 2
    middle = slice(first, first + args.size)
    square = to_square(image, stored, args.channels, args.crop, args.resample)
    return square[middle, middle]


def to_square(
    image: np.ndarray, size: int, channels: int, crop: str = "center", resample: str = "lanczos"
) -> np.ndarray:
    """uint8 [size, size, channels] of a uint8 image [H, W, 1|3|4].

    `crop`: "center" takes the central square, "stretch" changes the proportions, "pad" keeps the
    whole image on a white (for RGBA: transparent) square.  `resample` is a key of `RESAMPLE`;
    shrinking always averages over the source pixels, except with "nearest".
    """
    picture = with_channels(to_pil(image), channels)
    width, height = picture.size
    method = RESAMPLE[resample]
    if crop == "pad" and width != height:
        scale = size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        ground = {1: 255, 3: (255, 255, 255), 4: (255, 255, 255, 0)}[channels]
        square = Image.new(picture.mode, (size, size), ground)
        corner = ((size - inner[0]) // 2, (size - inner[1]) // 2)
        square.paste(picture.resize(inner, method), corner)
        picture = square
    else:
        box = (0.0, 0.0, float(width), float(height))
        if crop != "stretch":
            side = min(width, height)
            left, top = (width - side) // 2, (height - side) // 2
            box = (left, top, left + side, top + side)
        if picture.size != (size, size):
            picture = picture.resize((size, size), method, box=box)
    array = np.asarray(picture)
    return array[..., None] if array.ndim == 2 else array
