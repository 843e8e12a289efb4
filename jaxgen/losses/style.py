"""Content and style of images by a classifier's features (Gatys et al., 2016), and smoothness.

Features are maps [b, h, w, c] after the ReLU, of any size. A loss of the whole batch is the mean of
what these return.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

Maps = Float[Array, "b h w c"]
Grams = Float[Array, "b c c"]


def content(maps: Maps, target: Maps) -> Float[Array, "b"]:
    """Mean square of F - P, whose weight does not depend on the size of the image: 2 / (hwc) of the
    paper's Eq. 1, half of the sum."""
    return ((maps - target) ** 2).mean((1, 2, 3))


def gram(maps: Maps) -> Grams:
    """G / M: the mean over the map's M = hw positions of the features' products, by which images of
    different sizes compare (Eq. 3 is the sum)."""
    return jnp.einsum("bhwi,bhwj->bij", maps, maps) / (maps.shape[1] * maps.shape[2])


def style(grams: Grams, target: Grams) -> Float[Array, "b"]:
    """A layer's E_l = sum (G/M - A/M')^2 / (4 c^2), Eq. 4.

    Three other normalisations are about. Gatys' own PyTorch code has the mean over the matrix,
    4 E_l; Johnson et al. (2016) and neural-style divide the matrices by c, too: 4 E_l / c^2.
    """
    return ((grams - target) ** 2).mean((1, 2)) / 4


def roughness(x: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    """Sum of the squared differences of neighbouring pixels; neural-style's "TV" term follows the
    gradient of half of it."""
    down, right = x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]
    return (down**2).sum((1, 2, 3)) + (right**2).sum((1, 2, 3))


def total_variation(x: Float[Array, "b h w c"], beta: float = 2.0) -> Float[Array, "b"]:
    """Sum over pixels of (dx^2 + dy^2)^(beta / 2), without the last row and column (Mahendran &
    Vedaldi, 2015)."""
    down, right = x[:, 1:, :-1] - x[:, :-1, :-1], x[:, :-1, 1:] - x[:, :-1, :-1]
    square = down**2 + right**2
    if beta != 2:  # a power below 1 has no slope at 0
        flat = square == 0
        square = jnp.where(flat, 0.0, jnp.where(flat, 1.0, square) ** (beta / 2))
    return square.sum((1, 2, 3))
