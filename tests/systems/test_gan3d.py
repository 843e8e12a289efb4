"""What makes 3D-GAN itself: a discriminator that stays while it is too good."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.data.source import DataInfo, Field
from jaxgen.experiments import gan3d as experiment
from jaxgen.solids import views
from jaxgen.systems.gan.gan3d import PRIOR
from jaxgen.train.abilities import Sampler
from jaxgen.train.nets import bind, init, place
from jaxgen.train.program import compile_rounds
from tests.train.toy import mesh

FIELDS = {"voxels": Field("voxels", depth=8)}
INFO = DataInfo((8, 8, 8), FIELDS)
ARGS = experiment.Args(size=8, width=2, discriminator_lr=1e-3, most_accuracy=0.8)
SYSTEM = experiment.system(ARGS, INFO)


@functools.cache
def program(devices):
    return compile_rounds(SYSTEM, mesh(devices), SYSTEM.plan(0), fields=FIELDS)


def played(devices, last, rounds=1):
    """States before and after, with an accuracy of `last` on the minibatch before; metrics of each
    round."""
    before = init(SYSTEM, jax.random.key(0))
    kept = before["last_accuracy"]
    kept = kept.replace(collections={"running": {"value": jnp.float32(last)}})
    before["last_accuracy"] = kept
    after = place(jax.tree.map(jnp.copy, before), mesh(devices))
    rng, history = np.random.default_rng(0), []
    for r in range(rounds):
        batches = {"voxels": rng.integers(0, 2, (1, 1, 8, 8, 8, 8, 1), dtype=np.uint8)}
        round = np.array([r], np.int32)
        after, metrics = program(devices)(after, batches, round, jax.random.key(1))
        history.append({k: x[0] for k, x in jax.device_get(metrics).items()})
    metrics = {k: np.array([line[k] for line in history]) for k in history[0]}
    return before, jax.device_get(after), metrics


def same(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return [np.array_equal(x, y) for x, y in pairs]


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize(("last", "stays"), [(0.8125, True), (0.8, False)])
def test_a_discriminator_that_was_too_good_stays_bit_for_bit(devices, last, stays):
    """Above 80 % its weights, Adam's moments and counts and its running statistics all stay, while
    the generator learns from it."""
    before, after, metrics = played(devices, last)
    assert metrics["discriminator/skipped"][0] == stays
    stayed = same(before["discriminator"], after["discriminator"])
    assert all(stayed) if stays else not any(stayed)
    assert not any(same(before["generator"].params, after["generator"].params))
    kept = after["last_accuracy"].collections["running"]["value"]
    assert kept == metrics["discriminator/accuracy"][0]


def test_the_gate_opens_and_shuts_the_same_on_all_devices():
    """The accuracy of a round, a whole number of sixteenths, decides in the next."""
    _, _, one = played(1, 0.9, rounds=6)
    _, _, four = played(4, 0.9, rounds=6)
    accuracy, skipped = (one[f"discriminator/{name}"] for name in ("accuracy", "skipped"))
    np.testing.assert_array_equal(accuracy, four["discriminator/accuracy"])
    np.testing.assert_array_equal(skipped, four["discriminator/skipped"])
    np.testing.assert_array_equal(16 * accuracy, np.round(16 * accuracy))
    np.testing.assert_array_equal(skipped, [1, *(accuracy[:-1] > 0.8)])


def test_latents_are_uniform_and_paths_straight():
    sampler = SYSTEM.ability(Sampler)
    z = sampler.prior(jax.random.key(0), 500)
    assert z.shape == (500, 200)
    assert -1 <= z.min() < -0.999 < 0.999 < z.max() < 1
    between = sampler.interpolate(z[0], z[1], 0.25)
    np.testing.assert_allclose(between, 0.75 * z[0] + 0.25 * z[1], rtol=1e-5)


def test_each_strip_shows_one_shape_from_all_around():
    nets = bind(init(SYSTEM, jax.random.key(0)), jax.random.key(1))
    shapes = SYSTEM.show(nets, {"voxels": jnp.zeros((6, 8, 8, 8, 1))}, jax.random.key(2))
    made = SYSTEM.ability(Sampler).generate(
        nets, PRIOR(jax.random.key(2), 6), {}, jax.random.key(2)
    )
    assert shapes["turned"].shape == (4, 64, 8 * 64, 1)
    for n, i in (0, 3), (3, 6):
        seen = views(made[n : n + 1], 45.0 * i)[0]
        np.testing.assert_allclose(shapes["turned"][n, :, 64 * i : 64 * (i + 1)], seen, atol=1e-5)
