"""Large images translated tile by tile: the whole image's translation up to rounding, in less
memory.

A tile overlaps its neighbours by the translator's reach, and only its core is kept: the pixels
that depend on nothing outside of the tile.  Where norms take moments of the whole image, these
are gathered first, for one norm after the other: a pass over all tiles computes the moments of the
next norm, with those of the norms before it known.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.errors import UserError
from jaxgen.nn.norm import BatchNorm, InstanceNorm
from jaxgen.pictures import as_uint8
from jaxgen.progress import progress
from jaxgen.train.abilities import Translator
from jaxgen.train.nets import bind

MEMORY = 2**30  # bytes that a translation's program may need beyond its weights and images


class Span(NamedTuple):
    """A tile's place along a side: it begins at `start`; its core is from `first` to `last`."""

    start: int
    first: int
    last: int


def spans(length: int, tile: int, reach: int) -> list[Span]:
    """The tiles along a side: their cores follow each other, `reach` or more inside of a tile where
    it does not end with the side."""
    if length <= tile:
        return [Span(0, 0, length)]
    found, done = [], 0
    while done < length:
        start = min(max(done - reach, 0), length - tile)
        last = length if start + tile == length else start + tile - reach
        found.append(Span(start, done, last))
        done = last
    return found


def side(
    way: Translator,
    run: str,
    sides: tuple[int, int],
    needed: Callable[[], int],
    tile: int | None,
) -> int | None:
    """The longest side of a tile for an image of these sides, or None: it is translated whole.

    run: its name.  needed: gives the bytes that the program of the whole image needs.
    tile: the side that the user asks for; by default it is as long as `MEMORY` allows.
    UserError for one that is too small, or where there can be no tiles.
    """
    if way.reach is None:
        if tile:
            raise UserError(f"tile cannot be chosen: {run} translates whole images only")
        return None
    least = 2 * _reach(way) + way.multiple
    if tile is None:
        if (whole := needed()) <= MEMORY:
            return None
        tile = max(least, int((MEMORY / whole * sides[0] * sides[1]) ** 0.5))
    elif max(sides) <= -(-tile // way.multiple) * way.multiple:  # sides are whole multiples
        return None
    elif tile < least:
        raise UserError(f"tile is at least {least} for {run}, whose tiles overlap, not {tile}")
    return tile // way.multiple * way.multiple


def _reach(way):
    return -(-way.reach // way.multiple) * way.multiple


def translate(
    way: Translator,
    options: tuple[tuple[str, Any], ...],
    states: Any,
    inputs: Mapping[str, np.ndarray],
    batch: Callable[[Mapping[str, np.ndarray]], Mapping[str, jax.Array]],
    key: jax.Array,
    tile: int,
) -> np.ndarray:
    """The image uint8 [scale * H, scale * W, C'] of inputs, of which the first is [H, W, C].

    batch: from the inputs of one tile to those of the translator, a batch of one.
    tile: the longest side of a tile, a multiple of `way.multiple`.
    """
    height, width = inputs[way.inputs[0]].shape[:2]
    places = [
        (rows, columns)
        for rows in spans(height, tile, _reach(way))
        for columns in spans(width, tile, _reach(way))
    ]

    def cut(rows, columns):
        whole = lambda x: np.shape(x)[:2] == (height, width)
        place = np.s_[rows.start : rows.start + tile, columns.start : columns.start + tile]
        return batch({name: x[place] if whole(x) else x for name, x in inputs.items()})

    def image(states, inputs, key):
        return way.translate(bind(states, key), inputs, key, **dict(options))

    channels = jax.eval_shape(image, states, cut(*places[0]), key).shape[-1]
    # Before the tiles, whose freed memory it would take otherwise.
    made = np.empty((height * way.scale, width * way.scale, channels), np.uint8)
    known = []
    while True:
        parts = []
        for rows, columns in progress(places, "tiles", unit="tile"):
            core = np.array([(a.first - a.start, a.last - a.start) for a in (rows, columns)])
            inner = cut(rows, columns)
            moments, images = _tile(
                way.translate, way.inputs[0], options, states, inner, key, core, known
            )
            if images is None:
                parts.append(jax.device_get(moments))
                continue
            place = _scaled((rows[1:], columns[1:]), way.scale)
            made[place] = as_uint8(np.asarray(images)[0][_scaled(core, way.scale)])
        if not parts:
            return made
        known.append(_together(parts))


def _scaled(core, scale):
    return tuple(slice(first * scale, last * scale) for first, last in core)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _tile(translate, first, options, states, inputs, key, core, known):
    """(None, the image of a tile), or where its network has more norms with moments of their own
    than are `known`: (those of the next one over the core, None)."""
    sides = inputs[first].shape[1:3]
    met, next_moments = 0, None

    def moments(compute, args, kwargs, context):
        nonlocal met, next_moments
        ours = isinstance(context.module, BatchNorm | InstanceNorm)
        if not ours or context.method_name != "moments":
            return compute(*args, **kwargs)
        met += 1
        if met <= len(known):
            return known[met - 1]
        if next_moments is None:
            next_moments = _moments(args[0][0], core, sides)
        return compute(*args, **kwargs)  # what follows from it is not used

    with nn.intercept_methods(moments):
        images = translate(bind(states, key), inputs, key, **dict(options))
    return (None, images) if next_moments is None else (next_moments, None)


def _moments(x, core, sides):
    """Number of positions, means and sums of squared differences from these [c] of the maps
    x [h, w, c] of a tile, over its core."""
    inside = jnp.ones((), bool)
    for axis, (length, whole) in enumerate(zip(x.shape[:2], sides, strict=True)):
        first, last = core[axis]
        at = jnp.arange(length) * whole
        chosen = (at >= first * length) & (at < last * length)
        inside &= chosen.reshape(-1, *(1,) * (2 - axis))
    x, count = x.astype(jnp.float32), inside.sum()
    mean = jnp.where(inside, x, 0).sum((0, 1)) / count
    return count, mean, jnp.where(inside, (x - mean) ** 2, 0).sum((0, 1))


def _together(parts):
    """Mean and biased variance [c] of all positions (Chan, Golub & LeVeque, 1983)."""
    counts, means, squares = (np.stack(x).astype(np.float64) for x in zip(*parts, strict=True))
    shares = counts[:, None] / counts.sum()
    mean = (shares * means).sum(0)
    var = squares.sum(0) / counts.sum() + (shares * (means - mean) ** 2).sum(0)
    return mean.astype(np.float32), var.astype(np.float32)
