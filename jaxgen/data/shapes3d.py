"""Things of eight kinds as voxels, built from a few parts with drawn measures.

They are our own constructions: the meshes that pybullet ships (random_urdfs) carry no licence of
their own, are of a single kind, and come in a package of 103 MB.

Coordinates are x to the right, y up and z to the back, each from 0 to 1; voxels are [D, H, W], the
front first and the top row first.
"""

from collections.abc import Callable

import numpy as np

from jaxgen.data.source import Field, Source, digest, parse_count, some, unit_hash
from jaxgen.errors import UserError

VERSION = "1"  # of how they are built
NUMBER = "4000"
HELD_OUT = 0.1
SMALLEST = 32  # voxels a side, below which thin parts would run into each other


def shapes3d(split: str, size: int, *options: str) -> Source:
    """Things with voxels [size, size, size, 1] and a label.

    options: their number, training and test together, and the kind, such as chair; each may be left
    out. Without a kind there are as many of each.

    Thing i is drawn by the seed i, so a larger number continues a smaller one.  About a tenth, by a
    hash of i, is test.  Every thing is one piece: its voxels hang together by their faces.
    """
    of = options[-1:] if options and options[-1] in KINDS else ()
    number, *unknown = options[: len(options) - len(of)] or (NUMBER,)
    if unknown or not number.isdecimal():
        raise UserError(
            f"shapes3d:N:KIND takes a number and one of {', '.join(NAMES)}, not {':'.join(options)}"
        )
    count, step = parse_count("shapes3d", number), len(NAMES)
    seeds = range(NAMES.index(of[0]), count * step, step) if of else range(count)
    kept = [i for i in seeds if (unit_hash(f"shape {i}") < HELD_OUT) == (split == "test")]
    side = max(size, SMALLEST)
    some(kept, ":".join(("shapes3d", str(count), *of)), split)

    def read(i: int) -> dict:
        label = kept[i] % step
        return {"voxels": build(NAMES[label], kept[i], side), "label": label}

    return Source(
        length=len(kept),
        read=read,
        fingerprint=digest("shapes3d", VERSION, str(count), split, str(side), *of),
        fields={"voxels": Field("voxels"), "label": Field("label")},
        label_names=NAMES,
    )


def build(kind: str, seed: int, side: int) -> np.ndarray:
    """The thing as uint8 [side, side, side, 1], 0 or 1."""
    room = _Room(side)
    rng = np.random.default_rng(seed)
    KINDS[kind](room, rng.uniform, lambda *several: several[rng.integers(len(several))])
    return room.filled[..., None]


class _Room:
    """Voxels that parts fill; no part is thinner than a voxel."""

    def __init__(self, side: int):
        self.side = side
        self.filled = np.zeros((side, side, side), np.uint8)
        self._at = (np.arange(side) + 0.5) / side

    def _within(self, low: float, high: float) -> np.ndarray:
        half = max(high - low, 1 / self.side) / 2 + 1e-9
        return np.abs(self._at - (low + high) / 2) <= half

    def fill(self, x, y, z) -> None:
        """The voxels for which all three hold, each an array that broadcasts to [z, y, x]."""
        self.filled[:, ::-1][z & y & x] = 1

    def box(self, x, y, z) -> None:
        """The box from low to high in each direction."""
        x, y, z = self._within(*x), self._within(*y), self._within(*z)
        self.fill(x[None, None], y[None, :, None], z[:, None, None])

    def both(self, x, y, z) -> None:
        """The box, and its mirror image left and right."""
        self.box(x, y, z)
        self.box((1 - x[1], 1 - x[0]), y, z)

    def four(self, x, y, z) -> None:
        """The box, mirrored left and right and to the back."""
        self.both(x, y, z)
        self.both(x, y, (1 - z[1], 1 - z[0]))

    def column(self, centre, y, radius, top=None, squash=1.0) -> None:
        """A round column about (x, z), whose radius goes from `radius` below to `top`; squash: its
        extent in z over that in x."""
        height = (self._at - y[0]) / max(y[1] - y[0], 1e-6)
        wide = radius + np.clip(height, 0, 1) * ((radius if top is None else top) - radius)
        wide = np.maximum(wide, 0.75 / self.side)[None, :, None]
        x = self._at[None, None] - centre[0]
        z = (self._at[:, None, None] - centre[1]) / squash
        self.fill(x**2 + z**2 <= wide**2, self._within(*y)[None, :, None], np.True_)

    def wheel(self, centre, radius, z) -> None:
        """A disc about (x, y), from z to z."""
        x, y = self._at[None, None] - centre[0], self._at[None, :, None] - centre[1]
        self.fill(x**2 + y**2 <= radius**2, np.True_, self._within(*z)[:, None, None])

    def ball(self, centre, radii) -> None:
        """An ellipsoid."""
        at = (self._at[None, None], self._at[None, :, None], self._at[:, None, None])
        parts = [((a - c) / r) ** 2 for a, c, r in zip(at, centre, radii, strict=True)]
        self.fill(parts[0] + parts[1] + parts[2] <= 1, np.True_, np.True_)

    def slope(self, x, y, z, lean) -> None:
        """A box whose left and right ends move in by lean[0] and lean[1] up to its top."""
        height = np.clip((self._at - y[0]) / max(y[1] - y[0], 1e-6), 0, 1)[None, :, None]
        at = self._at[None, None]
        inside = (at >= x[0] + height * lean[0]) & (at <= x[1] - height * lean[1])
        self.fill(inside, self._within(*y)[None, :, None], self._within(*z)[:, None, None])

    def wing(self, x, y, reach, sweep, taper) -> None:
        """A flat wing to both sides of the middle, from x to x at its root: it ends `sweep` further
        to the right, `taper` times as long."""
        out = np.abs(self._at - 0.5)[:, None, None] / reach
        start = x[0] + out * sweep
        long = (x[1] - x[0]) * (1 - out * (1 - taper))
        at = self._at[None, None]
        inside = (at >= start) & (at <= start + np.maximum(long, 1.5 / self.side))
        self.fill(inside, self._within(*y)[None, :, None], out <= 1)


