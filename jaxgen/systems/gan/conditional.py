"""What conditional GANs share: examples that do not fit, and a picture of the classes."""

from collections.abc import Callable

import jax.numpy as jnp

from jaxgen import draw, parallel
from jaxgen.latents import Prior
from jaxgen.systems.likelihood.pixels import sheet

SHOWN = 10  # classes and latents of a picture, at most
LEGENDS = {"samples": "A row a class, a column a latent"}


def by_class(prior: Prior, classes: int, generate: Callable) -> Callable:
    """A system's `show`: a row of images for each class, the same latents in each."""

    def show(nets, batch, key):
        n = min(classes, SHOWN)
        z, label = jnp.tile(prior(key, n), (n, 1)), jnp.repeat(jnp.arange(n), n)
        return {"samples": sheet(generate(nets, z, {"label": label}, key), columns=n)}

    return show


def mismatched(y, key, of=None):
    """For each row of y [b, a] one of the minibatch that differs from it, by lot; or what `of`
    [b, ...] has in the place of that one."""
    every = parallel.gather(y)
    differs = (y[:, None] != every).any(axis=-1)
    lots = draw.uniform(key, len(y), (len(every),))
    chosen = jnp.argmax(jnp.where(differs, lots, -1), axis=1)
    return (every if of is None else parallel.gather(of))[chosen]
