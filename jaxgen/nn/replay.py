"""Replay: a discriminator also sees what the generator made some time ago (Shrivastava et al.,
2017, https://arxiv.org/abs/1612.07828; CycleGAN)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen import draw
from jaxgen.nn.order import after


class ImagePool(nn.Module):
    """A memory of generated images; of new ones it gives some back, and older ones for the others.

    Until the pool is full an image is kept and given back. Then in half of the cases it is given
    back and not kept, in the other half it takes the place of one at random, which is given back.

    `pool(images)` answers, and `pool()` repeats the last answer, so that one turn's images can be
    used in another. The `size` images are shared out among the positions of the global batch, each
    with a lane of its own (rounded up): so they lie where the batch does, and an image is as long
    in the pool as in one for all. With size 0 every image is given back.
    """

    size: int = 50

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"] | None = None) -> Float[Array, "b h w c"]:
        if images is None:
            return self.get_variable("memory", "answer")
        answer = self.variable("memory", "answer", jnp.zeros, images.shape)
        if self.size:
            n, *image = images.shape  # when it is made, of the global batch
            slots = -(-self.size // n)
            lanes = self.variable("memory", "lanes", jnp.zeros, (n, slots, *image))
            filled = self.variable("memory", "filled", jnp.zeros, (n,), jnp.int32)
        if self.is_initializing():
            return images
        if self.size:
            slots = lanes.value.shape[1]
            key_swap, key_slot = jax.random.split(self.make_rng("dropout"))
            swap = draw.bernoulli(key_swap, 0.5, n)
            slot = draw.randint(key_slot, n, (), 0, slots)
            images, lanes.value, filled.value = jax.vmap(exchange)(
                images.astype(lanes.value.dtype), lanes.value, filled.value, swap, slot
            )
        answer.value = images
        return images


def exchange(
    image: Float[Array, "*image"],
    lane: Float[Array, "slots *image"],
    filled: Int[Array, ""],
    swap: Bool[Array, ""],
    slot: Int[Array, ""],
) -> tuple[Float[Array, "*image"], Float[Array, "slots *image"], Int[Array, ""]]:
    """(what is given back, the lane afterwards, how many of its slots are filled then)."""
    full = filled == len(lane)
    place = jnp.where(full, slot, filled)
    old = lane[place]
    given = jnp.where(full & swap, old, image)
    kept = after(jnp.where(~full | swap, image, old), given)  # or the lane would be copied
    return given, lane.at[place].set(kept), jnp.minimum(filled + 1, len(lane))
