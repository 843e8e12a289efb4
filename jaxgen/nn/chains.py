"""Persistent chains: where Markov chains of earlier rounds have come to (Tieleman, 2008; the replay
buffer of Du & Mordatch, 2019)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen import draw

Images = Float[Array, "b h w c"]


class Chains(nn.Module):
    """A memory of `size` images in [0, 1], as bytes, shared out among the positions of the batch.

    `chains(fresh)` gives starts: the images given with probability `restart`, and where nothing has
    been kept yet; else kept ones, each of its own position, with noise within a byte's step.
    `chains(ends, keep=True)` keeps ends in place of the oldest.
    """

    size: int = 10_000
    restart: float = 0.05

    @nn.compact
    def __call__(self, images: Images, *, keep: bool = False) -> Images:
        n, *image = images.shape  # when it is made, of the global batch
        slots = max(1, -(-self.size // n)) if self.is_initializing() else None
        lanes = self.variable("memory", "lanes", jnp.zeros, (n, slots, *image), jnp.uint8)
        count = self.variable("memory", "count", jnp.zeros, (n,), jnp.int32)
        if self.is_initializing():
            return images
        slots, rows = lanes.value.shape[1], jnp.arange(n)
        if keep:
            held = jnp.uint8(jnp.clip(images * 256, 0, 255))
            lanes.value = lanes.value.at[rows, count.value % slots].set(held)
            count.value = count.value + 1
            return images
        keys = jax.random.split(self.make_rng("dropout"), 3)
        filled = jnp.minimum(count.value, slots)
        pick = jnp.int32(draw.uniform(keys[0], n) * jnp.maximum(filled, 1))
        old = (lanes.value[rows, pick] + draw.uniform(keys[1], n, tuple(image))) / 256
        again = draw.bernoulli(keys[2], self.restart, n) | (filled == 0)
        return jnp.where(again.reshape(-1, *(1,) * len(image)), images, old)
