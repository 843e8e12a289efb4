"""Health: each measure on sets where it is known, the warnings, and that training is untouched."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen import draw
from jaxgen.latents import uniform
from jaxgen.train import game, health
from jaxgen.train.abilities import DiscriminatorScores, Sampler
from jaxgen.train.fit import fit
from jaxgen.train.nets import init
from jaxgen.train.run import Run
from tests.train.toy import Dense, Points, gan, mesh, show


def test_the_nearest_other_image():
    images = np.zeros((4, 2, 2, 1), np.float32)
    images[1], images[2], images[3] = 1, 3, 3.5  # nearest others: 1, 1, 0.5 and 0.5 away
    assert health.nearest(jnp.asarray(images)) == pytest.approx(0.75)
    assert health.nearest(jnp.zeros((5, 2, 2, 1))) == 0
    assert health.nearest(jnp.ones((1, 2, 2, 1))) == 0


def test_large_images_count_as_thumbnails():
    blocks = jax.random.normal(jax.random.key(0), (6, 32, 32, 1))
    large = jnp.repeat(jnp.repeat(blocks, 4, axis=1), 4, axis=2)
    grain = 1 - 2 * (jnp.indices((128, 128)).sum(axis=0) % 2)[None, :, :, None]
    assert health.nearest(large + grain) == pytest.approx(float(health.nearest(large)), rel=0.01)


def test_the_share_of_pairs():
    x = jnp.asarray([0.0, 1.0, 2.0])
    assert health.prefers(x + 10, x) == pytest.approx(1)
    assert health.prefers(x, x + 10) == pytest.approx(0)
    assert health.prefers(x, x) == pytest.approx(0.5)
    assert health.prefers(x + 0.5, x) == pytest.approx(6 / 9)
    assert health.prefers(jnp.ones(3), jnp.ones(3)) == pytest.approx(0.5)
    # A rounding changes nothing, though it turns pairs round.
    noise = 1e-6 * jax.random.normal(jax.random.key(0), (3,))
    assert health.prefers(x + noise, x) == pytest.approx(0.5, rel=1e-4)


def test_looks_are_rare_enough():
    assert health.rounds_between(100, 64) == 100
    assert health.rounds_between(100, 32) == 200
    assert health.rounds_between(1, 8) == 800
    assert health.rounds_between(10_000, 64) == 10_000


class Held(Points):
    """Images of noise; the held-out ones are darker."""

    def __init__(self):
        super().__init__(images=True)

    def held_out(self, n):
        held = self.examples(n)
        return {**held, "image": held["image"] // 2}


def system(spread=1.0, scale=1.0, log_odds=True):
    """Samples that differ by `spread`; the discriminator scores by brightness, times `scale`."""
    flat = lambda images: images.reshape(len(images), -1)

    def generate(nets, z, condition, key):
        return spread * z.reshape(-1, 4, 4, 1) / 3**0.5

    def scores(nets, batch, key):
        z = draw.uniform(key, len(batch["image"]), (16,), -1, 1)
        return scale * (flat(batch["image"]) + 9), scale * flat(generate(nets, z, {}, key) - 9)

    return game.System(
        players={"d": game.Player(Dense(1, 8), [(1, 2)], optax.sgd(0.01))},
        turns=(game.Turn(("d",), lambda nets, batch, key: (nets.d(batch["x"]).mean() ** 2, {})),),
        show=lambda nets, batch, key: {"samples": batch["image"]},
        abilities=(
            Sampler(uniform(16, -(3**0.5), 3**0.5), generate),
            DiscriminatorScores(scores, log_odds),
        ),
    )


def look(toy, data=None):
    states = init(toy, jax.random.key(0))
    found = health.make_look(toy, data or Held(), jax.random.key(1))(states)
    return {name: float(x) for name, x in found.items()}


def test_measures():
    found = look(system())
    assert set(found) == {
        *("d/weight_norm", "d/gradient_norm", "health/diversity"),
        *("health/accuracy", "health/overfitting", "health/saturation"),
    }
    assert found["health/diversity"] == pytest.approx(1, abs=0.03)  # both are uniform
    assert found["health/accuracy"] == pytest.approx(1, abs=1e-4)
    assert found["health/overfitting"] > 0.95  # the held-out ones are darker
    assert found["health/saturation"] > 0.99
    params = init(system(), jax.random.key(0))["d"].params
    squares = sum(float((x**2).sum()) for x in jax.tree.leaves(params))
    assert found["d/weight_norm"] == pytest.approx(squares**0.5, rel=1e-5)

    found = look(system(spread=0.1, scale=1e-3), Points(images=True))
    assert found["health/diversity"] == pytest.approx(0.1, abs=0.003)
    assert found["health/saturation"] < 0.01
    assert "health/overfitting" not in found  # nothing is held out
    assert "health/saturation" not in look(system(log_odds=False))


def test_a_system_without_a_sampler_has_norms():
    norms = {f"{player}/{what}_norm" for player in "gd" for what in ("weight", "gradient")}
    assert set(look(gan(optax.sgd(0.1)), Points())) == norms


def test_warnings_come_once_until_the_measure_is_back():
    watch = health.Watch()
    say = lambda x: list(watch({"health/diversity": x, "other": 0.0}))
    assert [say(x) for x in (0.9, 0.1, 0.9, 0.1)] == [[]] * 4
    (line,) = say(0.12)
    assert line == (
        "samples are collapsing: they differ from each other by 12% of what real images do"
    )
    assert [say(x) for x in (0.1, 0.1, 0.5, 0.1)] == [[]] * 4
    assert len(say(0.1)) == 1


def test_samples_may_be_alike_at_first():
    watch = health.Watch()
    said = [list(watch({"health/diversity": 0.1})) for _ in range(40)]
    assert [i for i, lines in enumerate(said, 1) if lines] == [health.AT_FIRST]


def test_every_band_speaks_plainly():
    bad = {
        "health/diversity": 0.01,
        "health/overfitting": 0.9,
        "health/saturation": 1.0,
        "generator/gradient_norm": 1e-12,
        "g+f/gradient_norm_f": 1e9,
    }
    watch = health.Watch()
    assert not list(watch({name: 0.5 for name in bad}))
    assert not list(watch(bad))
    lines = list(watch(bad))
    assert len(lines) == len(bad)
    assert all(len(line) < 250 for line in lines)
    assert any("the gradient of the generator is 1.0e-12" in line for line in lines)


def test_gradient_norms_are_those_of_the_losses():
    """Those of a lazy turn and of several learners too; in a critic that is linear, by hand."""

    def loss(nets, batch, key):
        return nets.d(batch["x"]).mean() + nets.g(batch["x"]).sum() * 0, {}

    turns = (game.Turn(("d",), loss), game.Turn(("g", "d"), loss, every=16, name="lazy"))
    linear = game.Player(Dense(1), [(1, 2)], optax.sgd(0.1))
    players = {"d": linear, "g": linear}
    found = look(game.System(players, turns, show), Points())
    few = Points().examples(health.FEW)["x"].mean(axis=0)
    want = (1 + (few**2).sum()) ** 0.5  # of the bias, and of the kernel
    assert found["d/gradient_norm"] == pytest.approx(want, rel=1e-5)
    assert found["lazy/gradient_norm_d"] == pytest.approx(want, rel=1e-5)
    assert found["lazy/gradient_norm_g"] == 0


def test_with_a_memory_there_are_no_gradient_norms():
    toy = system()
    states = init(toy, jax.random.key(0))
    states["d"] = states["d"].replace(collections={"memory": {"x": jnp.zeros((4, 2))}})
    found = health.make_look(toy, Held(), jax.random.key(1))(states)
    assert not any("gradient" in name for name in found)
    assert {"d/weight_norm", "health/accuracy", "health/diversity"} <= set(found)


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def train(folder, toy, rounds=8, **options):
    options = {"batch_size": 8, "log_every": 2, "sample_every": 8, "save_every": 4, **options}
    with Run(folder, {}, {}) as run:
        return fit(toy, Held(), rounds, run=run, mesh=mesh(2), **options)


def test_health_is_logged_and_told_and_touches_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(health, "REST", 32)  # so a look every 4 rounds
    monkeypatch.setattr(health, "AT_FIRST", 2)
    with_looks = train(tmp_path / "a", system(spread=0.01))
    told = capfd.readouterr().err
    assert "round 8: samples are collapsing: they differ from each other by 1% of what" in told
    looked = [r["round"] for r in records(tmp_path / "a") if "health/diversity" in r]
    assert looked == [4, 8]
    monkeypatch.setattr(health, "make_look", lambda *a: lambda states: {})
    without = train(tmp_path / "b", system(spread=0.01))
    for a, b in zip(jax.tree.leaves(with_looks), jax.tree.leaves(without), strict=True):
        np.testing.assert_array_equal(a, b)
    losses = [[r["d/loss"] for r in records(tmp_path / x)] for x in "ab"]
    assert losses[0] == losses[1]


def test_a_measure_that_is_not_finite_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(health, "REST", 32)
    nan = jnp.asarray(jnp.nan)
    monkeypatch.setattr(
        health, "make_look", lambda *a: lambda states: {"health/x": nan, "health/y": nan + 1}
    )
    train(tmp_path, system())
    assert not any("health" in name for r in records(tmp_path) for name in r)


def test_a_short_run_takes_no_look(tmp_path):
    data = Held()
    data.held_out = None  # not to be called
    with Run(tmp_path, {}, {}) as run:
        fit(system(), data, 4, run=run, mesh=mesh(2), batch_size=8, log_every=1)
    assert not any("_norm" in name for r in records(tmp_path) for name in r)


def test_scores_join_the_metrics_of_their_round(tmp_path):
    seen = []

    def evaluate(states, round):
        seen.append((round, sorted(states)))
        return {"score/fid": 2.0 * round}

    scored = train(tmp_path / "a", system(), evaluate=evaluate, evaluate_every=3)
    assert seen == [(round, ["d"]) for round in (3, 6, 8)]
    found = {r["round"]: r["score/fid"] for r in records(tmp_path / "a") if "score/fid" in r}
    assert found == {3: 6.0, 6: 12.0, 8: 16.0}
    plain = train(tmp_path / "b", system(), evaluate=evaluate, evaluate_every=0)
    assert len(seen) == 3
    for a, b in zip(jax.tree.leaves(scored), jax.tree.leaves(plain), strict=True):
        np.testing.assert_array_equal(a, b)
