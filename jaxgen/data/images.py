"""Images of any size, mode and bit depth as uint8 arrays [H, W, C]; then of one size."""

import functools
import io
import re
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from jaxgen.data.reading import readable
from jaxgen.data.source import DataInfo
from jaxgen.errors import UserError

LARGEST = 2**28  # pixels of an image that is opened, such as 16,384 x 16,384: 0.8 GB in RGB
# What Pillow tells from its suffix and does not read, or draws by another program.
UNREAD = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
# By which a JPEG is made smaller while it is decoded. By 8 takes hardly less time than by 4, and
# its blocks of one value each are a coarser picture.
REDUCTIONS = (4, 2)

RESAMPLE = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}
CROPS = ("center", "stretch", "pad")


class Header(NamedTuple):
    """Height and width in pixels as `decode` gives them, and whether the image is a JPEG."""

    height: int
    width: int
    jpeg: bool = False

    def reduction(self, least: int) -> int:
        """The largest factor by which a JPEG can be reduced with sides of four times `least` pixels
        left; 1 for other images, or where `least` is 0."""
        short = min(self.height, self.width)
        fits = (k for k in REDUCTIONS if self.jpeg and least and short // k >= 4 * least)
        return next(fits, 1)


@functools.cache
def suffixes() -> frozenset[str]:
    """The suffixes of the images that Pillow reads, in small letters: `.png`, `.avif`, ..."""
    Image.init()
    known = {*Image.OPEN, "MPO"} - UNREAD  # a JPEG of several views, which opens as a JPEG
    return frozenset(x for x, kind in Image.registered_extensions().items() if kind in known)


def decode(file: Path | str | bytes, name: str = "", reduce: int = 1) -> np.ndarray:
    """The image in `file` (a path, or the file's bytes called `name`), upright as its EXIF says.

    Returns uint8 [H, W, C]: C is 1 (grey), 3 (RGB) or 4 (RGBA, where the file has transparency).
    16-bit grey is scaled by 1/257, CMYK becomes RGB, of an animation the first frame counts.
    reduce: by which a JPEG (`Header.reduction`) is made smaller while it is decoded, which is many
      times as fast; sides are rounded up.
    Raises UserError, which names the file, when it cannot be read.
    """
    with _opened(file, name) as (image, _):
        if reduce > 1:
            image.draft(image.mode, (image.width // reduce, image.height // reduce))
        image.load()
        return from_pil(ImageOps.exif_transpose(image))


def decode_classes(file: Path | str | bytes, name: str = "") -> np.ndarray:
    """The label map in `file`, uint8 [H, W, 1]: its values, or the indices of its palette.

    Raises UserError, as `decode` does, also for an image in colours.
    """
    with _opened(file, name) as (image, _):
        image.load()
        array = np.asarray(ImageOps.exif_transpose(image))
        if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
            raise UserError(
                f"its pixels are {image.mode}; a label map has one channel of class numbers, or a "
                "palette"
            )
        if image.mode == "1":
            array = array * np.uint8(255)
        if array.min() < 0 or array.max() > 255:
            raise UserError(f"it has class {array.max()}; classes are numbers from 0 to 255")
        return array.astype(np.uint8)[..., None]


def header(file: Path | str | bytes, name: str = "") -> Header:
    """Facts of an image that its file's header tells."""
    with _opened(file, name) as (image, data):
        # Pillow decodes a whole PNG in search of its orientation, and gives a TIFF's upright sides.
        marks = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
        plain = image.format == "PNG" and not any(mark in data for mark in marks)
        upright = plain or image.format == "TIFF"
        turned = not upright and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        sides = (image.width, image.height) if turned else (image.height, image.width)
        return Header(*sides, jpeg=image.format in ("JPEG", "MPO"))


def sides(file: Path | str | bytes, name: str = "") -> tuple[int, int]:
    """Height and width of the image that `decode` would give, from the file's header alone."""
    return header(file, name)[:2]


def read_bytes(file: Path | str) -> bytes:
    """The file's bytes; UserError that names it where it cannot be read."""
    with readable(file):
        return Path(file).read_bytes()


@contextmanager
def _opened(file, name):
    """The Pillow image, not yet decoded, and the file's bytes."""
    name = name or str(file)
    data = file if isinstance(file, bytes) else read_bytes(file)
    try:
        with _unlimited, Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > LARGEST:
                raise UserError(
                    f"{image.height}x{image.width} pixels (height x width), and images of up to "
                    f"{LARGEST / 1e6:.0f} million are opened; make it smaller, or cut it into "
                    "several"
                )
            yield image, data
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except Exception as error:  # Pillow raises many kinds for a broken file
        reason = str(error).split("\n")[0] or type(error).__name__
        reason = re.sub(r" file <_io.*", "", reason)  # of no use to a user
        raise UserError(
            f"{name} is not a readable image ({reason}); replace it by a whole PNG or JPEG, or "
            "move it away"
        ) from None


class _Unlimited:
    """Without the warning, or the error, that Pillow has for a large image: `LARGEST` is the limit
    here.  Pillow's own is the whole process's, and lifted while any thread is inside."""

    def __init__(self):
        self._lock, self._inside = Lock(), 0

    def __enter__(self):
        with self._lock:
            if not self._inside:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *_):
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS = self._limit


_unlimited = _Unlimited()


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
    if not all(side.isdecimal() and int(side) > 0 for side in sides) or len(sides) > 2:
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