def _legs(room, draw, pick, x, z, top) -> None:
    """Legs or a foot that carry a seat or a top from the floor to `top`; x, z: from low to high."""
    thick = draw(0.05, 0.09)
    inner = min(x[1] - x[0], z[1] - z[0]) / 2
    match pick("posts", "posts", "pedestal", "panels", "sled"):
        case "posts":
            room.four((x[0], x[0] + thick), (0.03, top), (z[0], z[0] + thick))
            if pick(True, False):
                low = draw(0.3, 0.6) * top
                room.four((x[0], x[0] + thick), (low, low + 0.04), (z[0], 0.5))
                if pick(True, False):
                    room.box((x[0], x[1]), (low, low + 0.04), (0.48, 0.52))
        case "pedestal":
            foot = draw(0.5, 0.9) * inner
            room.column((0.5, 0.5), (0.03, top), draw(0.04, 0.07))
            if pick(True, False):
                room.column((0.5, 0.5), (0.03, 0.08), foot)
            else:
                room.box((0.5 - foot, 0.5 + foot), (0.03, 0.08), (0.46, 0.54))
                room.box((0.46, 0.54), (0.03, 0.08), (0.5 - foot, 0.5 + foot))
        case "panels":
            room.both((x[0], x[0] + thick), (0.03, top), z)
        case "sled":
            room.four((x[0], x[0] + thick), (0.03, top), (z[0], z[0] + thick))
            room.both((x[0], x[0] + thick), (0.03, 0.07), z)


def _chair(room, draw, pick) -> None:
    wide, deep, seat = draw(0.2, 0.32), draw(0.2, 0.3), draw(0.3, 0.48)
    thick, high = draw(0.04, 0.1), draw(0.75, 0.97)
    x, z = (0.5 - wide, 0.5 + wide), (0.5 - deep, 0.5 + deep)
    back, post = (z[1] - draw(0.04, 0.07), z[1]), draw(0.05, 0.08)
    if pick("square", "square", "round") == "round":
        # The seat's legs and back stand inside its circle.
        room.column((0.5, 0.5), (seat, seat + thick), wide, squash=deep / wide)
        x = (0.5 - 0.7 * wide, 0.5 + 0.7 * wide)
        z = (0.5 - 0.7 * deep, 0.5 + 0.7 * deep)
        back = (z[1] - 0.05, z[1])
    else:
        room.box(x, (seat, seat + thick), z)
    _legs(room, draw, pick, x, z, seat)
    match pick("solid", "open", "slats", "ladder", "low"):
        case "solid":
            room.box(x, (seat, high), back)
        case "low":
            room.box(x, (seat, (seat + high) / 2), back)
        case "open":
            room.both((x[0], x[0] + post), (seat, high), back)
            room.box(x, (high - draw(0.08, 0.2), high), back)
        case "slats":
            room.both((x[0], x[0] + post), (seat, high), back)
            room.box(x, (high - 0.06, high), back)
            for middle in np.linspace(*x, pick(4, 5))[1:-1]:
                room.box((middle - 0.02, middle + 0.02), (seat, high), back)
        case "ladder":
            room.both((x[0], x[0] + post), (seat, high), back)
            for rung in np.linspace(seat + thick, high - 0.05, pick(3, 4))[1:]:
                room.box(x, (rung, rung + 0.05), back)
    if pick(True, False, False):
        arm = seat + draw(0.14, 0.22)
        room.both((x[0], x[0] + post), (arm, arm + 0.04), z)
        room.both((x[0], x[0] + post), (seat, arm), (z[0], z[0] + post))
        room.both((x[0], x[0] + post), (seat, arm + 0.04), back)


