"""Adaptive discriminator augmentation (ADA; Karras, Aittala, Hellsten, Laine, Lehtinen & Aila,
2020), https://arxiv.org/abs/2006.06676.

D sees real and made images only through `augment`, in its own turn and in the generator's, with
draws of their own; each change fires with probability p. (A generator then learns what the images
were, not how they were changed, as long as p is well below 1: Sec. 2.2.) `Controller` moves p so
that D is right about no more than 4/5 of the real images that it trains on.

    blit    mirroring, quarter turns, shifts by whole pixels up to 1/8 of the side
    geom    scaling 2^(.2 N), rotations, stretching 2^(.2 N), shifts by .125 N of the side
    color   brightness + .2 N, contrast 2^(.5 N), luma flip, hue rotation, saturation 2^N
    filter  gains 2^N of four bands of frequencies
    noise   Gaussian, of deviation .1 |N|
    cutout  a grey box, half as wide and high as the image

N is a standard normal number. The changes themselves are in `nn.ada_ops`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxgen import draw, parallel
from jaxgen.nn.ada_ops import Blit, Changes, Color, Cutout, Geom, Images, change


def augment(
    images: Images,
    p: Float[Array, ""] | float,
    key: jax.Array,
    *,
    blit: bool = True,
    geom: bool = True,
    color: bool = True,
    filter: bool = False,
    noise: bool = False,
    cutout: bool = False,
) -> Images:
    """Images of 1 or 3 channels in [-1, 1] (beyond it after changes of colour), each changed in
    ways of its own with probability p each. The default kinds are the paper's choice, "bgc"."""
    kinds = (blit, geom, color, filter, noise, cutout)
    return change(images, draw_changes(key, images.shape, p, kinds))


def draw_changes(key: jax.Array, shape: tuple[int, ...], p, kinds: tuple[bool, ...]) -> Changes:
    """Random changes of images of `shape`; `kinds` in the order of `Changes`. Each kind has numbers
    of its own, which do not depend on the other kinds."""
    n, normal, uniform = shape[0], draw.normal, draw.uniform

    def some(fires, value, none=0.0):
        return jnp.where(fires.reshape(-1, *(1,) * (value.ndim - 1)), value, none)

    def draw_blit(key):
        k1, k2 = jax.random.split(key)
        fires, u = p > uniform(k1, n, (3,)).T, uniform(k2, n, (4,))
        return Blit(
            some(fires[0], jnp.floor(2 * u[:, 0])),
            some(fires[1], jnp.floor(4 * u[:, 1])),
            some(fires[2], (2 * u[:, 2:] - 1) / 8),
        )

    def draw_geom(key):
        k1, k2, k3 = jax.random.split(key, 3)
        chance, angles = uniform(k1, n, (5,)).T, uniform(k2, n, (2,), -jnp.pi, jnp.pi)
        g = normal(k3, n, (4,))
        turned = 1 - jnp.sqrt(jnp.clip(1 - p, 0, 1))  # so that either fires with probability p
        return Geom(
            some(chance[0] < p, 2 ** (0.2 * g[:, 0]), 1.0),
            some(chance[1] < turned, angles[:, 0]),
            some(chance[2] < p, 2 ** (0.2 * g[:, 1]), 1.0),
            some(chance[3] < turned, angles[:, 1]),
            some(chance[4] < p, g[:, 2:] / 8),
        )

    def draw_color(key):
        k1, k2, k3 = jax.random.split(key, 3)
        fires, g = p > uniform(k1, n, (5,)).T, normal(k2, n, (3,))
        luma, hue = uniform(k3, n, (2,)).T
        return Color(
            some(fires[0], 0.2 * g[:, 0]),
            some(fires[1], 2 ** (0.5 * g[:, 1]), 1.0),
            some(fires[2], jnp.floor(2 * luma)),
            some(fires[3], (2 * hue - 1) * jnp.pi),
            some(fires[4], 2 ** g[:, 2], 1.0),
        )

    def draw_filter(key):
        k1, k2 = jax.random.split(key)
        return jnp.where(uniform(k1, n, (4,)) < p, 2 ** normal(k2, n, (4,)), 1.0)

    def draw_noise(key):
        k1, k2, k3 = jax.random.split(key, 3)
        sigma = some(uniform(k1, n) < p, 0.1 * jnp.abs(normal(k2, n)))
        return normal(k3, n, shape[1:]) * sigma[:, None, None, None]

    def draw_cutout(key):
        k1, k2 = jax.random.split(key)
        return Cutout(some(uniform(k1, n) < p, jnp.full((n,), 0.5)), uniform(k2, n, (2,)))

    draws = (draw_blit, draw_geom, draw_color, draw_filter, draw_noise, draw_cutout)
    keys = jax.random.split(key, len(draws))
    return Changes(*(one(k) if on else None for one, k, on in zip(draws, keys, kinds, strict=True)))


def adjust(
    p: Float[Array, ""],
    sign: Float[Array, ""],
    images: int | Float[Array, ""],
    target: float = 0.6,
    speed: float = 1 / 500_000,
) -> Float[Array, ""]:
    """The probability after `images` more images (Sec. 3). It grows where D overfits, at `speed` an
    image, and falls, but not below 0, where it does not.

    sign: r_t = E sign D(x), the mean over augmented real images, -1 to 1.
    """
    return jnp.maximum(p + jnp.sign(sign - target) * images * speed, 0.0)


class Controller(nn.Module):
    """Keeps p. `ada()` is p; `ada(scores)` also tells it D's logits of augmented real images.

    It adjusts p after every `interval` minibatches, by their mean sign over all devices. A speed of
    0 keeps p as it is.
    """

    start: float = 0.0
    target: float = 0.6
    speed: float = 1 / 500_000
    interval: int = 4

    @nn.compact
    def __call__(self, scores: Float[Array, "b *_"] | None = None) -> Float[Array, ""]:
        """p as it was before these scores."""
        p = self.variable("ada", "p", lambda: jnp.float32(self.start))
        sign = self.variable("ada", "sign", lambda: jnp.float32(0))  # mean, of an interval so far
        seen = self.variable("ada", "minibatches", lambda: jnp.int32(0))
        before = p.value
        if scores is None or self.is_initializing():
            return before
        images = len(scores) * (lax.axis_size(parallel.AXIS) if parallel.axis() else 1)
        now = parallel.mean(jnp.sign(scores.astype(jnp.float32)).mean())
        mean = sign.value + (now - sign.value) / (seen.value + 1)
        full = seen.value + 1 == self.interval
        after = adjust(before, mean, images * self.interval, self.target, self.speed)
        p.value = jnp.where(full, after, before)
        sign.value = jnp.where(full, 0.0, mean)
        seen.value = jnp.where(full, 0, seen.value + 1)
        return before
