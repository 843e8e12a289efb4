"""The loop: exact resume, signals, divergence, stages."""

import dataclasses
import io
import json
import os
import signal
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.errors import UserError
from jaxgen.train import game
from jaxgen.train.fit import SIGNALS, Diverged, Stopped, fit, iterate
from jaxgen.train.fit import _bar as progress_bar
from jaxgen.train.fit import _signals as signals
from jaxgen.train.fit import _Stop as Asked
from jaxgen.train.nets import init
from jaxgen.train.prefetch import schedule
from jaxgen.train.run import Run
from jaxgen.train.stages import Stage, fit_stages, inherit, share_out
from tests.train.toy import Dense, Points, gan, mesh, real_loss, show

OFTEN = {"batch_size": 8, "log_every": 2, "sample_every": 5, "save_every": 4}


def lines(folder):
    """The metrics without what the clock says."""
    timed = ("seconds", "images_per_second", "data_wait")
    text = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k not in timed} for x in text]


def train(folder, rounds, system=None, devices=4, **options):
    system = system or gan(optax.adam(0.01), ema=0.9)
    options = {**OFTEN, "mesh": mesh(devices), **options}
    with Run(folder, {}, {}) as run:
        return fit(system, options.pop("data", Points()), rounds, run=run, **options)


def leaves(states):
    return jax.device_get(jax.tree.leaves(states))


def assert_same(a, b):
    for x, y in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


class Killed(Exception):
    pass