def _table(room, draw, pick) -> None:
    wide, deep, high = draw(0.28, 0.48), draw(0.2, 0.4), draw(0.35, 0.68)
    thick = draw(0.04, 0.09)
    x, z = (0.5 - wide, 0.5 + wide), (0.5 - deep, 0.5 + deep)
    if pick("square", "square", "round") == "round":
        room.column((0.5, 0.5), (high, high + thick), wide, squash=deep / wide)
        inset = 0.62
    else:
        room.box(x, (high, high + thick), z)
        inset = draw(0.75, 1)
    x, z = (0.5 - inset * wide, 0.5 + inset * wide), (0.5 - inset * deep, 0.5 + inset * deep)
    _legs(room, draw, pick, x, z, high)
    match pick("plain", "plain", "frame", "drawers"):
        case "frame":
            room.box(x, (high - 0.08, high), (z[0], z[0] + 0.04))
            room.box(x, (high - 0.08, high), (z[1] - 0.04, z[1]))
        case "drawers":
            room.box((x[1] - 0.6 * inset * wide, x[1]), (draw(0.1, 0.25), high), z)


def _bed(room, draw, pick) -> None:
    wide, low, high = draw(0.2, 0.38), draw(0.1, 0.2), draw(0.24, 0.34)
    x, z = (0.5 - wide, 0.5 + wide), (0.05, 0.95)
    room.box(x, (low, high - 0.06), z)
    room.box((x[0] + 0.03, x[1] - 0.03), (low, high), (z[0] + 0.05, z[1] - 0.04))
    match pick("posts", "box", "drawers"):
        case "posts":
            room.four((x[0], x[0] + 0.07), (0.03, high - 0.06), (z[0], z[0] + 0.07))
        case "box":
            room.box((x[0] + 0.04, x[1] - 0.04), (0.03, low), (z[0] + 0.04, z[1] - 0.04))
        case "drawers":
            room.box(x, (0.03, low), (0.3, z[1]))
    head = draw(0.42, 0.62)
    match pick("board", "rails", "step"):
        case "board":
            room.box(x, (0.03, head), (z[1] - 0.05, z[1]))
        case "rails":
            room.both((x[0], x[0] + 0.06), (0.03, head), (z[1] - 0.05, z[1]))
            room.box(x, (head - 0.06, head), (z[1] - 0.05, z[1]))
            for middle in np.linspace(*x, 6)[1:-1]:
                room.box((middle - 0.015, middle + 0.015), (low, head), (z[1] - 0.05, z[1]))
        case "step":
            room.box(x, (0.03, head), (z[1] - 0.05, z[1]))
            room.box((x[0] + 0.1, x[1] - 0.1), (0.03, head + 0.1), (z[1] - 0.05, z[1]))
    if pick(True, False):
        room.box(x, (0.03, high + draw(0, 0.12)), (z[0], z[0] + 0.05))
    pillow = (0.7, 0.86)
    if wide > 0.28:
        room.both((0.5 - wide + 0.06, 0.46), (high - 0.02, high + 0.06), pillow)
    else:
        room.box((0.5 - 0.6 * wide, 0.5 + 0.6 * wide), (high - 0.02, high + 0.06), pillow)
    if pick(True, False, False, False):  # a canopy
        room.four((x[0], x[0] + 0.05), (0.03, 0.95), (z[0], z[0] + 0.05))
        room.both((x[0], x[0] + 0.05), (0.91, 0.95), z)
        room.box(x, (0.91, 0.95), (z[0], z[0] + 0.05))
        room.box(x, (0.91, 0.95), (z[1] - 0.05, z[1]))


