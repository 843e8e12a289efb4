"""Seeds side by side in one program: each is the run of its own seed, on the minibatches of one."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxgen as jg
from jaxgen.errors import UserError
from jaxgen.models import vae as models
from jaxgen.nn import conv
from jaxgen.systems.likelihood.vae import vae
from jaxgen.train import devices, game, nets
from jaxgen.train.fit import Diverged, fit
from jaxgen.train.stages import Stage, fit_stages
from tests.quick import quick_to_compile  # noqa: F401
from tests.train.toy import Dense, Points, gan, mesh, real_loss, show

OPTIONS = {"batch_size": 8, "log_every": 1, "rounds_per_call": 2}


def leaves(states):
    return jax.device_get(jax.tree.leaves(states))


def play(system, rounds=2, **options):
    """(the states, the records); the order of Points is that of no seed."""
    records = []
    options = {**OPTIONS, "mesh": mesh(1), "log": records.append, **options}
    return fit(system, Points(), rounds, **options), records


def test_each_copy_is_the_run_of_its_seed():
    """With averaged weights, a turn of two minibatches and a rule that skips steps."""
    some = lambda metrics: metrics["distance"] > 0.02
    critic = game.Turn(("d",), real_loss, times=2, skip=some)
    whole = gan(optax.adam(0.01), ema=0.9)
    system = dataclasses.replace(whole, turns=(critic, *whole.turns[1:]))
    together, records = play(system, seed=3, seeds=2)
    alone = [play(system, seed=3 + i) for i in range(2)]
    for i, (states, _) in enumerate(alone):
        mine = nets.local(together, i)
        assert jax.tree.structure(mine) == jax.tree.structure(states)
        for a, b in zip(leaves(mine), leaves(states), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    for n, record in enumerate(records):
        values = [own[n]["d/distance"] for _, own in alone]
        assert record["d/distance"] == pytest.approx(np.mean(values), rel=1e-4, abs=1e-6)
        assert record["d/distance_spread"] == pytest.approx(np.std(values), rel=1e-3, abs=1e-6)


def test_copies_are_spread_over_devices():
    """Those of a copy share its minibatch, and each has the weights that it has on one device."""
    system = gan(optax.adam(0.01), ema=0.9)
    alone, records = play(system, seeds=2)
    for n in (2, 4):
        spread = devices.make_mesh(jax.devices()[:n], copies=2)
        assert spread.shape == {"copies": 2, "batch": n // 2}
        states, same = play(system, seeds=2, mesh=spread)
        weight = jax.tree.leaves(states["g"].params)[0]
        assert {shard.data.shape[0] for shard in weight.addressable_shards} == {1}
        for i in range(2):
            mine = leaves(nets.local(alone, i)), leaves(nets.local(states, i))
            for a, b in zip(*mine, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        for a, b in zip(records, same, strict=True):
            assert a["d/distance_spread"] == pytest.approx(b["d/distance_spread"], rel=1e-3)


class Filter(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jnp.tanh(conv.Conv(2)(x))


def test_copies_that_convolve_are_the_runs_of_their_seeds():
    """On a CPU they are played one after another."""
    loss = lambda nets, batch, key: (
        ((nets.f(batch["image"]) - jax.random.normal(key, (1, 4, 4, 2))) ** 2).mean(),
        {},
    )
    player = game.Player(Filter(), [(1, 4, 4, 1)], optax.adam(0.1), ema=0.9)
    system = game.System({"f": player}, (game.Turn(("f",), loss, times=2),), show)
    options = {**OPTIONS, "mesh": mesh(1)}
    together = fit(system, Points(images=True), 3, seed=3, seeds=2, **options)
    for i in range(2):
        alone = fit(system, Points(images=True), 3, seed=3 + i, **options)
        for a, b in zip(leaves(nets.local(together, i)), leaves(alone), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    first, second = (nets.local(together, i)["f"].params for i in range(2))
    assert not np.allclose(*(jax.tree.leaves(x)[0] for x in (first, second)))


def test_as_many_devices_as_can_share_copies_evenly_have_some():
    shape = lambda n, copies: tuple(devices.make_mesh(jax.devices()[:n], copies).shape.values())
    assert [shape(4, n) for n in (1, 2, 3, 6, 8)] == [(1, 4), (2, 2), (1, 4), (2, 2), (4, 1)]


class Memory(Dense):
    """Counts what it has seen in each lane."""

    def setup(self):
        self.seen = self.variable("memory", "seen", jnp.zeros, (8,))

    def __call__(self, x):
        if not self.is_initializing():
            self.seen.value += len(x) * jnp.ones_like(self.seen.value)
        return x * self.seen.value[:, None]


def test_stages_and_memory_have_the_axis_too():
    one = gan(optax.sgd(0.01))
    states = fit_stages(
        [Stage("a", one, 2), Stage("b", one, 1)], Points(), seeds=2, mesh=mesh(4), **OPTIONS
    )
    assert {x.shape[0] for x in leaves(states)} == {2}
    system = game.System(
        {
            "m": game.Player(Memory(), [(8, 2)]),
            "d": game.Player(Dense(), [(1, 2)], optax.sgd(0.1)),
        },
        (game.Turn(("d",), lambda nets, batch, key: (nets.d(nets.m(batch["x"])).mean(), {})),),
        show,
    )
    for where in (mesh(4), devices.make_mesh(jax.devices()[:4], copies=2)):
        states, _ = play(system, seeds=2, mesh=where)
        seen = jax.device_get(states["m"].collections["memory"]["seen"])
        np.testing.assert_array_equal(seen, np.full((2, 8), 16 // where.shape["batch"]))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    shape, layers = (4, 4, 1), {"hidden": (4,)}
    coder = models.Encoder(2, **layers), models.BernoulliDecoder(shape, **layers)
    system = vae(*coder, shape, 2, optax.adam(0.01), samples=2)
    data = jg.arrays({"image": np.random.default_rng(0).integers(0, 256, (24, *shape), np.uint8)})
    folder = tmp_path_factory.mktemp("run") / "toy"
    scored = {"evaluate": ("elbo",), "evaluate_every": 2}
    trained = jg.fit(system, data, 2, batch_size=8, seeds=2, run=folder, **scored)
    return trained, system, data, folder


def test_a_run_of_several_seeds_is_used(run):
    trained, system, data, folder = run
    copies = [jg.load(folder, system, copy=i) for i in range(2)]
    first, second = (one.sample(3, seed=5) for one in copies)
    assert (first != second).any()
    for whole in (trained, jg.load(folder, system)):
        np.testing.assert_array_equal(whole.sample(3, seed=5), first)
        assert len(whole.copies) == 2
        scores = [one.evaluate("elbo", data=data)["elbo"] for one in copies]
        assert scores[0] != scores[1]
        assert whole.evaluate("elbo", data=data)["elbo"] == pytest.approx(np.mean(scores))
    with pytest.raises(UserError, match=re.escape("copy is from 0 to 1 in")):
        jg.load(folder, system, copy=2)


def test_a_score_of_several_seeds_says_each(run):
    from jaxgen.evaluate.run import evaluate

    trained, _, data, _ = run
    [record] = evaluate(trained, ["elbo"], data=data)
    assert len(record["copies"]) == 2
    assert record["value"] == pytest.approx(np.mean(record["copies"]))
    assert record["deviation"] == pytest.approx(np.std(record["copies"]))
    bits = -record["value"] / np.log(2) / 16
    assert record["bits_per_dimension"] == pytest.approx(bits)
    assert "copy" not in record


def test_a_score_of_one_seed_says_which(run):
    """Also in training, where it is the first."""
    from jaxgen.evaluate import scores
    from jaxgen.evaluate.run import evaluate

    _, system, data, folder = run
    [record] = evaluate(jg.load(folder, system, copy=1), ["elbo"], data=data)
    assert (record["copy"], "copies" in record) == (1, False)
    assert [record["copy"] for record in scores.read(folder / "scores.jsonl")] == [0]


def test_the_number_of_seeds_stays(run):
    _, system, data, folder = run
    with pytest.raises(UserError, match="seeds was 2 and is now"):
        jg.fit(system, data, 5, batch_size=8, run=folder)


def test_divergence_names_the_seed():
    system = gan(optax.adam(0.01))
    start = nets.init(system, nets.seeded(3, 3))
    spoil = lambda state: state.replace(
        params=jax.tree.map(lambda x: x.at[1].set(jnp.nan), state.params)
    )
    start = {name: spoil(state) for name, state in start.items()}
    with pytest.raises(Diverged, match="round 1: .* of d is nan in seed 4; train anew"):
        play(system, 8, seed=3, seeds=3, states=start)
