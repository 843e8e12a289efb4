"""Sprites by the process that made dSprites (Matthey et al., 2017), with their exact factors.

White on black, 64 x 64, in 737,280 combinations: square, ellipse or heart; 6 scales from 0.5 to 1;
40 orientations from 0 to 2 pi, both included, as in dSprites; 32 x 32 places, a pixel apart.  The
outlines are our own: dSprites' drawing program was not published.

Every combination is kept as its factors; the image is cut out of one of 720 drawings when it is
read, which takes microseconds.
"""

import functools

import numpy as np

from jaxgen.data.source import Field, Source, digest, parse_count, some

VERSION = "1"  # of the drawings and of what is drawn and held out
SIDE, PLACES = 64, 32
SHAPES = ("square", "ellipse", "heart")
SCALES = np.linspace(0.5, 1, 6)
ORIENTATIONS = np.linspace(0, 2 * np.pi, 40)
FACTORS = ("shape", "scale", "orientation", "x", "y")
SIZES = (len(SHAPES), len(SCALES), len(ORIENTATIONS), PLACES, PLACES)
HELD_OUT = 0.1
RADIUS = 16.0  # pixels that a sprite of scale 1 reaches from its place; so none is cut off
ACROSS = 5  # points a pixel, squared, of which more than half lie inside a white one


def sprites(split: str, number: str = "50000") -> Source:
    """`number` of the 737,280 combinations, drawn by a fixed seed without repetition; image
    [64, 64, 1], 0 or 255, and attributes [5], each the index of the factor's value.

    About a tenth of the combinations, by a hash of the factors, is test.  Those of one image (the
    last orientation is the first one once more; small squares look alike at others) stand on one
    side.
    """
    count = parse_count("sprites", number, int(np.prod(SIZES)))
    chosen = np.random.default_rng(0).permutation(int(np.prod(SIZES)))[:count]
    factors = np.stack(np.unravel_index(chosen, SIZES), axis=1).astype(np.uint8)
    factors = factors[_held_out(factors) == (split == "test")]
    some(factors, f"sprites:{count}", split)

    def read(i: int) -> dict:
        shape, scale, orientation, x, y = factors[i].tolist()
        canvas = _canvases()[shape, scale, orientation]
        top, left = PLACES - 1 - y, PLACES - 1 - x
        image = canvas[top : top + SIDE, left : left + SIDE, None]
        return {"image": image, "attributes": factors[i].astype(np.int32)}

    return Source(
        length=len(factors),
        read=read,
        fingerprint=digest("sprites", VERSION, str(count), split),
        fields={"image": Field("image", 1), "attributes": Field("attributes")},
        attribute_names=FACTORS,
    )


def _held_out(factors: np.ndarray) -> np.ndarray:
    """Booleans [N], by a multiplicative hash of what the image is: drawing and place."""
    first: dict[bytes, int] = {}
    drawings = _canvases().reshape(-1, *_canvases().shape[3:])
    same = np.array([first.setdefault(x.tobytes(), k) for k, x in enumerate(drawings)])
    shape, scale, orientation, x, y = factors.astype(np.int64).T
    drawing = same[np.ravel_multi_index((shape, scale, orientation), SIZES[:3])]
    number = ((drawing * PLACES + x) * PLACES + y + 1).astype(np.uint64)
    number = number * np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return (number >> np.uint64(40)) < HELD_OUT * 2**24


@functools.cache
def _canvases() -> np.ndarray:
    """uint8 [3, 6, 40, 95, 95]: each sprite in the middle of a canvas, of which every window of 64
    pixels shows it at another place."""
    wide = SIDE + PLACES - 1
    edge = wide // 2 - int(RADIUS)
    room = wide - 2 * edge
    points = (np.arange(room * ACROSS) + 0.5) / ACROSS - room / 2
    y, x = np.meshgrid(points, points, indexing="ij")
    drawn = np.zeros((*SIZES[:3], wide, wide), np.uint8)
    for i, scale in enumerate(SCALES):
        for j, angle in enumerate(ORIENTATIONS):
            u = (np.cos(angle) * x + np.sin(angle) * y) / (RADIUS * scale)
            v = (np.cos(angle) * y - np.sin(angle) * x) / (RADIUS * scale)
            for k, inside in enumerate((_square(u, v), _ellipse(u, v), _heart(u, v))):
                share = inside.reshape(room, ACROSS, room, ACROSS).mean(axis=(1, 3))
                drawn[k, i, j, edge : edge + room, edge : edge + room] = 255 * (share > 0.5)
    return drawn


def _square(u, v):
    return np.maximum(abs(u), abs(v)) < 0.68


def _ellipse(u, v):
    return (u / 0.95) ** 2 + (v / 0.55) ** 2 < 1


def _heart(u, v):
    """The sextic (x^2 + y^2 - 1)^3 < x^2 y^3, point down."""
    x, y = u * 1.25, 0.12 - v * 1.25
    xx, yy = x * x, y * y
    return np.cbrt(xx * yy * y) > xx + yy - 1
