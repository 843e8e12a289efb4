"""RealNVP: exact likelihoods of pixels, codes that give the image back, and temperature."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jaxgen.errors import UserError
from jaxgen.experiments import realnvp as experiment
from jaxgen.models.realnvp import RealNVP
from jaxgen.systems.likelihood.pixels import dequantise
from jaxgen.systems.likelihood.realnvp import (
    from_logits,
    realnvp,
    squares,
    to_logits,
)
from jaxgen.train.abilities import Autoencoder, Density, Sampler
from jaxgen.train.nets import bind, init
from tests.quick import quick_to_compile  # noqa: F401

SHAPE = (4, 4, 1)


@pytest.fixture(scope="module")
def flow():
    """A system with weights drawn, and its players."""
    system = realnvp(RealNVP(4, 1, 1), SHAPE, optax.adam(1e-3))
    states = init(system, jax.random.key(0))
    keys = iter(jax.random.split(jax.random.key(1), 1000))
    moved = lambda w: w + 0.1 * jax.random.normal(next(keys), w.shape)
    states = {k: s.replace(params=jax.tree.map(moved, s.params)) for k, s in states.items()}
    return SimpleNamespace(system=system, nets=bind(states, jax.random.key(2)))


IMAGES = np.float32(np.random.default_rng(0).integers(0, 256, (3, *SHAPE)) / 127.5 - 1)


def test_likelihood_is_the_change_of_variables(flow):
    """By the Jacobian of the whole map from dequantised pixels to latents, in bytes."""
    key = jax.random.key(3)
    with jax.default_matmul_precision("highest"):
        density = flow.system.ability(Density)
        found = jax.jit(lambda x: density.log_prob(flow.nets, {"image": x}, key))(IMAGES)
        x = dequantise((IMAGES + 1) / 2, key).reshape(3, 16)

        def latent(x):
            logits, _ = to_logits(x.reshape(1, *SHAPE))
            return flow.nets.flow(logits, train=False)[0].ravel()

        z, slopes = jax.jit(jax.vmap(lambda x: (latent(x), jax.jacrev(latent)(x))))(x)
    expected = stats.norm.logpdf(z).sum(1) + np.linalg.slogdet(slopes)[1] - 16 * math.log(256)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_logits_and_back():
    x = jnp.linspace(0, 1, 101)[:, None]
    logits, change = to_logits(x)
    np.testing.assert_allclose(from_logits(logits), x, atol=1e-6)
    slope = jax.vmap(jax.grad(lambda x: to_logits(x[None, None])[0][0, 0]))(x[:, 0])
    np.testing.assert_allclose(change, np.log(slope), atol=1e-5)


def test_codes_give_the_images_back(flow):
    coder = flow.system.ability(Autoencoder)
    codes = jax.jit(lambda x: coder.encode(flow.nets, x))(IMAGES)
    assert codes.shape == (3, 16)
    again = jax.jit(lambda z: coder.decode(flow.nets, z))(codes)
    # an image is read in the middle of its levels
    np.testing.assert_allclose(again, IMAGES * 255 / 256, atol=5e-5)


def test_temperature_scales_the_latents(flow):
    sampler = flow.system.ability(Sampler)
    decode = flow.system.ability(Autoencoder).decode
    z = sampler.prior(jax.random.key(4), 3)
    generate = jax.jit(lambda t: sampler.generate(flow.nets, z, {}, None, temperature=t))
    halved = jax.jit(lambda z: decode(flow.nets, z))(0.5 * z)
    np.testing.assert_allclose(generate(0.5), halved, atol=1e-6)
    cold = np.asarray(generate(0.0))
    np.testing.assert_allclose(cold, np.broadcast_to(cold[:1], cold.shape), atol=1e-6)
    assert np.ptp(generate(1.0)) > 0.1


def test_weight_decay_is_of_magnitudes_and_checkerboard_scales():
    """As in the authors' code. Two scales of one block: a magnitude for each number of each
    skip path, block and last layer; a scale for each of the 3 + 4 checkerboard couplings."""
    module = RealNVP(4, 1, 2)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((2, *SHAPE)))["params"]
    ones = jax.tree.map(lambda w: jnp.ones(w.shape), shapes)
    layers = lambda width, outputs: 3 * width + 2 * outputs  # skip_first, block out, skip_0, last
    fine, channels, coarse = layers(4, 1), layers(8, 2), layers(8, 2)
    assert squares(ones) == 3 * fine + 3 * channels + 4 * coarse + 3 + 4


def test_mistakes():
    with pytest.raises(UserError, match="--scales 3 needs sides that 4 divides"):
        experiment.Args(size=(30, 28), scales=3).check()