def _shelf(room, draw, pick) -> None:
    wide, deep, high = draw(0.18, 0.4), draw(0.1, 0.2), draw(0.6, 0.97)
    thick = 0.04
    x, z = (0.5 - wide, 0.5 + wide), (0.5 - deep, 0.5 + deep)
    boards = np.linspace(draw(0.03, 0.12), high - thick, pick(3, 4, 5))
    for y in boards:
        room.box(x, (y, y + thick), z)
    if pick("sides", "sides", "posts") == "sides":
        room.both((x[0], x[0] + thick), (0.03, high), z)
    else:
        room.four((x[0], x[0] + thick), (0.03, high), (z[0], z[0] + thick))
    if pick(True, True, False):
        room.box(x, (boards[0], high), (z[1] - 0.03, z[1]))
    if wide > 0.27 and pick(True, False):
        room.box((0.5 - thick / 2, 0.5 + thick / 2), (boards[0], high), z)
    if pick(True, False):  # a cupboard below
        room.box(x, (boards[0], boards[1]), z)
    if pick(True, False):  # books
        for low in boards[:-1]:
            reach = draw(0.2, 1.6) * wide
            tall = draw(0.4, 0.8) * (boards[1] - boards[0])
            room.box((x[0], x[0] + reach), (low, low + tall), (z[0] + 0.06, z[1]))


def _lamp(room, draw, pick) -> None:
    high, foot, pole = draw(0.7, 0.97), draw(0.13, 0.26), draw(0.03, 0.05)
    shade, tall = draw(0.16, 0.34), draw(0.16, 0.32)
    match pick("disc", "block", "cross", "vase"):
        case "disc":
            room.column((0.5, 0.5), (0.03, draw(0.07, 0.12)), foot)
        case "block":
            room.box((0.5 - foot, 0.5 + foot), (0.03, 0.09), (0.5 - foot, 0.5 + foot))
        case "cross":
            room.box((0.5 - foot, 0.5 + foot), (0.03, 0.08), (0.46, 0.54))
            room.box((0.46, 0.54), (0.03, 0.08), (0.5 - foot, 0.5 + foot))
        case "vase":
            reach = draw(0.14, 0.24)
            room.ball((0.5, 0.03 + reach, 0.5), (0.7 * foot + 0.03, reach, 0.7 * foot + 0.03))
    room.column((0.5, 0.5), (0.03, high - 0.5 * tall), pole)
    match pick("cone", "cone", "drum", "globe", "square"):
        case "cone":
            top = draw(0.3, 0.7) * shade
            room.column((0.5, 0.5), (high - tall, high), shade, top)
        case "drum":
            room.column((0.5, 0.5), (high - tall, high), shade)
        case "globe":
            radius = min(shade, 0.24)
            room.ball((0.5, high - radius, 0.5), (radius, radius, radius))
        case "square":
            side = 0.85 * shade
            room.box((0.5 - side, 0.5 + side), (high - tall, high), (0.5 - side, 0.5 + side))


def _mug(room, draw, pick) -> None:
    radius, high, wall = draw(0.2, 0.32), draw(0.45, 0.85), draw(0.05, 0.08)
    top = radius * draw(0.8, 1.2)
    middle = 0.42
    reach = draw(0.12, 0.2)
    low, up = 0.03 + draw(0.15, 0.3) * high, 0.03 + draw(0.7, 0.85) * high
    thick = draw(0.05, 0.07)
    side = middle + min(radius, top)
    end = side + reach
    depth = (0.46, 0.54)
    if pick("round", "square") == "square":
        room.box((middle, end), (low, low + thick), depth)
        room.box((middle, end), (up - thick, up), depth)
        room.box((end - thick, end), (low, up), depth)
    else:
        centre, half = (side, (low + up) / 2), (up - low) / 2
        room.wheel(centre, half, depth)
        inner = _Room(room.side)
        inner.wheel(centre, half - 1.2 * thick, (0, 1))
        room.filled[inner.filled > 0] = 0
    bowl, hollow = _Room(room.side), _Room(room.side)
    bowl.column((middle, 0.5), (0.03, high), radius, top)
    hollow.column((middle, 0.5), (0.03 + wall, 1), radius - wall, top - wall)
    room.filled[:] = np.where(bowl.filled, 1, room.filled)
    if pick(True, True, False):  # else it is full
        room.filled[hollow.filled > 0] = 0


