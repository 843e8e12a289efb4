"""What makes the Wasserstein GAN itself."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgen.experiments import wgan as experiment
from jaxgen.systems.gan import wgan
from jaxgen.train import optim
from tests.systems.small import build, play


def test_weights_stay_in_the_box():
    """Batch normalisation's gains and biases included (they start at 1)."""
    system = build(experiment, width=2, critic_steps=2, critic_boost=2)
    states, history = play(system, 4)
    largest = [float(jnp.abs(w).max()) for w in jax.tree.leaves(states["critic"].params)]
    assert max(largest) <= 0.01 * (1 + 1e-6)
    assert max(largest) > 0.0099
    generator = [float(jnp.abs(w).max()) for w in jax.tree.leaves(states["generator"].params)]
    assert max(generator) > 0.5
    for line in history:
        assert math.isclose(line["critic/distance"], -line["critic/loss"], rel_tol=1e-6)


def test_authors_schedule():
    steps = [wgan.authors_schedule()(r) for r in (0, 24, 25, 499, 500, 501, 1000)]
    assert steps == [100, 100, 5, 5, 100, 5, 100]


def test_rmsprop_is_torchs():
    """v <- .99 v + .01 g^2; w <- w - lr g / (sqrt(v) + 1e-8), in double precision by hand."""
    tx = optim.rmsprop(5e-5)
    w = np.array([1.0, -1.0, 0.5])
    ours, state = jnp.asarray(w), tx.init(jnp.asarray(w))
    v = np.zeros(3)
    for step in range(20):
        g = np.array([1e-4, -2e-3, 5.0]) * (1 + 0.1 * step)
        v = 0.99 * v + 0.01 * g**2
        w = w - 5e-5 * g / (np.sqrt(v) + 1e-8)
        updates, state = tx.update(jnp.asarray(g, jnp.float32), state)
        ours = optax.apply_updates(ours, updates)
    np.testing.assert_allclose(ours, w, rtol=1e-6)


def test_clip_weights():
    tx = optim.clip_weights(0.5)
    w = jnp.array([0.0, 0.4, -2.0])
    updates, _ = tx.update(jnp.array([0.1, 0.4, 0.1]), tx.init(w), w)
    np.testing.assert_allclose(w + updates, [0.1, 0.5, -0.5], rtol=1e-6)
