"""What makes CycleGAN itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.systems.translation.cyclegan import cyclegan
from jaxgen.train.abilities import DiscriminatorScores, Translator
from jaxgen.train.nets import bind, init, place
from jaxgen.train.program import compile_rounds
from tests.quick import quick_to_compile  # noqa: F401
from tests.train.toy import mesh

SHAPE = (8, 8, 1)


class Scaled(nn.Module):
    """A generator of one weight: the identity at first."""

    @nn.compact
    def __call__(self, x):
        return x * self.param("scale", nn.initializers.ones, ())


class Brightness(nn.Module):
    """A discriminator: the mean of an image, times a weight."""

    start: float = 1.0

    @nn.compact
    def __call__(self, x):
        weight = self.param("weight", nn.initializers.constant(self.start), ())
        return weight * x.mean((1, 2, 3))


def batches(rounds, n=8):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (2, rounds, 1, n, *SHAPE)).astype(np.float32)
    return {"a": a / 2, "b": b + 0.5}


def play(system, rounds=1, n=8, n_devices=1):
    where = mesh(n_devices)
    states = place(init(system, jax.random.key(0)), where)
    program = compile_rounds(system, where, system.plan(0))
    numbers = np.arange(rounds, dtype=np.int32)
    states, metrics = program(states, batches(rounds, n), numbers, jax.random.key(1))
    return states, {name: np.asarray(values) for name, values in metrics.items()}


def toy(start=1.0, **options):
    return cyclegan(Scaled(), Brightness(start), SHAPE, 8, **options)


@pytest.fixture(scope="module")
def still():
    """Metrics of six rounds in which nobody learns, without pools."""
    return play(toy(lr=0.0, pool=0), 6)[1]


def test_identities_cycle_without_loss(still):
    assert (still["g+f/cycle"] == 0).all()
    assert (still["g+f/identity"] == 0).all()


def test_losses_at_logits_of_zero():
    """Least squares; the discriminators' are halved, the generators' are not."""
    _, metrics = play(toy(start=0.0, identity=0.0))
    assert "g+f/identity" not in metrics
    assert metrics["d_a+d_b/a"] == metrics["d_a+d_b/b"] == 0.5
    assert metrics["d_a+d_b/loss"] == metrics["g+f/adversarial"] == 1
    assert metrics["g+f/loss"] == 2


def test_objective_by_hand():
    system = toy(cycle=7.0, identity=0.25)
    states = init(system, jax.random.key(0))
    states["g"] = states["g"].replace(params={"scale": jnp.asarray(2.0)})
    states["d_b"] = states["d_b"].replace(params={"weight": jnp.asarray(3.0)})
    nets = bind(states, jax.random.key(0))
    a, b = (batches(1)[name][0, 0] for name in "ab")
    loss, metrics = system.turns[0].loss(nets, {"a": a, "b": b}, jax.random.key(1))
    mean = lambda x: x.mean((1, 2, 3))
    fooling = ((3 * mean(2 * a) - 1) ** 2).mean() + ((mean(b) - 1) ** 2).mean()
    cycled = abs(2 * a - a).mean() + abs(2 * b - b).mean()  # F(G(a)), G(F(b))
    same = abs(2 * b - b).mean()  # G is to leave b as it is, F to leave a
    np.testing.assert_allclose(loss, fooling + 7 * cycled + 7 / 4 * same, rtol=1e-5)
    np.testing.assert_allclose(metrics["identity"], same / 2, rtol=1e-5)
    told, parts = system.turns[1].loss(nets, {"a": a, "b": b}, jax.random.key(1))
    d_b = ((3 * mean(b) - 1) ** 2).mean() / 2 + ((3 * mean(2 * a)) ** 2).mean() / 2
    d_a = ((mean(a) - 1) ** 2).mean() / 2 + (mean(b) ** 2).mean() / 2
    np.testing.assert_allclose([told, parts["a"], parts["b"]], [d_a + d_b, d_a, d_b], rtol=1e-5)


def test_discriminators_learn_from_images_made_before_the_generators_step():
    states, metrics = play(toy(lr=0.3))
    assert abs(states["g"].params["scale"] - 1) > 0.2  # Adam's first step is the rate
    a, b = (batches(1)[name][0, 0].mean((1, 2, 3)) for name in "ab")
    np.testing.assert_allclose(
        metrics["d_a+d_b/b"][0], ((b - 1) ** 2).mean() / 2 + (a**2).mean() / 2, rtol=1e-5
    )


def test_the_pool_feeds_the_discriminators_only(still):
    _, pooled = play(toy(lr=0.0, pool=16), 6)
    np.testing.assert_allclose(pooled["g+f/loss"], still["g+f/loss"], rtol=1e-6)
    same = np.isclose(pooled["d_a+d_b/b"], still["d_a+d_b/b"], rtol=1e-6)
    assert same.tolist() == [True] * 2 + [False] * 4  # lanes of two, then older ones


def test_devices_do_not_matter():
    _, alone = play(toy(lr=0.1, pool=16), 6)
    states, metrics = play(toy(lr=0.1, pool=16), 6, n_devices=4)
    for name in alone:
        np.testing.assert_allclose(metrics[name], alone[name], rtol=1e-4, err_msg=name)
    lanes = states["pool_b"].collections["memory"]["lanes"]
    assert lanes.shape == (8, 2, *SHAPE)
    assert {shard.data.shape for shard in lanes.addressable_shards} == {(2, 2, *SHAPE)}


def test_is_shown_and_translates():
    small = toy()
    nets = bind(init(small, jax.random.key(0)), jax.random.key(1))
    batch = {name: jnp.asarray(x[0, 0]) for name, x in batches(1, 24).items()}
    pictures = small.show(nets, batch, jax.random.key(2))["samples"]
    strips = [batch["a"]] * 3 + [batch["b"]] * 3  # G is the identity
    np.testing.assert_array_equal(pictures, np.concatenate(strips, axis=2))
    ways = small.all_of(Translator)
    assert [way.name for way in ways] == ["a-to-b", "b-to-a"]
    for way in ways:
        inputs, ground_truth = way.pair(batch)
        assert inputs["image"] is batch[way.name[0]]
        assert ground_truth is batch[way.name[-1]]
        image = {"image": jnp.zeros((2, 12, 20, 1))}
        assert way.translate(nets, image, jax.random.key(3)).shape == (2, 12, 20, 1)
    real, fake = small.ability(DiscriminatorScores).scores(nets, batch, jax.random.key(4))
    assert real.shape == fake.shape == (24,)
