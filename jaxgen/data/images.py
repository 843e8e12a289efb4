"""Images of any size, mode and bit depth as uint8 arrays [H, W, C]; then of one size."""

import io
import re
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from jaxgen.data.source import DataInfo
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
        reason = re.sub(r" file <_io.*", "", reason)  # of no use to a user
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


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of "64" (a square) or "48x96" (48 high, 96 wide).  Raises UserError."""
    sides = text.lower().split("x")
    if not all(side.isdigit() and int(side) > 0 for side in sides) or len(sides) > 2:
        raise UserError(f"{text} is no size; write 64 for a square, 48x96 for 48 high and 96 wide")
    return int(sides[0]), int(sides[-1])


def to_input(image: np.ndarray, info: DataInfo, kind: str = "image") -> np.ndarray:
    """A user's image uint8 [H, W, C] as held-out ones come to a system of that data: uint8 of
    `info.shape`, out of the middle where training cuts at random.  kind: see `to_size`."""
    *size, channels = info.shape
    stored = info.stored or tuple(size)
    return middle(to_size(image, stored, channels, info.crop, info.resample, kind), size)


def middle(images: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The middle [..., h, w, C] of images [..., H, W, C]."""
    top, left = ((whole - side) // 2 for whole, side in zip(images.shape[-3:-1], size, strict=True))
    return images[..., top : top + size[0], left : left + size[1], :]


def to_size(
    image: np.ndarray,
    size: tuple[int, int],
    channels: int,
    crop: str = "center",
    resample: str = "lanczos",
    kind: str = "image",
) -> np.ndarray:
    """uint8 [*size, channels] of a uint8 image [H, W, 1|3|4]; of several [T, H, W, C] each.

    crop: "center" takes the largest part of the right proportions out of the middle, "stretch"
      changes the proportions, "pad" keeps the whole image on a white (for RGBA: transparent, for
      masks and label maps: zero) ground.
    resample: a key of `RESAMPLE`; shrinking always averages over the source pixels, except with
      "nearest".
    kind: "mask" and "classes" have one channel and always take the nearest pixel; so does "flow",
      float32 [H, W, 2], of which the ground is NaN and the pixels that it counts are those of the
      new size.

    An image that has the size and the channels already comes back as it is, of any type and number
    of channels.
    """
    if image.ndim > 3:
        return np.stack([to_size(x, size, channels, crop, resample, kind) for x in image])
    if kind == "flow":
        return _flow_to_size(image, size, crop)
    image_like = kind in ("image", "video")
    channels = channels if image_like else 1
    if image.shape == (*size, channels):
        return image
    if image.dtype != np.uint8 or image.shape[-1] not in (1, 3, 4):
        raise UserError(
            f"images of {image.shape[-1]} channels and type {image.dtype} cannot be resized; give "
            f"them the size {size[0]} x {size[1]} and {channels} channels"
        )
    picture = with_channels(to_pil(image), channels) if image_like else to_pil(image)
    method = RESAMPLE[resample if image_like else "nearest"]
    ground = {1: 255, 3: (255, 255, 255), 4: (255, 255, 255, 0)}[channels] if image_like else 0
    array = np.asarray(_fitted(picture, size, crop, method, ground)[0])
    return array[..., None] if array.ndim == 2 else array


def _flow_to_size(flow: np.ndarray, size: tuple[int, int], crop: str) -> np.ndarray:
    if flow.shape[:-1] == size:
        return flow
    nearest = Image.Resampling.NEAREST
    parts = [_fitted(Image.fromarray(x), size, crop, nearest, np.nan) for x in np.rollaxis(flow, 2)]
    scales = parts[0][1]
    return np.stack([np.asarray(part) for part, _ in parts], axis=-1) * np.float32(scales)


def _fitted(
    picture: Image.Image, size: tuple[int, int], crop: str, method, ground
) -> tuple[Image.Image, tuple[float, float]]:
    """The picture in the size, and by how much its width and height were scaled."""
    (width, height), (high, wide) = picture.size, size
    if crop == "pad" and width * high != height * wide:
        scale = min(wide / width, high / height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        padded = Image.new(picture.mode, (wide, high), ground)
        corner = ((wide - inner[0]) // 2, (high - inner[1]) // 2)
        padded.paste(picture.resize(inner, method), corner)
        return padded, (inner[0] / width, inner[1] / height)
    cut = (width, height)
    if crop != "stretch":
        cut = (
            min(width, max(1, round(height * wide / high))),
            min(height, max(1, round(width * high / wide))),
        )
    left, top = (width - cut[0]) // 2, (height - cut[1]) // 2
    if picture.size != (wide, high):
        box = (left, top, left + cut[0], top + cut[1])
        picture = picture.resize((wide, high), method, box=box)
    return picture, (wide / cut[0], high / cut[1])
