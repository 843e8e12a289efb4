"""What makes the first GAN itself."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgen.experiments import gan as experiment
from jaxgen.losses import adversarial
from jaxgen.models import mlp
from jaxgen.systems.gan import gan
from jaxgen.train import optim
from jaxgen.train.abilities import Sampler
from jaxgen.train.nets import bind, init
from tests.systems.small import SHAPE, as_seen, build, examples, play


def test_starts_at_the_mean_image():
    """The generator's output bias is the logit of the mean training image (released code)."""
    mean = examples(1000)["image"].mean(axis=0) / 127.5 - 1
    system = build(experiment, width=16, units=8)
    states = init(system, jax.random.key(0), as_seen)
    nets = bind(states, jax.random.key(0))
    sampler = system.ability(Sampler)
    images = sampler.generate(nets, sampler.prior(jax.random.key(1), 64), {}, jax.random.key(0))
    np.testing.assert_allclose(images.mean(axis=0), mean, atol=0.02)


def test_value_at_a_blind_discriminator():
    """D = 1/2 everywhere: each cross-entropy, and their mean that the code reports, is ln 2."""
    generator, discriminator = mlp.Generator(SHAPE, (4, 4)), mlp.Discriminator(4, spread=0.0)
    system = gan.gan(generator, discriminator, SHAPE, *2 * (optax.sgd(0.0),), adversarial.minimax)
    _, (first,) = play(system)
    assert math.isclose(first["discriminator/loss"], math.log(2), rel_tol=1e-6)
    assert math.isclose(first["generator/loss"], -math.log(2), rel_tol=1e-6)
    assert first["discriminator/d_real"] == first["discriminator/d_fake"] == 0.5


def test_momentum_rises_and_rate_falls():
    tx = optim.sgd_goodfellow(0.1, rounds=10)
    w, v, state = jnp.ones(()), 0.0, tx.init(jnp.ones(()))
    expected = 1.0
    for step in range(20):
        updates, state = tx.update(2 * w, state)
        w = optax.apply_updates(w, updates)
        v = (0.5 + 0.2 * min(step / 10, 1)) * v - 0.1 / 1.000004**step * 2 * expected
        expected += v
    np.testing.assert_allclose(w, expected, rtol=1e-5)


def test_k_steps():
    system = build(experiment, width=16, units=8, steps=3)
    states, _ = play(system, 2)
    assert states["discriminator"].step == 6
    assert states["generator"].step == 2
