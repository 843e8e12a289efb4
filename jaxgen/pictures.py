"""Arrays of images to pictures: grids, strips and films."""

import itertools
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jaxgen.errors import UserError
from jaxgen.files import ffmpeg, replacing

FILM = 256  # pixels of the longer side of a film, at least about half of which it has


def as_uint8(images) -> np.ndarray:
    """Images in [-1, 1] as 0..255: floor(127.5 x + 128), saturated; uint8 passes through."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    return np.floor(images.astype(np.float32) * 127.5 + 128).clip(0, 255).astype(np.uint8)


def grid(images, columns: int | None = None, gap: int = 2) -> Image.Image:
    """The images [N,H,W,C] row by row, as near to a square as N allows unless `columns` is given.

    C is 1, 3 or 4; transparent images are laid on a checkerboard. `gap` is in pixels.
    """
    images = as_uint8(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or 0 in images.shape:
        raise ValueError(f"a grid is made of images [N,H,W,1|3|4], not of {images.shape}")
    n, height, width, channels = images.shape
    if channels == 4:
        images = _on_checkerboard(images)
    columns = min(columns or int(np.ceil(np.sqrt(n * height / width))), n)
    rows = -(-n // columns)
    cells = np.full((rows * columns, height + gap, width + gap, images.shape[-1]), 255, np.uint8)
    cells[:n, :height, :width] = images
    sheet = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    sheet = sheet.reshape(rows * (height + gap), columns * (width + gap), -1)
    sheet = sheet[: sheet.shape[0] - gap, : sheet.shape[1] - gap]
    return Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)


def save_png(path: Path, picture: Image.Image, description: str = "") -> None:
    """Writes the picture; a file of that name is replaced at once, never half.

    description: what it shows, kept in the file (PNG's keyword Description).
    """
    about = PngInfo()
    if description:
        about.add_itxt("Description", description)
    with replacing(Path(path)) as temporary:
        picture.save(temporary, format="PNG", pnginfo=about)


def save_film(path: Path, frames: Sequence[Image.Image], fps: float = 24) -> None:
    """Writes the frames, all of one size, as a `.gif` (which loops) or `.mp4` (H.264).

    Small ones are enlarged by a whole factor, up to `FILM` pixels.  UserError where ffmpeg fails
    or is not there.
    """
    factor = max(1, FILM // max(frames[0].size))
    size = [factor * side for side in frames[0].size]
    larger = lambda frame: frame.resize(size, Image.Resampling.NEAREST)
    path, frames = Path(path), [larger(frame.convert("RGB")) for frame in frames]
    if path.suffix.lower() not in (".gif", ".mp4"):
        raise ValueError(f"a film is a .gif or an .mp4 file, not {path.name}")
    with replacing(path) as temporary:
        if path.suffix.lower() == ".gif":
            # GIF counts in hundredths of a second, and viewers slow down what is below two: frames
            # last one more or less, so that the film keeps its time.
            ends = [round(100 * i / fps) for i in range(len(frames) + 1)]
            lasts = [max(b - a, 2) * 10 for a, b in itertools.pairwise(ends)]
            frames[0].save(
                temporary,
                format="GIF",
                save_all=True,
                append_images=frames[1:],
                duration=lasts,
                loop=0,
            )
            return
        program = ffmpeg()
        width, height = frames[0].size
        raw = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {fps} -i -"
        # Players want 4:2:0 colour, hence even sides.
        even = "-vf pad=ceil(iw/2)*2:ceil(ih/2)*2 -c:v libx264 -crf 16 -pix_fmt yuv420p -f mp4"
        try:
            subprocess.run(
                [program, "-v", "error", "-y", *raw.split(), *even.split(), temporary],
                input=b"".join(frame.tobytes() for frame in frames),
                check=True,
                stderr=subprocess.PIPE,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or str(error).encode()
            why = said.decode(errors="replace").strip().splitlines()[-1]
            raise UserError(
                f"ffmpeg cannot write {path} ({why}); make room there, or write a .gif"
            ) from error


def _on_checkerboard(images: np.ndarray, side: int = 8) -> np.ndarray:
    """[N,H,W,4] -> [N,H,W,3] over squares of white and light grey."""
    _, height, width, _ = images.shape
    rows, columns = np.arange(height)[:, None] // side, np.arange(width) // side
    board = np.where((rows + columns) % 2, 224, 255)[..., None]
    alpha = images[..., 3:] / 255
    return np.rint(images[..., :3] * alpha + board * (1 - alpha)).astype(np.uint8)
