"""The sliced Wasserstein distance between patches (Karras et al., 2018, progressive growing),
https://arxiv.org/abs/1710.10196, Sec. 5, with the conventions of the released code.

Images in 0..255 become Laplacian pyramids down to 16 pixels.  Each level gives 128 patches of
7 x 7 pixels an image (16,384 images), which are normalised by channel over all patches, reals and
samples apart.  Along random directions, 4 x 128 of them, the sorted projections are compared; the
mean absolute difference is the distance, usually printed times 1,000.
"""

from collections.abc import Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Shaped

Images = Float[Array | np.ndarray, "b h w c"]
Patches = Float[Array | np.ndarray, "n 7 7 c"]
PATCH, SMALLEST = 7, 16
BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16


@partial(jax.jit, static_argnames="levels")
def laplacian_pyramid(images: Images, levels: int) -> list[Float[Array, "b _ _ c"]]:
    """Levels from fine to coarse, each half the size of the one before: what the next one lacks,
    and at last the small image itself.  Sides are multiples of 2^(levels - 1)."""
    pyramid, x = [], jnp.asarray(images)
    for _ in range(levels - 1):
        small = _blur(x, 1)[:, ::2, ::2]
        pyramid.append(x - _up(small))
        x = small
    return [*pyramid, x]


@jax.jit
def from_pyramid(
    pyramid: Sequence[Float[Array | np.ndarray, "b _ _ c"]],
) -> Float[Array | np.ndarray, "b h w c"]:
    """The images again."""
    x = pyramid[-1]
    for level in pyramid[-2::-1]:
        x = level + _up(x)
    return x


@jax.jit
def patches(images: Images, corners: Int[Array | np.ndarray, "b k 2"]) -> Float[Array, "bk 7 7 c"]:
    """The patches whose first pixels are at `corners` (row, column), image by image."""

    def cut(image, corner):
        return lax.dynamic_slice(image, (*corner, 0), (PATCH, PATCH, image.shape[-1]))

    cuts = jax.vmap(jax.vmap(cut, (None, 0)))(jnp.asarray(images), jnp.asarray(corners))
    return cuts.reshape(-1, *cuts.shape[2:])


@jax.jit
def descriptors(patches: Patches) -> Float[Array, "n 49*c"]:
    """Patches normalised by channel over the set (population deviation), as vectors."""
    x = jnp.asarray(patches)
    x = x - x.mean(axis=(0, 1, 2))
    x = x / jnp.sqrt((x**2).mean(axis=(0, 1, 2)))
    return x.reshape(len(x), -1)


@jax.jit
def sliced_wasserstein(
    a: Float[Array | np.ndarray, "n d"],
    b: Float[Array | np.ndarray, "n d"],
    directions: Float[Array | np.ndarray, "d k"],
) -> Float[Array, ""]:
    """The mean over directions (unit vectors) and ranks of the distance of sorted projections."""

    def along(direction):
        projected = (jnp.matmul(x, direction, precision="highest") for x in (a, b))
        x, y = map(jnp.sort, projected)
        return jnp.abs(x - y).mean()

    return lax.map(along, directions.T, batch_size=8).mean()


def swd(
    real: Shaped[np.ndarray, "n h w c"],
    fake: Shaped[np.ndarray, "_ _ _ _"],
    key: jax.Array,
    count: int = 128,
    directions: int = 512,
    batch: int = 64,
) -> Float[np.ndarray, "levels"]:
    """The distance at each level, fine to coarse, not times 1,000.

    Images in 0..255, square, of a power of two from 16 pixels on.  count: patches an image.
    Memory: the patches of one level, count 147 floats an image and set of RGB.  ValueError for
    sets or images of other sizes.
    """
    if real.shape != fake.shape:
        raise ValueError(f"sorted sets are compared: {real.shape} and {fake.shape} must be equal")
    size = real.shape[1]
    if real.shape[2] != size or size < SMALLEST or size & (size - 1):
        raise ValueError(f"images of {real.shape[1:3]}: sides must be one power of two, 16 or more")
    levels = (size // SMALLEST).bit_length()
    key_directions, *keys = jax.random.split(key, 1 + levels)

    def level_of(images, level, key):
        parts = []
        for i in range(0, len(images), batch):
            part = images[i : i + batch]
            key_part = jax.random.fold_in(key, i)
            parts.append(np.asarray(_random_patches(part, key_part, level, levels, count)))
        return descriptors(np.concatenate(parts))

    distances = []
    for level, key_level in enumerate(keys):
        of_real, of_fake = jax.random.split(key_level)
        a, b = level_of(real, level, of_real), level_of(fake, level, of_fake)
        key_level = jax.random.fold_in(key_directions, level)
        along = jax.random.normal(key_level, (a.shape[1], directions))
        distances.append(sliced_wasserstein(a, b, along / jnp.linalg.norm(along, axis=0)))
    return np.stack(distances)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _random_patches(images, key, level, levels, count):
    x = laplacian_pyramid(jnp.asarray(images, jnp.result_type(float)), levels)[level]
    last = x.shape[1] - PATCH
    return patches(x, jax.random.randint(key, (len(x), count, 2), 0, last + 1))


def _blur(x, gain):
    """Binomial, 5 x 5, mirrored at the border without repeating the edge."""
    for axis in (1, 2):
        pad = [(0, 0)] * 4
        pad[axis] = (2, 2)
        size, wide = x.shape[axis], jnp.pad(x, pad, mode="reflect")
        slices = (lax.slice_in_dim(wide, i, i + size, axis=axis) for i in range(5))
        weights = map(float, gain * BINOMIAL)
        x = reduce(jnp.add, (w * s for w, s in zip(weights, slices, strict=True)))
    return x


def _up(x):
    b, h, w, c = x.shape
    return _blur(jnp.zeros((b, 2 * h, 2 * w, c), x.dtype).at[:, ::2, ::2].set(x), 2)