def _car(room, draw, pick) -> None:
    long, wide = draw(0.38, 0.47), draw(0.16, 0.22)
    radius = draw(0.08, 0.11)
    low, belt = radius * draw(0.8, 1.2) + 0.03, draw(0.3, 0.38)
    roof = belt + draw(0.13, 0.2)
    x, z = (0.5 - long, 0.5 + long), (0.5 - wide, 0.5 + wide)
    room.slope(x, (low, belt), z, (draw(0, 0.05), draw(0, 0.05)))
    cabin = (z[0] + 0.02, z[1] - 0.02)
    match pick("saloon", "hatchback", "van", "pickup", "coupe"):
        case "saloon":
            room.slope((0.28, 0.8), (belt, roof), cabin, (draw(0.08, 0.16), draw(0.06, 0.12)))
        case "hatchback":
            room.slope((0.3, x[1]), (belt, roof), cabin, (draw(0.08, 0.16), draw(0.02, 0.1)))
        case "van":
            tall = roof + draw(0.05, 0.2)
            room.slope((x[0] + 0.06, x[1]), (belt, tall), cabin, (draw(0.05, 0.15), 0))
        case "pickup":
            room.slope((0.26, 0.55), (belt, roof), cabin, (draw(0.06, 0.12), 0.02))
            room.box((0.53, x[1]), (belt - 0.02, belt + 0.06), (z[0], z[0] + 0.03))
            room.box((0.53, x[1]), (belt - 0.02, belt + 0.06), (z[1] - 0.03, z[1]))
            room.box((x[1] - 0.03, x[1]), (belt - 0.02, belt + 0.06), z)
        case "coupe":
            room.slope((0.34, 0.86), (belt, roof - 0.03), cabin, (0.14, draw(0.16, 0.24)))
            room.box((x[1] - 0.13, x[1] - 0.06), (belt - 0.04, belt + draw(0.02, 0.07)), z)
    for middle in (x[0] + 0.2, x[1] - 0.18):
        for side in ((z[0] - 0.02, z[0] + 0.07), (z[1] - 0.07, z[1] + 0.02)):
            room.wheel((middle, radius + 0.03), radius, side)


def _plane(room, draw, pick) -> None:
    """The nose to the left."""
    long, body, y = draw(0.4, 0.48), draw(0.055, 0.09), 0.42
    room.ball((0.5, y, 0.5), (long, body, body))
    room.ball((0.5 - 0.2 * long, y, 0.5), (0.75 * long, body, body))
    at, chord = draw(0.32, 0.42), draw(0.13, 0.22)
    height = y + pick(-0.5, 0, 0.7) * body
    reach, sweep, taper = draw(0.32, 0.47), draw(0, 0.22), draw(0.3, 0.9)
    thick = 0.035
    room.wing((at, at + chord), (height, height + thick), reach, sweep, taper)
    if pick(True, False, False, False):  # a second wing above
        room.wing((at, at + chord), (height + 0.2, height + 0.2 + thick), reach, sweep, taper)
        for out in (0.0, 0.6):
            x = at + out * sweep + 0.3 * chord
            for z in {0.5 + out * reach, 0.5 - out * reach}:
                room.box((x, x + 0.05), (height, height + 0.2), (z - 0.02, z + 0.02))
    tail = 0.5 + long - draw(0.15, 0.2)
    fin = draw(0.14, 0.24)
    end = 0.5 + long - 0.01
    # The fin stands on a spine, for the body gets thin there.
    room.box((0.6, end), (y - 0.02, y + 0.02), (0.48, 0.52))
    room.slope((tail, end), (y, y + fin), (0.48, 0.52), (draw(0.02, 0.1), 0))
    flat = y + (fin - thick if pick(True, False, False) else 0)
    room.wing((end - 0.12, end), (flat, flat + thick), draw(0.12, 0.2), 0, draw(0.5, 1))
    match pick("jets", "jets", "propeller", "none"):
        case "jets":
            out = draw(0.3, 0.5)
            x, size = at + out * sweep + 0.02, draw(0.035, 0.05)
            for z in (0.5 + out * reach, 0.5 - out * reach):
                room.ball((x, height - 0.5 * size, z), (0.09, size, size))
                room.box((x, x + 0.06), (height - size, height + thick), (z - 0.02, z + 0.02))
        case "propeller":
            blade = draw(0.1, 0.16)
            nose = 0.5 - long + 0.02
            room.box((nose - 0.01, nose + 0.1), (y - 0.025, y + 0.025), (0.475, 0.525))
            room.box((nose, nose + 0.03), (y - blade, y + blade), (0.48, 0.52))


KINDS: dict[str, Callable] = {
    **{"bed": _bed, "car": _car, "chair": _chair, "lamp": _lamp},
    **{"mug": _mug, "plane": _plane, "shelf": _shelf, "table": _table},
}
NAMES = tuple(KINDS)
