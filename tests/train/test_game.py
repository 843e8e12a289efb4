"""The invariants of the game: who moves, on what, and that devices do not matter."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxgen import draw, parallel
from jaxgen.train import devices
from jaxgen.train.game import Player, System, Turn
from jaxgen.train.nets import bind, init, local, place
from jaxgen.train.program import _scan, compile_rounds
from tests.train.toy import Dense, Points, fake_loss, gan, mesh, play, real_loss, show

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def assert_close(states, others):
    leaves = lambda tree: jax.device_get(jax.tree.leaves(tree))
    chex.assert_trees_all_close(leaves(states), leaves(others), **CLOSE)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)))


def one(loss, module=None, optimizer=None, inputs=((1, 2),), **turn):
    """A system of one player `d` and one turn."""
    player = Player(module or Dense(1, 4), list(inputs), optimizer or optax.sgd(0.1))
    return System({"d": player}, (Turn(("d",), loss, **turn),), show)


def test_only_learners_move():
    system = gan(optax.sgd(0.1), turns=(Turn(("d",), real_loss),))
    before = init(system, jax.random.split(jax.random.key(0))[0])
    before = jax.device_get({name: s.params for name, s in before.items()})
    states, _ = play(system)
    assert same(states["g"].params, before["g"])
    assert not same(states["d"].params, before["d"])
    assert states["g"].step == 0
    assert states["d"].step == 1


@pytest.mark.parametrize("optimizer", [optax.sgd(0.1), optax.adam(0.01)], ids=["sgd", "adam"])
@pytest.mark.parametrize("resident", [False, True])
def test_devices_do_not_matter(optimizer, resident):
    system = gan(optimizer, ema=0.9)
    data = Points(resident=resident)
    _, one_history = play(system, 50, 1, data=data)
    for n in (2, 4):
        _, history = play(system, 50, n, data=data)
        for a, b in zip(history, one_history):
            chex.assert_trees_all_close(a, b, rtol=1e-4, atol=1e-6)


def test_devices_do_not_matter_to_weights():
    system = gan(optax.sgd(0.1), ema=0.9)
    alone, _ = play(system, 5, 1)
    for n in (2, 4):
        states, _ = play(system, 5, n)
        assert_close(states, alone)


def test_rounds_in_one_call_are_the_same_rounds():
    system = gan(optax.adam(0.01), ema=0.9)
    alone, one_by_one = play(system, 7, 1)
    states, history = play(system, 7, 1, per_call=3)
    assert_close(states, alone)
    chex.assert_trees_all_close(history, one_by_one, **CLOSE)


def test_a_few_steps_need_no_loop():
    step = lambda carry, x: (0.5 * carry + x, carry)
    given = jnp.float32(1), jnp.arange(6.0)
    loops = []
    for n in (1, 4, 6):
        found = jax.jit(partial(_scan, step, unroll=n)).lower(*given).compile()
        np.testing.assert_allclose(found(*given)[1], [1, 0.5, 1.25, 2.625, 4.3125, 6.15625])
        loops.append(" while(" in found.as_text())
    assert loops == [True, True, False]


def test_times_by_round_take_their_own_minibatches():
    """SGD with rate 1 on loss w * label counts the labels that a turn has seen."""

    class Count(nn.Module):
        @nn.compact
        def __call__(self):
            return self.param("w", nn.initializers.zeros, ())

    loss = lambda nets, batch, key: (-nets.d() * batch["label"].mean(), {})
    system = one(loss, Count(), optax.sgd(1.0), (), times=lambda r: 3 if r == 0 else 1)
    assert [system.plan(r) for r in range(3)] == [(3,), (1,), (1,)]
    states, _ = play(system, 3, 2, batch_size=4)
    seen = np.arange(5 * 4).reshape(5, 4).mean(axis=1).sum()  # five minibatches of four
    np.testing.assert_allclose(states["d"].params["w"], seen)
    assert states["d"].step == 5


def test_every_n_th_round():
    lazy = Turn(("d",), real_loss, every=3, name="lazy")
    system = gan(optax.sgd(0.1), turns=(Turn(("g",), fake_loss), lazy))
    states, history = play(system, 7, 1, per_call=4)
    assert states["d"].step == 3  # rounds 0, 3, 6
    assert ["lazy/loss" in h for h in history] == [True, False, False, True, False, False, True]


def test_skip_leaves_learners_as_they_were():
    rule = lambda metrics: metrics["distance"] < 100.0
    system = gan(
        optax.adam(0.1), turns=(Turn(("d",), real_loss, skip=rule), Turn(("g",), fake_loss))
    )
    before = jax.device_get(init(system, jax.random.split(jax.random.key(0))[0]))
    states, _ = play(system, 2, 2)
    assert same(states["d"], before["d"])
    assert not same(states["g"].params, before["g"].params)


def test_a_turn_that_is_not_fresh_sees_the_same_minibatch_and_noise():
    def report(nets, batch, key):
        z = draw.normal(key, len(batch["x"]), (2,))
        return nets.d(z).sum() * 0, {"z": z.sum(), "x": batch["label"].sum() * 1.0}

    turns = tuple(
        Turn(("d",), report, name=name, reuse=reuse, times=times)
        for name, reuse, times in [("a", "none", 2), ("b", "batch+noise", 1), ("c", "none", 1)]
    )
    system = System({"d": Player(Dense(), [(1, 2)], optax.sgd(0.1))}, turns, show)
    _, (first, second) = play(system, 2, batch_size=4)
    assert system.minibatches(system.plan(0)) == 3
    # Minibatches 0 and 1 are a's, whose metrics are their mean; b replays 1; c takes 2.
    assert first["b/x"] == 4 + 5 + 6 + 7
    assert first["a/x"] == (0 + 1 + 2 + 3 + 4 + 5 + 6 + 7) / 2
    assert first["c/x"] == 8 + 9 + 10 + 11
    assert first["b/z"] != first["c/z"]
    assert second["a/z"] != first["a/z"]
    alone = System(
        system.players, (turns[0], Turn(("d",), report, name="b", reuse="batch+noise")), show
    )
    _, (again,) = play(alone, 1, batch_size=4)
    np.testing.assert_allclose(again["b/z"], first["b/z"], rtol=1e-5, atol=1e-6)


def test_a_turn_may_replay_a_minibatch_with_noise_of_its_own():
    """Its own in the loss and in the network; the same minibatch, augmented alike."""

    class Noisy(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.param("w", nn.initializers.ones, ())
            return x + draw.normal(self.make_rng("dropout"), len(x), (1,))[:, 0]

    def report(nets, batch, key):
        z, x = draw.normal(key, len(batch["x"])), batch["label"] * 1.0
        return 0 * nets.d.params["w"], {"z": z.sum(), "x": x.sum(), "n": nets.d(x).sum() - x.sum()}

    class Shaken(Points):
        augment = staticmethod(
            lambda batch, key: batch | {"label": batch["label"] + draw.normal(key, 4)}
        )

    names = {"a": "none", "b": "batch", "c": "batch", "d": "batch+noise"}
    turns = tuple(Turn(("d",), report, name=name, reuse=reuse) for name, reuse in names.items())
    system = System({"d": Player(Noisy(), [(1,)], optax.sgd(0.1))}, turns, show)
    _, (found,) = play(system, 1, batch_size=4, data=Shaken())
    assert system.minibatches(system.plan(0)) == 1
    for of in "zn":
        drawn = [found[f"{name}/{of}"] for name in names]
        assert np.diff(np.sort(drawn[:3])).min() > 1e-3
        np.testing.assert_allclose(drawn[3], drawn[2], **CLOSE)  # d shares c's
    np.testing.assert_allclose([found[f"{name}/x"] for name in names], found["a/x"], **CLOSE)
    assert found["a/x"] != round(found["a/x"])


def test_several_learners_descend_one_loss():
    both = lambda nets, batch, key: ((nets.d(nets.g(batch["x"])) ** 2).mean(), {})
    system = gan(optax.sgd(0.1), turns=(Turn(("g", "d"), both),))
    before = jax.device_get(init(system, jax.random.split(jax.random.key(0))[0]))
    states, history = play(system, 3, 2)
    assert set(history[0]) == {"g+d/loss"}
    for name in ("g", "d"):
        assert not same(states[name].params, before[name].params)
    assert history[-1]["g+d/loss"] < history[0]["g+d/loss"]


def test_a_frozen_player_may_not_learn():
    players = {"d": Player(Dense(), [(1, 2)])}
    with pytest.raises(ValueError, match="no optimizer"):
        System(players, (Turn(("d",), real_loss),), show)
    with pytest.raises(ValueError, match="no player"):
        System(players, (Turn(("e",), real_loss),), show)


def test_given_variables_are_the_start():
    variables = {"params": {"Dense_0": {"kernel": jnp.ones((2, 1)), "bias": jnp.full((1,), 5.0)}}}
    player = Player(Dense(), [(1, 2)], variables=variables)
    state = init(System({"v": player, "d": player}, (_null_turn(),), show), jax.random.key(0))
    assert same(state["v"].params, variables["params"])


def _null_turn():
    turn = Turn((), lambda nets, batch, key: (nets.d(batch["x"]).mean() * 0, {}))
    return turn


def test_ema_by_rate_and_by_round():
    w = lambda states: states["d"].params["Dense_0"]["bias"]
    loss = lambda nets, batch, key: (nets.d(batch["x"]).mean(), {})
    player = lambda ema: Player(Dense(), [(1, 2)], optax.sgd(1.0), ema=ema)
    for ema, want in [
        (0.5, 0.5 * (0.5 * 0 + 0.5 * -1) + 0.5 * -2),
        (lambda round: jnp.where(round < 1, 0.0, 0.5), 0.5 * -1 + 0.5 * -2),
    ]:
        system = System({"d": player(ema)}, (Turn(("d",), loss),), show)
        states, _ = play(system, 2, 2)
        np.testing.assert_allclose(w(states), -2.0)
        np.testing.assert_allclose(states["d"].ema["params"]["Dense_0"]["bias"], want)
        nets = bind(local(states), jax.random.key(0))
        np.testing.assert_allclose(nets.d.params["Dense_0"]["bias"], want)


class Pool(nn.Module):
    """Returns what stood in each example's lane a call ago."""

    @nn.compact
    def __call__(self, x):
        lanes = self.variable("memory", "lanes", jnp.zeros, x.shape)
        old = lanes.value
        lanes.value = x
        return old


