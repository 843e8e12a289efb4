"""Augmentations, drawn example by example inside the training program.

Every function takes images (or masks, label maps) [B, H, W, C] as a tuple and treats those of one
example alike, so that what is aligned stays so.
"""

import jax
import jax.numpy as jnp

from jaxgen import draw

Images = tuple[jax.Array, ...]


def flip(images: Images, key: jax.Array) -> Images:
    """Mirrors left and right with probability 1/2."""
    mirrored = draw.bernoulli(key, 0.5, len(images[0]), (1, 1, 1))
    return tuple(jnp.where(mirrored, x[:, :, ::-1], x) for x in images)


def random_crop(images: Images, key: jax.Array, size: tuple[int, int]) -> Images:
    """A part [B, *size, C] at a uniformly random place of each example."""
    n, height, width, _ = images[0].shape
    room = jnp.array([height - size[0] + 1, width - size[1] + 1])
    corners = draw.randint(key, n, (2,), 0, room)

    def cut(x, corner):
        return jax.lax.dynamic_slice(x, (*corner, 0), (*size, x.shape[-1]))

    return tuple(jax.vmap(cut)(x, corners) for x in images)
