"""Differentiable augmentation (Zhao, Liu, Lin, Zhu & Han, 2020), https://arxiv.org/abs/2006.10738.

D sees real and made images only through T = `augment`, with other draws each time, and G learns
through T too (Eqs. 2 and 3). Colour, translation by up to 1/8 of the side and a cutout of half of
it; every image is changed.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen import draw

Images = Float[Array, "b h w c"]
Each = Float[Array, "b"]
Places = Int[Array, "b 2"]  # (row, column)


def augment(
    images: Images,
    key: jax.Array,
    *,
    color: bool = True,
    translation: bool = True,
    cutout: bool = True,
) -> Images:
    """Images in [-1, 1] (beyond it after changes of colour), each changed in a way of its own."""
    n, height, width, _ = images.shape
    key_color, key_shift, key_box = jax.random.split(key, 3)
    if color:
        brightness, saturation, contrast = draw.uniform(key_color, n, (3,)).T
        images = recolor(images, brightness - 0.5, 2 * saturation, contrast + 0.5)
    if translation:
        room = jnp.array([furthest(height), furthest(width)])
        images = translate(images, draw.randint(key_shift, n, (2,), -room, room + 1))
    if cutout:
        # of an even box the centre is a corner between pixels, the rim's among them
        ends = jnp.array([side + 1 - half(side) % 2 for side in (height, width)])
        images = cut(images, draw.randint(key_box, n, (2,), 0, ends))
    return images


def furthest(side: int) -> int:
    """The longest shift along a side of so many pixels."""
    return int(side / 8 + 0.5)


def half(side: int) -> int:
    return int(side / 2 + 0.5)


def recolor(images: Images, brightness: Each, saturation: Each, contrast: Each) -> Images:
    """Adds the brightness, then scales the distance from the mean of the channels at each pixel,
    then that from the mean of the image."""
    b, s, c = (x[:, None, None, None] for x in (brightness, saturation, contrast))
    images = images + b
    grey = images.mean(axis=-1, keepdims=True)
    images = grey + s * (images - grey)
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return mean + c * (images - mean)


def translate(images: Images, shift: Places) -> Images:
    """Pixel (i, j) reads (i, j) + shift, of at most an eighth of the side; grey (0) beyond."""
    _, height, width, channels = images.shape
    rows, columns = furthest(height), furthest(width)
    padded = jnp.pad(images, ((0, 0), (rows, rows), (columns, columns), (0, 0)))

    def cut(image, by):
        corner = (by[0] + rows, by[1] + columns, 0)
        return jax.lax.dynamic_slice(image, corner, (height, width, channels))

    return jax.vmap(cut)(padded, shift)


def cut(images: Images, centre: Places) -> Images:
    """Grey (0) in a box half as high and wide as the image, which may reach over its rim."""
    _, height, width, _ = images.shape

    def covered(side, at):
        first = at[:, None] - half(side) // 2
        place = jnp.arange(side)
        return (place >= first) & (place < first + half(side))

    box = covered(height, centre[:, 0])[:, :, None] & covered(width, centre[:, 1])[:, None, :]
    return images * ~box[..., None]
