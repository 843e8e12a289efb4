"""Perceptual path length (Karras et al., 2019), https://arxiv.org/abs/1812.04948, Eq. 2-3.

    l = E d(G(between(z1, z2; t)), G(between(z1, z2; t + eps))) / eps^2,  eps = 1e-4

with the conventions of the released code: t ~ U[0, 1] ("full"), or 0 ("end", StyleGAN2's); values
outside the 1st to 99th percentile are dropped; 50,000 pairs (100,000 in the paper); d is LPIPS on
VGG-16, on images of 256 pixels (`shrink`), faces cropped (`face`) but for StyleGAN2.  In Z,
`between` is `sphere`; in W, `generate` is the synthesis network, `latent` draws z and maps it, and
`between` is `lerp`.

Images stay float32: eps^2 is 1e-8, and rounding them to uint8 would swamp the distance.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.latents import slerp
from jaxgen.progress import progress

Latents = Float[Array | np.ndarray, "n k"]
Images = Float[Array, "n h w c"]
Generator = Callable[[Latents], Images]
Distance = Callable[[Images, Images], Float[Array, "n"]]
EPS = 1e-4


@jax.jit
def sphere(a: Latents, b: Latents, t: Float[Array | np.ndarray, "n"]) -> Float[Array, "n k"]:
    """`slerp` between the directions of a and b: a point of the unit sphere."""
    unit = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)
    return slerp(unit(a), unit(b), t)


def path_lengths(
    generate: Generator,
    distance: Distance,
    a: Latents,
    b: Latents,
    t: Float[Array | np.ndarray, "n"],
    between: Callable = sphere,
    eps: float = EPS,
) -> Float[Array, "n"]:
    """d / eps^2 at t on the path from each a to its b."""
    a, b, t = map(jnp.asarray, (a, b, t))
    after = t + eps
    # In float32 t + eps is up to 3e-4 eps off: divide by the step that was taken.
    step = after - t
    return distance(generate(between(a, b, t)), generate(between(a, b, after))) / step**2


@jax.jit
def filtered_mean(
    lengths: Float[Array | np.ndarray, "n"], low: float = 1, high: float = 99
) -> Float[Array, ""]:
    """The mean of the values from the `low` to the `high` percentile, both included; percentiles
    are values of the set (numpy's methods "lower" and "higher")."""
    lengths = jnp.asarray(lengths)
    least = jnp.percentile(lengths, low, method="lower")
    most = jnp.percentile(lengths, high, method="higher")
    inside = (lengths >= least) & (lengths <= most)
    return jnp.mean(lengths, where=inside)


def ppl(
    generate: Generator,
    distance: Distance,
    latent: Callable[[jax.Array, int], Latents],
    key: jax.Array,
    samples: int = 50_000,
    batch: int = 64,
    between: Callable = sphere,
    end: bool = False,
) -> Float[Array, ""]:
    """The filtered mean over `samples` paths, each batch in one program.  A generator that draws
    noise must draw the same for both ends of a step.  `end` measures at t = 0 only."""

    @jax.jit
    def lengths(key):
        k1, k2, k3 = jax.random.split(key, 3)
        t = jnp.zeros(batch) if end else jax.random.uniform(k3, (batch,))
        return path_lengths(generate, distance, latent(k1, batch), latent(k2, batch), t, between)

    batches = range(-(-samples // batch))
    values = [
        np.asarray(lengths(jax.random.fold_in(key, i))) for i in progress(batches, "path lengths")
    ]
    return filtered_mean(np.concatenate(values)[:samples])


def face(images: Images) -> Float[Array, "n _ _ c"]:
    """Where an aligned face is: rows 3/8 to 7/8, columns 2/8 to 6/8."""
    h, w = images.shape[1:3]
    return images[:, 3 * h // 8 : 7 * h // 8, 2 * w // 8 : 6 * w // 8]


def shrink(images: Images, size: int = 256) -> Float[Array, "n _ _ c"]:
    """Means of square boxes, so that the image has about `size` rows; smaller ones stay."""
    n, h, w, c = images.shape
    box = max(h // size, 1)
    return images.reshape(n, h // box, box, w // box, box, c).mean(axis=(2, 4))
