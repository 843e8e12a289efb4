"""What makes each of the first four GANs itself."""

import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgen.data.source import DataInfo, Field, to_float
from jaxgen.losses import adversarial
from jaxgen.models import mlp
from jaxgen.systems.gan import dcgan, gan, wgan
from jaxgen.train import optim
from jaxgen.train.abilities import Sampler
from jaxgen.train.nets import bind, init, place
from jaxgen.train.program import compile_rounds
from tests.train.toy import mesh

SHAPE = (8, 8, 1)


FIELDS = {"image": Field("image", 1)}
KEY = jax.random.key(0)


def examples(n):
    """Random images, the same every time."""
    rng = np.random.default_rng(0)
    return {"image": rng.integers(0, 256, (n, *SHAPE), dtype=np.uint8)}


def as_seen(n):
    return to_float(examples(n))


def build(experiment, **flags):
    module = importlib.import_module(f"jaxgen.experiments.{experiment}")
    return module.system(module.Args(size=8, **flags), DataInfo(SHAPE, FIELDS))


def play(system, rounds=1, batch_size=8, plan=None, devices=1, scale=1.0):
    """scale: of the first weights."""
    where = mesh(devices)
    states = init(system, jax.random.key(0), as_seen)
    first = {
        k: s.replace(params=jax.tree.map(lambda w: w * scale, s.params)) for k, s in states.items()
    }
    states = place(first, where)
    plan = plan or system.plan(0)
    program = compile_rounds(system, where, plan, fields=FIELDS)
    image = examples(batch_size)["image"]
    batches = {"image": np.broadcast_to(image, (1, system.minibatches(plan), *image.shape))}
    history = []
    for r in range(rounds):
        states, metrics = program(states, batches, np.array([r], np.int32), jax.random.key(1))
        history.append({k: float(v[0]) for k, v in metrics.items()})
    return states, history


def test_first_gan_starts_at_the_mean_image():
    """The generator's output bias is the logit of the mean training image (released code)."""
    mean = examples(1000)["image"].mean(axis=0) / 127.5 - 1
    system = build("gan", width=16, units=8)
    states = init(system, jax.random.key(0), as_seen)
    nets = bind(states, jax.random.key(0))
    sampler = system.ability(Sampler)
    images = sampler.generate(nets, sampler.prior(jax.random.key(1), 64), {}, KEY)
    np.testing.assert_allclose(images.mean(axis=0), mean, atol=0.02)


def test_first_gan_value_at_a_blind_discriminator():
    """D = 1/2 everywhere: each cross-entropy, and their mean that the code reports, is ln 2."""
    generator, discriminator = mlp.Generator(SHAPE, (4, 4)), mlp.Discriminator(4, spread=0.0)
    system = gan.gan(generator, discriminator, SHAPE, *2 * (optax.sgd(0.0),), adversarial.minimax)
    _, (first,) = play(system)
    assert math.isclose(first["discriminator/loss"], math.log(2), rel_tol=1e-6)
    assert math.isclose(first["generator/loss"], -math.log(2), rel_tol=1e-6)
    assert first["discriminator/d_real"] == first["discriminator/d_fake"] == 0.5


def test_first_gan_momentum_rises_and_rate_falls():
    tx = optim.sgd_goodfellow(0.1, rounds=10)
    w, v, state = jnp.ones(()), 0.0, tx.init(jnp.ones(()))
    expected = 1.0
    for step in range(20):
        updates, state = tx.update(2 * w, state)
        w = optax.apply_updates(w, updates)
        v = (0.5 + 0.2 * min(step / 10, 1)) * v - 0.1 / 1.000004**step * 2 * expected
        expected += v
    np.testing.assert_allclose(w, expected, rtol=1e-5)


def test_first_gan_k_steps():
    system = build("gan", width=16, units=8, steps=3)
    states, _ = play(system, 2)
    assert states["discriminator"].step == 6
    assert states["generator"].step == 2


def test_dcgan_generator_learns_from_the_fakes_just_judged():
    system = build("dcgan", width=2)
    assert [turn.reuse for turn in system.turns] == ["none", "batch+noise"]
    assert system.minibatches(system.plan(0)) == 1
    assert system.ability(Sampler).interpolate.__name__ == "slerp"
    paper = build("dcgan", width=2, variant="paper")
    z = paper.ability(Sampler).prior(jax.random.key(0), 1000)
    assert z.min() < -0.99
    assert -1 <= z.min() < z.max() <= 1
    assert paper.ability(Sampler).interpolate.__name__ == "lerp"
    assert z.shape == (1000, dcgan.LATENT)


def test_wgan_weights_stay_in_the_box():
    """Batch normalisation's gains and biases included (they start at 1)."""
    system = build("wgan", width=2, critic_steps=2, critic_boost=2)
    states, history = play(system, 4)
    largest = [float(jnp.abs(w).max()) for w in jax.tree.leaves(states["critic"].params)]
    assert max(largest) <= 0.01 * (1 + 1e-6)
    assert max(largest) > 0.0099
    generator = [float(jnp.abs(w).max()) for w in jax.tree.leaves(states["generator"].params)]
    assert max(generator) > 0.5
    for line in history:
        assert math.isclose(line["critic/distance"], -line["critic/loss"], rel_tol=1e-6)


def test_wgan_authors_schedule():
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


def test_wgan_gp_pulls_the_slope_to_one():
    """The penalty falls from that of a random critic, and the critic has no batch statistics."""
    system = build("wgan_gp", width=4, critic_steps=1, lr=5e-3)
    states, history = play(system, 60)
    assert "batch_stats" not in states["critic"].collections
    assert history[-1]["critic/penalty"] < 0.5 * history[0]["critic/penalty"]
    line = history[-1]
    loss = -line["critic/distance"] + 10 * line["critic/penalty"]
    assert math.isclose(line["critic/loss"], loss, rel_tol=1e-4, abs_tol=1e-5)


def test_wgan_gp_rate_falls_to_zero():
    rate = 1e-3
    system = build("wgan_gp", width=4, critic_steps=2, lr=rate, decay=True, rounds=3)
    states, _ = play(system, 3)
    before = jax.device_get(states["critic"].params)
    program = compile_rounds(system, mesh(1), (2, 1), fields=FIELDS)
    image = np.broadcast_to(examples(8)["image"], (1, 2, 8, *SHAPE))
    states, _ = program(states, {"image": image}, np.array([3], np.int32), jax.random.key(1))
    # 1 - 6 / 6, of which XLA may make 1 - 6 * (1 / 6): a rounding of the first rate is left.
    for a, b in zip(jax.tree.leaves(states["critic"].params), jax.tree.leaves(before)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * rate)
