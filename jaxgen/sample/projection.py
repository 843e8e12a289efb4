"""A given image's point in the latent space of a generator (Karras et al., 2020, appendix D).

https://arxiv.org/abs/1912.04958

Searched for are the point w, from the mean of many, and the maps of noise n, from N(0, 1), by Adam:

    min_{w, n} D(g(w + e, n), x) + 1e5 L(n),    e ~ N(0, (0.05 sigma max(0, 1 - t / 0.75)^2)^2)

D is a perceptual distance, sigma^2 = E |w - mean|^2 and t in [0, 1) the share of the steps done.
L keeps the maps from holding the image: squared correlations of neighbours at several scales.
After each step every map is brought to mean 0 and variance 1. The numbers are those of the authors'
code; unlike it, images of fewer than 64 pixels are enlarged before they are compared, because
perceptual networks see too little of them.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

POINTS = 10_000
AT_A_TIME = 1000  # divides POINTS
NOISE_WEIGHT = 1e5
LEAST, MOST = 64, 256  # sides of the images that are compared

Point = Float[Array, "1 ..."]
Maps = PyTree[Float[Array, "_ _"]]
Image = Float[Array, "1 h w c"]


class Found(NamedTuple):
    """Where the search is: after `step` steps, at `distance` without the noise e."""

    step: int
    point: Point
    maps: Maps
    image: Image
    distance: float


class _State(NamedTuple):
    step: Int[Array, ""]
    point: Point
    maps: Maps
    adam: optax.OptState


def rate(t: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The learning rate's share at t: up on a line over the first 5 %, down on a cosine over the
    last 25 %."""
    down = jnp.minimum(1, (1 - t) / 0.25)
    return (0.5 - 0.5 * jnp.cos(jnp.pi * down)) * jnp.minimum(1, t / 0.05)


def agitation(t: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The deviation of e at t, in units of sigma."""
    return 0.05 * jnp.maximum(0, 1 - t / 0.75) ** 2


def neighbours(maps: Maps) -> Float[Array, ""]:
    """L: for every map [h, w], and its means over 2x2 down to 8 pixels, the squared mean product
    with the next pixel (around the rim), in x and in y. Smaller maps count at their own size."""
    total = jnp.zeros(())
    for x in jax.tree.leaves(maps):
        while True:
            total += jnp.mean(x * jnp.roll(x, 1, 0)) ** 2 + jnp.mean(x * jnp.roll(x, 1, 1)) ** 2
            h, w = x.shape[0] // 2, x.shape[1] // 2
            if min(x.shape) <= 8:
                break
            x = x[: 2 * h, : 2 * w].reshape(h, 2, w, 2).mean((1, 3))
    return total


def normalised(maps: Maps) -> Maps:
    """Every map at mean 0 and variance 1."""

    def one(x):
        x = x - x.mean()
        return x * jax.lax.rsqrt(jnp.mean(x * x))

    return jax.tree.map(one, maps)


def visible(images: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Sides of more than 256 pixels brought to 256 by area, of less than 64 to 64, bilinear."""
    for axis in (1, 2):
        n = images.shape[axis]
        if n > MOST:
            area = jnp.asarray(_area(n, MOST), images.dtype)
            images = jnp.moveaxis(jnp.tensordot(images, area, (axis, 1)), -1, axis)
        elif n < LEAST:
            shape = (*images.shape[:axis], LEAST, *images.shape[axis + 1 :])
            images = jax.image.resize(images, shape, "bilinear")
    return images


@functools.cache
def _area(n: int, out: int) -> np.ndarray:
    """[out, n]: the mean of those of n pixels that lie, also in part, under each of `out`."""
    i, pixel = np.arange(out)[:, None], np.arange(n)
    under = (i * n // out <= pixel) & (pixel < -(-(i + 1) * n // out))
    return under / under.sum(1, keepdims=True)


def centre(
    points: Callable[[PRNGKeyArray], Float[Array, "n ..."]], key: PRNGKeyArray
) -> tuple[Point, float]:
    """The mean of 10,000 points, and sigma, the root of their mean squared distance from it.

    points: key -> `AT_A_TIME` of them.
    """
    keys = [jax.random.fold_in(key, i) for i in range(POINTS // AT_A_TIME)]
    drawn = np.concatenate([jax.device_get(points(key)) for key in keys])
    mean = drawn.mean(0, dtype=np.float64, keepdims=True)
    sigma = np.sqrt(((drawn - mean) ** 2).sum() / len(drawn))
    return jnp.asarray(mean, jnp.float32), float(sigma)


def projector(
    generate: Callable[[Any, Point, Maps], Image],
    distance: Callable[[Any, Image, Image], Float[Array, "1"]],
    steps: int = 1000,
    lr: float = 0.1,
) -> Callable[..., Iterator[Found]]:
    """(weights, target, mean, sigma, maps, key, every) -> `Found` after every so many steps; the
    last is the result. All images share its programs.

    generate, distance: (weights, ...), functions of a tree of weights.
    target: [1, h, w, c] in [-1, 1].  mean, sigma: from `centre`.
    maps: of noise, of which the shapes matter.
    """
    optimizer = optax.adam(lambda step: lr * rate(step / steps))

    @jax.jit
    def begin(mean, maps, key) -> _State:
        leaves, tree = jax.tree.flatten(maps)
        keys = [jax.random.fold_in(key, i) for i in range(len(leaves))]
        drawn = [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
        maps = jax.tree.unflatten(tree, drawn)
        return _State(jnp.zeros((), jnp.int32), mean, maps, optimizer.init((mean, maps)))

    def compare(weights, target, point, maps):
        image = generate(weights, point, maps)
        return distance(weights, visible(image), visible(target)).sum(), image

    @jax.jit
    def advance(weights, target, sigma, state, key, until) -> _State:
        def step(state):
            scale = sigma * agitation(state.step / steps)
            e = scale * jax.random.normal(jax.random.fold_in(key, state.step), state.point.shape)

            def loss(point, maps):
                return compare(weights, target, point + e, maps)[0] + NOISE_WEIGHT * neighbours(
                    maps
                )

            here = state.point, state.maps
            updates, adam = optimizer.update(jax.grad(loss, (0, 1))(*here), state.adam)
            moved: Any = optax.apply_updates(here, updates)
            return _State(state.step + 1, moved[0], normalised(moved[1]), adam)

        # not a scan, so that the last steps, which may be fewer, need no program of their own
        return jax.lax.while_loop(lambda state: state.step < until, step, state)

    compared = jax.jit(compare)

    def project(weights, target, mean, sigma, maps, key, every) -> Iterator[Found]:
        key_maps, key_steps = jax.random.split(key)
        state = begin(mean, maps, key_maps)
        for done in range(0, steps, every):
            until = min(done + every, steps)
            state = advance(weights, target, sigma, state, key_steps, until)
            d, image = compared(weights, target, state.point, state.maps)
            yield Found(until, state.point, state.maps, image, float(d))

    return project