class Dying(Points):
    """Data that fails after some minibatches, as a killed process would."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def batches(self, *args, **kwargs):
        inner = super().batches(*args, **kwargs)
        data = self

        class Batches:
            get_state, set_state = inner.get_state, inner.set_state
            close = inner.close

            def __next__(self):
                if inner.next >= data.after:
                    raise Killed
                return next(inner)

        return Batches()


@pytest.mark.parametrize("per_call", [1, 3])
def test_resume_is_exact(tmp_path, per_call):
    straight = train(tmp_path / "a", 12, rounds_per_call=per_call)
    with pytest.raises(Killed):  # in round 7; the checkpoint is that of round 4
        train(tmp_path / "b", 12, rounds_per_call=per_call, data=Dying(2 * 7))
    resumed = train(tmp_path / "b", 12, rounds_per_call=per_call)
    assert_same(straight, resumed)
    assert lines(tmp_path / "a") == lines(tmp_path / "b")
    assert [r["round"] for r in lines(tmp_path / "b")] == [2, 4, 6, 8, 10, 12]
    pictures = {p.name: p.read_bytes() for p in (tmp_path / "a/samples").iterdir()}
    assert pictures == {p.name: p.read_bytes() for p in (tmp_path / "b/samples").iterdir()}
    assert set(pictures) == {f"round_{r:08d}.png" for r in (5, 10, 12)}


def test_the_whole_data_as_one_minibatch():
    """Or as many examples as the devices can share evenly."""
    data, system = Points(10), gan(optax.sgd(0.1))
    for n, size in ((1, 10), (4, 8)):
        data.info = dataclasses.replace(Points.info, examples=10)
        [record] = iterate(system, data, 1, batch_size=0, mesh=mesh(n), log_every=1)
        assert record["images"] == len(system.turns) * size
    with pytest.raises(UserError, match="does not tell how many examples it has; give a batch"):
        fit(system, Points(10), 1, batch_size=0)


def test_a_finished_run_is_not_trained_again(tmp_path):
    straight = train(tmp_path, 4)
    assert_same(straight, train(tmp_path, 4, data=Dying(0)))
    assert len(lines(tmp_path)) == 2


def test_a_longer_run_goes_on(tmp_path):
    train(tmp_path / "a", 4)
    longer = train(tmp_path / "a", 8)
    assert_same(longer, train(tmp_path / "b", 8))


def test_a_checkpoint_of_four_devices_goes_on_with_one(tmp_path):
    straight = train(tmp_path / "a", 8)
    train(tmp_path / "b", 4, devices=4)
    fewer = train(tmp_path / "b", 8, devices=1)
    for x, y in zip(leaves(straight), leaves(fewer), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(tmp_path, number):
    before = signal.getsignal(number)

    class Slow(Points):
        def batches(self, *args, **kwargs):
            inner = super().batches(*args, **kwargs)

            class Batches:
                get_state, set_state = inner.get_state, inner.set_state
                close = inner.close

                def __next__(self):
                    if inner.next == 14:
                        os.kill(os.getpid(), number)
                    return next(inner)

            return Batches()

    with pytest.raises(Stopped, match="saved at round") as stopped:
        train(tmp_path / "a", 500, data=Slow())
    assert stopped.value.number == number
    assert signal.getsignal(number) is before
    saved = max(int(p.name) for p in (tmp_path / "a/checkpoints").iterdir() if p.name.isdigit())
    assert saved < 500
    assert_same(train(tmp_path / "a", saved + 6), train(tmp_path / "b", saved + 6))
    assert lines(tmp_path / "a") == lines(tmp_path / "b")


@pytest.mark.parametrize("name", SIGNALS)
def test_every_usual_signal_asks_to_stop(name, capsys):
    number, stop = getattr(signal, name), Asked()
    before = signal.getsignal(number)
    with signals(stop):
        os.kill(os.getpid(), number)
        assert stop.number == number
        if number == signal.SIGINT:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        else:  # a closed terminal may send two
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    assert capsys.readouterr().err.startswith("stopping after this round\n")


@pytest.mark.parametrize("theirs", [signal.SIG_IGN, lambda number, frame: None])
def test_signals_that_are_ignored_or_handled_stay_so(theirs):
    """nohup ignores SIGHUP."""
    stop, before = Asked(), signal.signal(signal.SIGHUP, theirs)
    try:
        with signals(stop):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is theirs
        assert stop.number == 0
    finally:
        signal.signal(signal.SIGHUP, before)


class Broken(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def test_a_reader_who_leaves_ends_a_training_that_is_saved(tmp_path, monkeypatch):
    def reads_two(record):
        if record["round"] > 4:
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(Stopped, match="saved at round") as stopped:  # of stdout, by log=print
        train(tmp_path, 500, log=reads_two)
    assert stopped.value.number == signal.SIGPIPE
    saved = max(int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit())
    assert 6 <= saved < 12
    monkeypatch.setattr(sys, "stderr", Broken())
    with pytest.raises(Stopped, match=f"saved at round {saved + 1}"):
        train(tmp_path, 500)


def test_the_bar_counts_steps_of_rounds_that_differ(monkeypatch, capsys):
    turns = (game.Turn(("d",), real_loss, times=lambda r: 5 if r < 2 else 1),)
    system = gan(optax.sgd(0.1), turns=turns)
    bar = progress_bar(system, 1, 10, True)
    assert (bar.n, bar.total) == (5, 2 * 5 + 8)
    bar.close()
    monkeypatch.setattr("jaxgen.train.fit.COUNTED", 4)
    bar = progress_bar(system, 6, 10, True)
    assert bar.total - bar.n == 4
    bar.close()


def test_signals_are_left_alone_outside_the_main_thread(tmp_path):
    failures = []

    def work():
        try:
            train(tmp_path, 2)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failures


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_divergence_names_round_player_and_checkpoint(tmp_path, value):
    def explodes(nets, batch, key):
        bad = (nets.d.step >= 6) & (nets.d.step < 7)
        loss, metrics = real_loss(nets, batch, key)
        return jnp.where(bad, value, loss), metrics

    system = gan(optax.sgd(0.01), turns=(game.Turn(("d",), explodes),))
    want = (
        rf"round 7: loss of d is {value}; the last good checkpoint is that of round 4; train anew "
        "with a lower learning rate$"
    )
    with pytest.raises(Diverged, match=want):
        train(tmp_path, 40, system)
    assert [r["round"] for r in lines(tmp_path)] == [2, 4, 6]


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """The loss is still finite in the round whose step spoils the weights."""
    rate = lambda step: jnp.where(step == 3, jnp.inf, 0.01)
    system = gan(optax.sgd(rate), turns=(game.Turn(("d",), real_loss),))
    with pytest.raises(Diverged, match="round 4: the weights of d are not finite"):
        train(tmp_path, 4, system, sample_every=100)
    assert not [p for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()]


def test_logs_hold_the_latest_value_of_a_lazy_turn(tmp_path):
    turns = (
        game.Turn(("d",), real_loss),
        game.Turn(("d",), real_loss, every=3, name="lazy"),
    )
    train(tmp_path, 8, gan(optax.sgd(0.01), turns=turns))
    records = lines(tmp_path)
    assert all("lazy/loss" in r for r in records)
    assert records[2]["lazy/loss"] == records[1]["lazy/loss"]  # rounds 6 and 4: played in 3
    assert records[3]["lazy/loss"] != records[2]["lazy/loss"]  # played in round index 6
    assert [r["images"] for r in records] == [24, 48, 64, 88]


def test_schedule_ends_calls_where_they_ended_before():
    system = gan(optax.sgd(0.1), turns=(game.Turn(("d",), real_loss, times=lambda r: 1 + (r < 2)),))
    calls = [(c.first, c.rounds, c.plan) for c in schedule(system, 0, 20, 8, (5, 1000))]
    assert calls == [
        *[(0, 2, (2,)), (2, 3, (1,)), (5, 3, (1,))],
        *[(8, 2, (1,)), (10, 5, (1,)), (15, 1, (1,)), (16, 4, (1,))],
    ]
    again = [(c.first, c.rounds, c.plan) for c in schedule(system, 10, 20, 8, (5, 1000))]
    assert again == calls[4:]


def test_stages_inherit_by_name_and_shape(tmp_path):
    def stage(name, hidden, rounds=4):
        system = gan(optax.adam(0.01))
        players = {**system.players}
        players["d"] = game.Player(Dense(1, hidden), [(1, 2)], optax.adam(0.01), ema=0.5)
        return Stage(name, game.System(players, system.turns, show), rounds)

    options = {"batch_size": 8, "mesh": mesh(2), "log_every": 2, "sample_every": 4, "save_every": 4}
    with Run(tmp_path, {}, {}) as run:
        states = fit_stages([stage("small", 8), stage("large", 16)], Points(), run=run, **options)
    assert states["g"].step == 4  # optimizers start anew
    assert (tmp_path / "0-small/checkpoints/4").is_dir()
    assert (tmp_path / "1-large/metrics.jsonl").is_file()
    with Run(tmp_path, {}, {}) as run:  # all done: nothing is trained again
        again = fit_stages([stage("small", 8), stage("large", 16)], Points(), run=run, **options)
    assert_same(states, again)


def test_inherit_keeps_what_fits():
    small = init(gan(optax.sgd(1.0)), jax.random.key(0))
    players = {"d": game.Player(Dense(1, 16), [(1, 2)], optax.sgd(1.0), ema=0.5)}
    players["g"] = gan(optax.sgd(1.0)).players["g"]
    large = game.System(players, gan(optax.sgd(1.0)).turns, show)
    fresh = init(large, jax.random.key(1))
    states = inherit(small, fresh)
    assert_same(states["g"].params, small["g"].params)
    one = lambda s, layer, leaf: s["d"].params[layer][leaf]
    assert_same(one(states, "Dense_1", "bias"), one(small, "Dense_1", "bias"))
    assert_same(one(states, "Dense_0", "kernel"), one(fresh, "Dense_0", "kernel"))
    assert set(inherit({}, fresh)) == {"g", "d"}


def test_a_newly_frozen_player_takes_the_averaged_weights():
    old = init(gan(optax.sgd(1.0), ema=0.5), jax.random.key(0))
    old["g"] = old["g"].replace(ema=jax.tree.map(lambda x: x + 1, old["g"].ema))
    fresh = init(gan(optax.sgd(1.0)), jax.random.key(1))
    assert_same(inherit(old, fresh)["g"].params, old["g"].params)
    assert_same(inherit(old, fresh, ["g"])["g"].params, old["g"].ema["params"])


def test_rounds_are_shared_out():
    assert share_out(9600, [1600] * 4 + [3200]) == [1600] * 4 + [3200]
    assert share_out(10, [1, 1, 1]) == [3, 4, 3]
    assert share_out(2, [8000, 4500]) == [1, 1]
    assert share_out(1, [1, 1]) == [1, 1]  # each stage plays


def test_published_weights_are_loaded_only_when_training_starts(tmp_path):
    loads = []

    def load():
        loads.append(1)
        return Dense(2, 8).init(jax.random.key(7), jnp.zeros((1, 2)))

    def system():
        players = dict(gan(optax.sgd(0.1)).players)
        players["g"] = game.Player(Dense(2, 8), [(1, 2)], variables=load)
        return game.System(players, (game.Turn(("d",), real_loss),), show)

    first = train(tmp_path, 4, system())
    assert len(loads) == 1
    assert_same(first["g"].params, load()["params"])
    again = train(tmp_path, 8, system())  # from its checkpoint
    assert len(loads) == 2
    assert_same(again["g"].params, first["g"].params)


def test_data_of_another_shape_than_the_players(tmp_path):
    data = Points()
    data.arrays["x"] = data.arrays["x"][:, :1]
    with pytest.raises(UserError, match="do not fit the players' inputs.*make the system for"):
        train(tmp_path, 2, data=data)


def test_records_can_be_iterated_and_a_break_saves(tmp_path):
    with Run(tmp_path, {}, {}) as run:
        options = {**OFTEN, "mesh": mesh(1), "run": run}
        seen = []
        for record in iterate(gan(optax.adam(0.01)), Points(), 20, log=seen.append, **options):
            if record["round"] == 6:
                break
    assert [r["round"] for r in seen[:3]] == [2, 4, 6]
    assert [r["round"] for r in lines(tmp_path)[:3]] == [2, 4, 6]
    assert max(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) >= 6
