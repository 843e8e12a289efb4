"""Changes of images, all differentiable: the operations of ADA's pipeline (Karras et al., 2020,
https://arxiv.org/abs/2006.06676, App. B); `nn.ada` draws them.

All geometry is one resampling: the image, mirrored on all sides, is made twice as large by the
low-pass filter of the sym6 wavelet, read bilinearly and made smaller again. The authors mirror as
much as the batch's changes ask for; here it is always the whole image, which is the same picture,
in a program of fixed shapes. As resizing is matrix products, it is meant for images up to 256 px.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Images = Float[Array, "b h w c"]
Each = Float[Array, "b"]

# The low-pass filters of the wavelets, of length 1. sym2 is Daubechies' with two moments.
SYM2 = np.array([1 - 3**0.5, 3 - 3**0.5, 3 + 3**0.5, 1 + 3**0.5]) / 32**0.5
SYM6 = np.array(
    [
        *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
        *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
        *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
    ]
)
POWER = np.array([10, 1, 1, 1]) / 13  # of natural images, by band from the lowest (App. B)


class Blit(NamedTuple):
    """flip: 0 or 1; turns: quarter turns, 0 to 3; shift: (x, y) in sides, rounded to pixels."""

    flip: Each
    turns: Each
    shift: Float[Array, "b 2"]


class Geom(NamedTuple):
    """Geometric changes in the order in which they are made; angles in radians, offset (x, y) in
    sides of the image."""

    scale: Each
    angle: Each
    stretch: Each
    angle_after: Each
    offset: Float[Array, "b 2"]


class Color(NamedTuple):
    """Changes of colour in the order in which they are made; luma is 0 or 1, hue in radians, the
    others are factors."""

    brightness: Each
    contrast: Each
    luma: Each
    hue: Each
    saturation: Each


class Cutout(NamedTuple):
    """size and centre (x, y) in sides."""

    size: Each
    centre: Float[Array, "b 2"]


class Changes(NamedTuple):
    """The changes of each of b images; None leaves them as they are."""

    blit: Blit | None = None
    geom: Geom | None = None
    color: Color | None = None
    filter: Float[Array, "b 4"] | None = None  # factors, by band from the lowest
    noise: Images | None = None  # to be added
    cutout: Cutout | None = None


def change(images: Images, changes: Changes) -> Images:
    """The images after the changes, in the order of `Changes`."""
    blit, geom, color, gains, noise, box = changes
    if blit or geom:
        images = warp(images, geometry(images.shape, blit, geom))
    if color:
        images = recolor(images, coloring(color))
    if gains is not None:
        images = filter_bands(images, gains)
    if noise is not None:
        images = images + noise
    if box:
        images = images * ~inside(images.shape, box)[..., None]
    return images


# Geometry


def geometry(
    shape: tuple[int, ...], blit: Blit | None = None, geom: Geom | None = None
) -> Float[Array, "b 3 3"]:
    """Matrices from an output pixel (x, y, 1), seen from the image's centre, to the input pixel
    that it reads."""
    n, height, width, _ = shape
    sides = jnp.array([width, height], jnp.float32)
    maps = [jnp.broadcast_to(jnp.eye(3), (n, 3, 3))]
    if blit:
        maps += [
            _scaling(1 - 2 * blit.flip, jnp.ones(n)),
            _rotation(blit.turns * jnp.pi / 2),
            _translation(-jnp.round(blit.shift * sides)),
        ]
    if geom:
        maps += [
            _scaling(1 / geom.scale, 1 / geom.scale),
            _rotation(geom.angle),
            _scaling(1 / geom.stretch, geom.stretch),
            _rotation(geom.angle_after),
            _translation(-geom.offset * sides),
        ]
    return functools.reduce(_product, maps)


def _product(a, b):
    return jnp.matmul(a, b, precision="highest")


def _rows(*rows):
    """[b, 3, 3] or [b, 4, 4] from its entries, numbers or [b]."""
    entries = jnp.broadcast_arrays(*(jnp.asarray(x, jnp.float32) for row in rows for x in row))
    return jnp.stack(entries, axis=-1).reshape(-1, len(rows), len(rows))


def _scaling(x, y):
    return _rows((x, 0, 0), (0, y, 0), (0, 0, 1))


def _rotation(angle):
    c, s = jnp.cos(angle), jnp.sin(angle)
    return _rows((c, -s, 0), (s, c, 0), (0, 0, 1))


def _translation(by):
    return _rows((1, 0, by[:, 0]), (0, 1, by[:, 1]), (0, 0, 1))


def warp(images: Images, matrix: Float[Array, "b 3 3"]) -> Images:
    """Images of the same size that read where `matrix` (see `geometry`) says; two sides beyond the
    centre there is nothing but grey."""
    _, height, width, _ = images.shape
    large = _resize(images, _enlarge(height), _enlarge(width))
    # Of the pixels of an image twice as large, with the filter's reach on every side
    x = (jnp.arange(2 * width + 12) - width - 5) / 2
    y = (jnp.arange(2 * height + 12) - height - 5) / 2
    m = matrix[..., None, None]
    from_x = m[:, 0, 0] * x + m[:, 0, 1] * y[:, None] + m[:, 0, 2]
    from_y = m[:, 1, 0] * x + m[:, 1, 1] * y[:, None] + m[:, 1, 2]
    read = _read(large, 2 * from_x + 3 * width - 2, 2 * from_y + 3 * height - 2)
    return _resize(read, _reduce(height), _reduce(width))


def _resize(images, rows, columns):
    """[b, h, w, c], [h', h], [w', w] -> [b, h', w', c]."""
    rows, columns = jnp.asarray(rows, images.dtype), jnp.asarray(columns, images.dtype)
    return jnp.einsum("yh,xw,bhwc->byxc", rows, columns, images, precision="highest")


@functools.cache
def _enlarge(n: int) -> np.ndarray:
    """[2 (3n - 2) + 2, n]: the image with its mirror image on both sides (the pixel of the rim is
    not repeated), twice as large; and a rim of nothing."""
    mirrored = np.pad(np.eye(n), ((n - 1, n - 1), (0, 0)), mode="reflect")
    sparse = np.zeros((2 * len(mirrored), n))
    sparse[::2] = mirrored
    sparse = np.pad(sparse, ((6, 5), (0, 0)))
    taps = 2 * SYM6 / SYM6.sum()
    large = sum(tap * sparse[11 - k : len(sparse) - k] for k, tap in enumerate(taps))
    return np.pad(large, ((1, 1), (0, 0)))


@functools.cache
def _reduce(n: int) -> np.ndarray:
    """[n, 2n + 12]: half as large, without the reach of the filter."""
    rows = np.zeros((n, 2 * n + 12))
    for i in range(n):
        rows[i, 2 * i + 1 : 2 * i + 13] = SYM6 / SYM6.sum()
    return rows


def _read(images, x, y):
    """The images [b, H, W, c] at the places x, y [b, h, w], bilinearly; at the rim beyond it."""
    _, height, width, _ = images.shape
    x, y = jnp.clip(x, 0, width - 1), jnp.clip(y, 0, height - 1)
    left, top = jnp.minimum(jnp.floor(x), width - 2), jnp.minimum(jnp.floor(y), height - 2)
    right_share, low_share = (x - left)[..., None], (y - top)[..., None]
    first = (top * width + left).astype(jnp.int32)

    def at(step):
        flat = images.reshape(len(images), -1, images.shape[-1])
        take = lambda image, index: image.at[index].get(mode="promise_in_bounds")
        return jax.vmap(take)(flat, first + step)

    upper = at(0) * (1 - right_share) + at(1) * right_share
    lower = at(width) * (1 - right_share) + at(width + 1) * right_share
    return upper * (1 - low_share) + lower * low_share


# Colour

GREY = np.array([1, 1, 1, 0]) / 3**0.5  # the axis of grey


def coloring(color: Color) -> Float[Array, "b 3 4"]:
    """The map of (r, g, b, 1) to (r, g, b)."""
    along = np.outer(GREY, GREY)
    across = np.diag([1, 1, 1, 0]) - along
    turned = np.array([[0, -1, 1, 0], [1, 0, -1, 0], [-1, 1, 0, 0], [0, 0, 0, 0]]) / 3**0.5
    one = np.diag([0, 0, 0, 1])
    b, c, luma, hue, s = (x[:, None, None] for x in color)
    maps = [
        one + along + across + b * np.outer([1, 1, 1, 0], [0, 0, 0, 1]),
        one + c * (along + across),
        one + (1 - 2 * luma) * along + across,
        one + along + jnp.cos(hue) * across + jnp.sin(hue) * turned,
        one + along + s * across,
    ]
    return functools.reduce(_product, reversed(maps))[:, :3]


def recolor(images: Images, matrix: Float[Array, "b 3 4"]) -> Images:
    """The images with their colours mapped by `matrix`; one channel is taken for three equal ones,
    of which it becomes the mean. ValueError for other numbers of channels."""
    if images.shape[-1] not in (1, 3):
        raise ValueError(f"images of {images.shape[-1]} channels have no colour; use color=False")
    linear, constant = matrix[:, :, :3], matrix[:, None, None, :, 3]
    if images.shape[-1] == 1:
        linear = linear.sum(-1).mean(-1)[:, None, None]
        constant = constant.mean(-1, keepdims=True)
    return jnp.einsum("bij,bhwj->bhwi", linear, images, precision="highest") + constant


# Filter, cutout


def filter_bands(images: Images, gains: Float[Array, "b 4"]) -> Images:
    """Each band of frequencies times its gain, after each of which the expected power (of natural
    images) is restored."""
    _, height, width, _ = images.shape
    power = jnp.asarray(POWER, gains.dtype)
    gains = gains / jnp.prod(jnp.sqrt(1 + power * (gains**2 - 1)), axis=1, keepdims=True)
    rows, columns = (
        jnp.einsum("bk,kij->bij", gains, jnp.asarray(_bands(n), gains.dtype), precision="highest")
        for n in (height, width)
    )
    return jnp.einsum("byh,bxw,bhwc->byxc", rows, columns, images, precision="highest")


def filter_bank() -> np.ndarray:
    """[4, 43]: filters of four octaves from the lowest, of the sym2 wavelet; their sum is 1."""
    low = np.convolve(SYM2, SYM2[::-1]) / 2
    high = SYM2 * [1, -1, 1, -1]
    high = np.convolve(high, high[::-1]) / 2
    bank = np.eye(4, 1)
    for i in range(1, 4):
        sparse = np.zeros((4, 2 * bank.shape[1] - 1))
        sparse[:, ::2] = bank
        bank = np.stack([np.convolve(row, low) for row in sparse])
        middle = (bank.shape[1] - len(high)) // 2
        bank[i, middle : middle + len(high)] += high
    return bank


@functools.cache
def _bands(n: int) -> np.ndarray:
    """[4, n, n]: the filters of the bank as matrices, on a side of n pixels that is mirrored."""
    mirrored = np.pad(np.eye(n), ((21, 21), (0, 0)), mode="reflect")
    parts = np.stack([mirrored[k : k + n] for k in range(43)])
    return np.einsum("kt,tij->kij", filter_bank(), parts)


def inside(shape: tuple[int, ...], box: Cutout) -> Array:
    """[b, h, w] of bool: which pixels a box covers; nothing where its size is 0."""
    _, height, width, _ = shape
    x, y = (jnp.arange(width) + 0.5) / width, (jnp.arange(height) + 0.5) / height
    near = lambda place, at: jnp.abs(place - at[:, None]) < box.size[:, None] / 2
    return near(y, box.centre[:, 1])[:, :, None] & near(x, box.centre[:, 0])[:, None, :]
