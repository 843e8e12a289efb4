"""Weights and images from a seed, the same with and without torch."""

import math

import numpy as np

SIZES = {"squeezenet": 58, "vgg": 64, "inception": 139}


def weights(shapes: dict[str, list[int]], seed: int) -> dict[str, np.ndarray]:
    """One stream of normal numbers for all: kernels by He's rule, biases and means small, the
    rest around 1."""
    random = np.random.RandomState(seed)
    made = {}
    for name, shape in shapes.items():
        x = random.randn(*shape)
        if len(shape) > 1:
            x *= math.sqrt(2 / math.prod(shape[1:]))
        elif name.endswith(("bias", "mean")):
            x *= 0.1
        else:
            x = 1 + 0.1 * x
        made[name] = x.astype(np.float32)
    return made


def images(size: int, n: int = 1) -> np.ndarray:
    """Prepared images [n, size, size, 3]; noise over slow waves, so that all places differ."""
    random = np.random.RandomState(size)
    waves = np.sin(np.linspace(0, 9, size))
    x = waves[:, None, None] * waves[None, :, None] + 0.5 * random.randn(n, size, size, 3)
    return x.astype(np.float32)
