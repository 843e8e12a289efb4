"""Persistent chains: where Markov chains of earlier rounds have come to (Tieleman, 2008; the replay
buffer of Du & Mordatch, 2019)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen import draw

Images = Float[Array, "b h w c"]
Label = Int[Array, "b"]


class Chains(nn.Module):
    """A memory of `size` images in [0, 1], as bytes, shared out among the positions of the batch.

    `chains(fresh)` gives starts: the images given with probability `restart`, and where nothing has
    been kept yet; else kept ones, each of its own position, with noise within a byte's step.
    `chains(ends, keep=True)` keeps ends in place of the oldest.  With a label of each image, too,
    `chains(fresh, label)` gives (starts, their labels): a chain keeps the label it began with.
    """

    size: int = 10_000
    restart: float = 0.05

    @nn.compact
    def __call__(self, images: Images, label: Label | None = None, *, keep: bool = False):
        n, *image = images.shape  # when it is made, of the global batch
        slots = max(1, -(-self.size // n)) if self.is_initializing() else None
        lanes = self.variable("memory", "lanes", jnp.zeros, (n, slots, *image), jnp.uint8)
        count = self.variable("memory", "count", jnp.zeros, (n,), jnp.int32)
        if label is not None:
            labels = self.variable("memory", "labels", jnp.zeros, (n, slots), jnp.int32)
        if self.is_initializing():
            return images if label is None else (images, label)
        slots, rows = lanes.value.shape[1], jnp.arange(n)
        if keep:
            place = rows, count.value % slots
            lanes.value = lanes.value.at[place].set(jnp.uint8(jnp.clip(images * 256, 0, 255)))
            if label is not None:
                labels.value = labels.value.at[place].set(label)
            count.value = count.value + 1
            return images if label is None else (images, label)
        keys = jax.random.split(self.make_rng("dropout"), 3)
        filled = jnp.minimum(count.value, slots)
        place = rows, jnp.int32(draw.uniform(keys[0], n) * jnp.maximum(filled, 1))
        old = (lanes.value[place] + draw.uniform(keys[1], n, tuple(image))) / 256
        again = draw.bernoulli(keys[2], self.restart, n) | (filled == 0)
        starts = jnp.where(again.reshape(-1, *(1,) * len(image)), images, old)
        if label is None:
            return starts
        return starts, jnp.where(again, label, labels.value[place])