def test_memory_has_a_lane_a_position_of_the_batch():
    def loss(nets, batch, key):
        old = nets.pool(batch["x"])
        return nets.d(old).mean(), {"old": old[:, 0].sum() / 2}

    players = {"d": Player(Dense(), [(1, 2)], optax.sgd(0.1)), "pool": Player(Pool(), [(8, 2)])}
    system = System(players, (Turn(("d",), loss),), show)
    x = Points().arrays["x"]
    results = {}
    for n in (1, 4):
        states, history = play(system, 3, n)
        lanes = states["pool"].collections["memory"]["lanes"]
        np.testing.assert_array_equal(lanes, x[16:24])
        assert {s.data.shape for s in lanes.addressable_shards} == {(8 // n, 2)}
        results[n] = [h["d/old"] for h in history]
    np.testing.assert_allclose(results[1][1], x[0:8, 0].sum() / 2, rtol=1e-5)
    np.testing.assert_allclose(np.array(results[4]) * 4, results[1], rtol=1e-5)


class Running(nn.Module):
    """A running mean of what it is given."""

    rate: float = 0.5

    @nn.compact
    def __call__(self, x):
        value = self.variable("running", "value", jnp.zeros, ())
        value.value = value.value + self.rate * (parallel.mean(x) - value.value)
        return value.value


def test_a_running_value_is_that_of_the_global_batch():
    def loss(nets, batch, key):
        mean = nets.running(batch["x"].mean())
        return ((nets.d(batch["x"]) - mean) ** 2).mean(), {"mean": mean}

    players = {"d": Player(Dense(), [(1, 2)], optax.sgd(0.1)), "running": Player(Running(), [()])}
    players["running"] = Player(Running(), [jnp.zeros(())])
    system = System(players, (Turn(("d",), loss),), show)
    alone, history = play(system, 3, 1)
    states, _ = play(system, 3, 4)
    x = Points().arrays["x"]
    np.testing.assert_allclose(history[0]["d/mean"], 0.5 * x[:8].mean(), rtol=1e-5)
    assert_close(states, alone)


def test_unsynchronised_statistics_become_their_mean():
    class Local(nn.Module):
        @nn.compact
        def __call__(self, x):
            value = self.variable("running", "value", jnp.zeros, ())
            value.value = x.mean()
            return nn.Dense(1)(x)

    loss = lambda nets, batch, key: (nets.d(batch["x"]).mean(), {})
    states, _ = play(one(loss, Local()), 1, 4)
    np.testing.assert_allclose(
        states["d"].collections["running"]["value"], Points().arrays["x"][:8].mean(), rtol=1e-5
    )


def test_losses_over_pairs_see_the_global_batch():
    """A contrastive loss: every example against all examples of all devices."""

    def loss(nets, batch, key):
        z = nets.d(batch["x"])
        everyone = parallel.gather(z)
        similar = z @ everyone.T
        label = parallel.first(len(z)) + jnp.arange(len(z))
        return optax.softmax_cross_entropy_with_integer_labels(similar, label).mean(), {}

    system = one(loss, Dense(4))
    alone, one_history = play(system, 4, 1)
    states, history = play(system, 4, 4)
    assert_close(states, alone)
    chex.assert_trees_all_close(history, one_history, **CLOSE)


def test_dropout_and_noise_do_not_depend_on_devices():
    class Noisy(nn.Module):
        @nn.compact
        def __call__(self, x):
            keep = draw.bernoulli(self.make_rng("dropout"), 0.5, len(x), x.shape[1:])
            return nn.Dense(1)(x * keep)

    loss = lambda nets, batch, key: ((nets.d(batch["x"]) - nets.d(-batch["x"])).mean(), {})
    alone, _ = play(one(loss, Noisy()), 3, 1)
    states, _ = play(one(loss, Noisy()), 3, 4)
    assert_close(states, alone)


def test_still_leaves_no_trace():
    """Also inside `jax.grad`, where a call that updates a collection would leak a tracer."""

    class Counted(nn.Module):
        @nn.compact
        def __call__(self, x):
            calls = self.variable("count", "calls", jnp.zeros, ())
            calls.value = calls.value + x.mean() * 0 + 1
            return nn.Dense(1)(nn.tanh(nn.Dense(4)(x)))

    def loss(nets, batch, key):
        slope = jax.grad(lambda x: nets.d.still(x).sum())(batch["x"])
        return nets.d(batch["x"]).mean() + (slope**2).sum(axis=1).mean(), {}

    system = one(loss, Counted())
    alone, _ = play(system, 3, 1)
    states, _ = play(system, 3, 4)
    assert alone["d"].collections["count"]["calls"] == 1 + 3  # one of them is the initialisation's
    assert_close(states, alone)


def test_adaptive_weight_by_a_second_gradient():
    """VQGAN's: the ratio of two losses' gradients at one layer, as a constant."""

    def loss(nets, batch, key):
        first = lambda p: parallel.mean((nets.g.still(batch["x"], params=p) ** 2).mean())
        other = lambda p: parallel.mean(-nets.d.still(nets.g.still(batch["x"], params=p)).mean())
        norm = lambda f: jnp.linalg.norm(jax.grad(f)(nets.g.params)["Dense_1"]["kernel"])
        weight = jax.lax.stop_gradient(norm(first) / (norm(other) + 1e-4))
        y = nets.g(batch["x"])
        return (y**2).mean() - weight * nets.d(y).mean(), {"weight": weight}

    system = gan(optax.sgd(0.1), turns=(Turn(("g",), loss),))
    alone, one_history = play(system, 3, 1)
    states, history = play(system, 3, 4)
    assert 0 < history[0]["g/weight"] < 1e4
    chex.assert_trees_all_close(history, one_history, **CLOSE)
    assert_close(states, alone)


def test_lbfgs_solves_least_squares():
    x = Points().arrays["x"]
    target = x @ np.array([[1.5], [-0.5]], np.float32) + 0.25

    def loss(nets, batch, key):
        y = batch["x"] @ jnp.array([[1.5], [-0.5]]) + 0.25
        return ((nets.d(batch["x"]) - y) ** 2).mean(), {}

    system = one(loss, Dense(), optax.lbfgs())
    for n in (1, 4):
        states, history = play(system, 12, n, batch_size=240)
        assert history[-1]["d/loss"] < 1e-8
        y = x @ states["d"].params["Dense_0"]["kernel"] + states["d"].params["Dense_0"]["bias"]
        np.testing.assert_allclose(y, target, atol=1e-3)


def test_bfloat16_computes_with_float32_weights():
    seen = []

    class Probe(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = nn.Dense(1)(x)
            seen.append((x.dtype, y.dtype))
            return y

    def loss(nets, batch, key):
        y = nets.d(batch["x"])
        seen.append(y.dtype)
        return (y**2).mean(), {}

    system = one(loss, Probe())
    states = place(init(system, jax.random.key(0)), mesh(2))
    seen.clear()
    x = jnp.ones((1, 1, 8, 2))
    program = compile_rounds(system, mesh(2), (1,), precision="bfloat16")
    new, metrics = program(states, {"x": x}, np.zeros(1, np.int32), jax.random.key(0))
    assert seen[:2] == [(jnp.bfloat16, jnp.bfloat16), jnp.float32]
    assert all(w.dtype == jnp.float32 for w in jax.tree.leaves(new["d"].params))
    assert metrics["d/loss"].dtype == jnp.float32


def test_images_reach_losses_as_floats():
    def loss(nets, batch, key):
        assert batch["image"].dtype == jnp.float32
        low, high = batch["image"].min(), batch["image"].max()
        return nets.d(batch["x"]).mean(), {"low": low, "high": high}

    _, (first,) = play(one(loss), 1, 1, data=Points(images=True))
    assert -1 <= first["d/low"] < -0.9
    assert 0.9 < first["d/high"] <= 1


def test_a_batch_that_cannot_be_split_names_the_fix():
    from jaxgen.errors import UserError

    with pytest.raises(UserError, match="batch of 6 cannot be split over 4 devices.*multiple of 4"):
        devices.share(6, mesh(4))


def test_draw_is_by_example():
    key = jax.random.key(3)
    few, many = draw.normal(key, 4, (3,)), draw.normal(key, 8, (3,))
    np.testing.assert_allclose(many[:4], few, rtol=1e-6, atol=1e-6)
    u = draw.uniform(key, 1000, (), 2.0, 4.0)
    assert u.min() >= 2
    assert u.max() < 4
    assert 0.45 < draw.bernoulli(key, 0.5, 1000).mean() < 0.55
    assert set(np.unique(draw.randint(key, 200, (2,), 1, 4))) == {1, 2, 3}
