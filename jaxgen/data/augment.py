"""Augmentations, drawn example by example inside the training program.

Every function takes images (or masks, label maps, videos, flows) [B, ..., H, W, C] as a tuple and
treats those of one example alike, so that what is aligned stays so.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxgen import draw

Images = tuple[jax.Array, ...]


def flip(images: Images, key: jax.Array, flows: Sequence[bool] | None = None) -> Images:
    """Mirrors left and right with probability 1/2.

    flows: which of them are flows [..., (dx, dy)], of which dx then changes its sign.
    """
    mirrored = draw.bernoulli(key, 0.5, len(images[0]), (1, 1, 1))

    def turn(x, flow):
        other = x[..., ::-1, :] * jnp.array([-1.0, 1.0]) if flow else x[..., ::-1, :]
        return jnp.where(mirrored.reshape(-1, *(1,) * (x.ndim - 1)), other, x)

    return tuple(map(turn, images, flows or [False] * len(images)))


def random_crop(images: Images, key: jax.Array, size: tuple[int, int]) -> Images:
    """A part [B, ..., *size, C] at a uniformly random place of each example."""
    n, (height, width) = len(images[0]), images[0].shape[-3:-1]
    room = jnp.array([height - size[0] + 1, width - size[1] + 1])
    corners = draw.randint(key, n, (2,), 0, room)

    def cut(x, corner):
        before = x.shape[:-3]
        start = (*(0 for _ in before), *corner, 0)
        return jax.lax.dynamic_slice(x, start, (*before, *size, x.shape[-1]))

    return tuple(jax.vmap(cut)(x, corners) for x in images)
