"""What a network or a loss may ask of the mesh of devices that it is computed on.

A batch is split over one mesh axis, and weights are copied along it.  Networks and losses see one
device's share of the batch; `mean`, `gather` and `shares` reach the others.  Where copies of a
training (seeds, a sweep) are spread over a second axis, none sees another.  Outside the
training program (initialisation, pictures, commands) there is one share, the batch itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
from jax import lax

AXIS = "batch"
COPIES = "copies"
_PART: ContextVar[tuple[Any, int]] = ContextVar("part", default=(0, 1))


def axis() -> str | None:
    """The mesh axis inside the training program, None outside (Flax's `axis_name`)."""
    try:
        lax.axis_index(AXIS)
    except NameError:
        return None
    return AXIS


def copies(x):
    """Weights [...] as each device's own, so that their gradient is summed over devices once."""
    return lax.pcast(x, AXIS, to="varying") if axis() else x


def mean(x):
    """The mean of `x` over the devices' shares; its gradient is that of the global mean."""
    return lax.pmean(x, AXIS) if axis() else x


def gather(x: jax.Array) -> jax.Array:
    """The global batch [B, ...] from every device's share [b, ...], for losses over pairs."""
    return lax.all_gather(x, AXIS, tiled=True) if axis() else x


def shares(x: jax.Array) -> jax.Array:
    """Every device's `x` [n, ...], the same on all of them."""
    return lax.all_gather(x, AXIS, to="invarying") if axis() else x[None]


def size() -> int:
    """The number of devices that share the batch."""
    return lax.axis_size(AXIS) if axis() else 1


def varies(x: jax.Array) -> bool:
    """Whether `x` may differ between devices; weights and means over devices do not."""
    return AXIS in jax.typeof(x).manual_axis_type.varying


def first(n: int):
    """The index of the first of this device's `n` examples in what `gather` gives."""
    return lax.axis_index(AXIS) * n if axis() else 0


@contextmanager
def part(index, of: int) -> Iterator[None]:
    """Inside, each device has one of the `of` equal parts of its share, which come one after
    another (accumulated gradients): `gather`, `mean` and `shares` are over that part of the batch.
    """
    token = _PART.set((index, of))
    try:
        yield
    finally:
        _PART.reset(token)


def place(n: int):
    """The index in the minibatch of the first of the `n` examples that are at hand: that of
    `first`, but where the minibatch comes in parts."""
    index, of = _PART.get()
    return first(n * of) + index * n
