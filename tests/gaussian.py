"""What a generator of images must beat: `python -m tests.gaussian SPEC --size 64 --out DIR`.

A Gaussian with the mean and the covariance of the training images' pixels.  Its samples are PNG
files in a folder, which `python -m jaxgen evaluate --images DIR --reference SPEC` scores.
"""

from pathlib import Path

import numpy as np
import tyro

from jaxgen.data.images import to_pil
from jaxgen.data.pipeline import load
from jaxgen.pictures import as_uint8, save_png


def samples(images: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """uint8 [n, H, W, C] from uint8 images [m, H, W, C]. A sample is the mean and the images'
    differences from it with random weights of variance 1 / m, whose covariance is the images'."""
    x = images.reshape(len(images), -1) / np.float32(127.5) - 1
    mean = x.mean(axis=0)
    weights = np.random.default_rng(seed).normal(size=(n, len(x))).astype(np.float32)
    made = mean + weights / np.sqrt(np.float32(len(x))) @ (x - mean)
    return np.asarray(as_uint8(made.clip(-1, 1).reshape(n, *images.shape[1:])))


def write(spec: tyro.conf.Positional[str], out: Path, size: int = 64, n: int = 5000) -> Path:
    """Writes `n` samples of the fit to the training images of `spec`, brought to `size` pixels."""
    data = load(spec, size=size, channels=3)
    out.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(samples(data.take(range(len(data)))["image"], n)):
        save_png(out / f"{i:05d}.png", to_pil(image))
    return out


if __name__ == "__main__":
    tyro.cli(write)
