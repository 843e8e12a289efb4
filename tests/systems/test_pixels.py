"""Distributions of pixels: what is drawn by the inverse has the likelihood that is told."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.systems.likelihood import pixels

U = (np.arange(20_000) + 0.5) / 20_000


@pytest.mark.parametrize(
    ("kind", "size", "levels"),
    [(pixels.binary, 1, 2), (pixels.categorical, 256, 256), (pixels.logistics, 6, 256)],
)
def test_shares_of_what_is_drawn_are_the_probabilities(kind, size, levels):
    output = 2 * np.random.default_rng(0).normal(size=size).astype(np.float32)
    if kind is pixels.logistics:  # two logistics, several levels wide
        output = np.array([0.5, -0.5, -0.6, 0.3, -2.0, -2.5], np.float32)
    spread = np.random.default_rng(1).permutation(U)  # which logistic, apart from where in it
    u = jnp.float32(np.stack([spread, U], axis=-1))
    x = kind.invert(u, jnp.tile(output, (len(U), 1)))
    counts = np.bincount(np.int32(np.round(x[:, 0] * (levels - 1))), minlength=levels)
    every = jnp.arange(levels).reshape(-1, 1, 1, 1) / (levels - 1)
    log_p = kind.log_likelihood(every, jnp.tile(output, (levels, 1, 1, 1)))
    np.testing.assert_allclose(counts / len(U), jnp.exp(log_p), atol=6e-3)


def test_later_channels_follow_the_earlier():
    """PixelCNN++'s: with a coefficient of nearly 1 the green level is the red one."""
    output = np.full(10, -6.0, np.float32)  # one logistic of three channels, narrow
    output[[1, 4, 7]] = 0.0
    output[[3, 6, 9]] = [5.0, -50.0, 50.0]  # green by red, blue by red and by green
    u = jnp.float32(np.random.default_rng(2).uniform(size=(500, 4)))
    output[2] = -1.5  # red varies
    x = np.asarray(pixels.logistics.invert(u, jnp.tile(output, (500, 1))))
    red, green, blue = 2 * x.T - 1
    np.testing.assert_allclose(green, red, atol=0.05)
    np.testing.assert_allclose(blue, green - red, atol=0.05)
    assert red.std() > 0.2
