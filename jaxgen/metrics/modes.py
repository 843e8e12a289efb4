"""How many modes of a mixture a generator has found, and what its discriminator makes of that."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Coverage(NamedTuple):
    covered: int
    """Modes with at least `least` of all samples within three standard deviations."""
    high_quality: float
    """Share of samples within three standard deviations of a mode; 0.989 of a Gaussian's own."""


def coverage(
    samples: Float[np.ndarray, "n 2"],
    modes: Float[np.ndarray, "k 2"],
    std: float,
    least: float = 0.01,
) -> Coverage:
    """Counts samples around the modes, which lie more than six `std` apart."""
    distance = np.linalg.norm(samples[:, None] - modes, axis=-1)
    near = distance < 3 * std  # [n, k]
    return Coverage(int((near.mean(axis=0) >= least).sum()), float(near.any(axis=1).mean()))


def jensen_shannon_of(k: int, n: int) -> float:
    """The divergence in nats between n equal modes and k of these, equal: what a GAN's value says
    of a generator that has lost the others."""
    found, lost = k / n, 1 - k / n
    data = lost * math.log(2) + found * math.log(2 * k / (n + k))
    return (data + math.log(2 * n / (n + k))) / 2
