"""What LAPGAN must beat: `python -m tests.coarse SPEC --size 32 --side 8 --out DIR`.

The real training images, of which a pyramid's coarsest level is left, enlarged. They are PNG files
in a folder, which `python -m jaxgen evaluate --images DIR --reference SPEC` scores.
"""

from pathlib import Path

import tyro

from jaxgen.data.images import to_pil
from jaxgen.data.pipeline import load
from jaxgen.data.source import to_float
from jaxgen.pictures import as_uint8, save_png
from jaxgen.systems.gan.lapgan import down, up


def write(spec: tyro.conf.Positional[str], out: Path, size: int = 32, side: int = 8) -> Path:
    """Writes the training images of `spec`, of `size` pixels, made of those of `side` pixels."""
    data = load(spec, size=size, channels=3)
    images = to_float({"image": data.take(range(len(data)))["image"]})["image"]
    out.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(as_uint8(up(down(images, side), size))):
        save_png(out / f"{i:05d}.png", to_pil(image))
    return out


if __name__ == "__main__":
    tyro.cli(write)
