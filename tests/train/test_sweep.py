"""Values of a number side by side in one program: each copy is the run of its value."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgen as jg
from jaxgen.commands.arguments import parse
from jaxgen.errors import UserError
from jaxgen.evaluate import scores
from jaxgen.experiments import wgan_gp
from jaxgen.systems.likelihood.ebm import ebm
from jaxgen.train import devices, game, optim
from jaxgen.train.abilities import Sampler
from jaxgen.train.checkpoints import DIGESTS
from jaxgen.train.run import Run
from jaxgen.train.stages import Stage
from tests.experiments import command
from tests.quick import quick_to_compile  # noqa: F401
from tests.train import toy

OPTIONS = {"batch_size": 8, "log_every": 1, "rounds_per_call": 2}
RATES = [0.01, 0.1]


def make(lr):
    """With averaged weights and a turn of two minibatches; the number is a rate, and a weight."""
    loss = lambda nets, batch, key: (lr * toy.real_loss(nets, batch, key)[0], {"rate": lr + 0.0})
    turns = game.Turn(("d",), loss, times=2), game.Turn(("g",), toy.fake_loss)
    return toy.gan(optax.adam(lr), turns=turns, ema=0.9)


def play(system, rounds=4, **options):
    options = {**OPTIONS, "mesh": toy.mesh(1), **options}
    return jg.fit(system, toy.Points(), rounds, **options)


def close(one, other, atol=1e-6):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=atol)


@pytest.mark.parametrize(("n", "apart"), [(1, 1), (4, 1), (4, 2)])
def test_each_copy_is_the_run_of_its_value(n, apart):
    """Also where the copies lie on devices of their own."""
    records, where = [], devices.make_mesh(jax.devices()[:n], apart)
    together = play(make, mesh=where, seed=3, sweep={"lr": RATES}, log=records.append)
    alone = [play(make(lr), seed=3) for lr in RATES]
    assert len(together.copies) == 2
    for mine, one in zip(together.copies, alone, strict=True):
        close(mine, one.states)
    assert not np.allclose(*(jax.tree.leaves(x["g"].params)[0] for x in together.copies))
    last = records[-1]
    assert [last[f"d/rate lr={lr:g}"] for lr in RATES] == pytest.approx(RATES)
    assert "d/loss" not in last


def test_a_run_goes_on_and_is_opened(tmp_path):
    whole = play(make, 4, run=tmp_path / "a", sweep={"lr": RATES}, save_every=2)
    play(make, 2, run=tmp_path / "b", sweep={"lr": RATES}, save_every=2)
    again = play(make, 4, run=tmp_path / "b", sweep={"lr": RATES}, save_every=2)
    apart = {"mesh": devices.make_mesh(jax.devices()[:2], 2), "run": tmp_path / "c"}
    play(make, 2, **apart, sweep={"lr": RATES}, save_every=2)
    moved = play(make, 4, run=tmp_path / "c", sweep={"lr": RATES}, save_every=2)
    close(moved.copies, whole.copies)
    for a, b in zip(jax.tree.leaves(whole.copies), jax.tree.leaves(again.copies), strict=True):
        np.testing.assert_array_equal(a, b)
    opened = jg.load(tmp_path / "b", make(RATES[1]), copy=1)
    close(opened.states, whole.copies[1], 0)
    assert json.loads((tmp_path / "b/args.json").read_text())["sweep"] == "lr=0.01,0.1"
    with pytest.raises(UserError, match="copy is from 0 to 1"):
        jg.load(tmp_path / "b", make(0.01), copy=2)
    with pytest.raises(UserError, match="other arguments: sweep was"):
        play(make, 6, run=tmp_path / "b", sweep={"lr": [0.01, 0.2]})


def test_a_sweep_may_be_written_otherwise(tmp_path):
    for text in ("lr=1e-3,2e-3", "lr=0.001, 0.0020"):
        with Run(tmp_path, {"sweep": text}, {}):
            (tmp_path / "checkpoints").mkdir(exist_ok=True)
            (tmp_path / "checkpoints" / DIGESTS).touch()
            assert json.loads((tmp_path / "args.json").read_text())["sweep"] == "lr=0.001,0.002"
    (tmp_path / "args.json").write_text('{"sweep": "lr=1e-3,2e-3"}')  # as earlier versions did
    with Run(tmp_path, {"sweep": "lr=0.001,0.002"}, {}):
        pass
    with pytest.raises(UserError, match="other arguments: sweep was"):
        Run(tmp_path, {"sweep": "lr=0.001,0.003"}, {}).__enter__()


def test_stages():
    def stages(lr):
        return [Stage(name, make(lr), 2) for name in ("one", "two")]

    together = play(stages, sweep={"lr": RATES})
    alone = [play(stages(lr)) for lr in RATES]
    for mine, one in zip(together.copies, alone, strict=True):
        close(mine, one.states)


def test_a_start_that_depends_on_the_number():
    """Weights that begin with the number itself."""

    class Number(toy.nn.Module):
        start: float

        @toy.nn.compact
        def __call__(self, x):
            return x * self.param("scale", lambda _: jnp.float32(self.start))

    def build(start):
        loss = lambda nets, batch, key: ((nets.g(batch["x"]) ** 2).mean(), {})
        player = game.Player(Number(start), [(1, 2)], optax.sgd(0.1))
        return game.System({"g": player}, (game.Turn(("g",), loss),), toy.show)

    together = play(build, 1, sweep={"start": [1.0, 2.0]})
    scales = [float(x["g"].params["scale"]) for x in together.copies]
    assert scales == [float(play(build(x), 1).states["g"].params["scale"]) for x in (1.0, 2.0)]


def test_a_number_that_decides_how_a_system_is_built():
    def build(ema):
        return toy.gan(optax.sgd(0.1), ema=0.5 if ema > 0.3 else 0.25)

    with pytest.raises(UserError, match="ema decides how the system is built"):
        play(build, sweep={"ema": [0.2, 0.4]})


def test_a_number_that_decides_something_in_a_loss():
    def build(weight):
        loss = lambda nets, batch, key: (
            toy.real_loss(nets, batch, key) if weight else (nets.d(batch["x"]).mean(), {})
        )
        return toy.gan(optax.sgd(0.1), turns=(game.Turn(("d",), loss),))

    with pytest.raises(UserError, match="weight decides how the system is built"):
        play(build, sweep={"weight": [0.2, 0.4]})


def test_a_number_that_decides_what_is_kept():
    """Averages of weights with a decay of their own; without one there are none."""
    build = lambda ema: toy.gan(optax.sgd(0.1), ema=ema)
    together = play(build, sweep={"ema": [0.5, 0.9]})
    for mine, ema in zip(together.copies, [0.5, 0.9], strict=True):
        close(mine, play(build(ema)).states)
    assert play(build(0.0)).states["g"].ema is None
    with pytest.raises(UserError, match="ema=0 and ema=0.9 make different systems"):
        play(build, sweep={"ema": [0.0, 0.9]})


def test_a_number_that_decides_which_turns_there_are():
    def build(penalty):
        more = (game.Turn(("d",), toy.real_loss, name="penalty"),) * game.counts(penalty)
        return toy.gan(optax.sgd(0.1), turns=(game.Turn(("d",), toy.real_loss), *more))

    with pytest.raises(UserError, match="penalty=0 and penalty=1 make different systems"):
        play(build, sweep={"penalty": [0.0, 1.0]})


def test_0_among_the_values(traced_floats):
    """A value that leaves something out where it is 0, or a bound of which 0 is none."""
    images = np.random.default_rng(0).uniform(size=(4, 3, 3, 1)).astype(np.float32)
    energy = lambda x: 10 * (x**2).sum((1, 2, 3))

    def walk(largest):
        player = SimpleNamespace(params={}, still=lambda x, **_: energy(x))
        system = ebm(
            toy.nn.Dense(1), (3, 3, 1), optax.sgd(0.1), 4, steps=2, size=1.0, largest=largest
        )
        sampler = system.ability(Sampler)
        return sampler.generate(SimpleNamespace(energy=player), images, {}, jax.random.key(0))

    values = jnp.array([0.0, 0.1])
    for found, x in zip(jax.jit(jax.vmap(walk))(values), [0.0, 0.1], strict=True):
        np.testing.assert_allclose(found, walk(x), atol=1e-6)
    decay = lambda ramp_up: optim.half_life(1000, 10, ramp_up)(5)
    for found, x in zip(jax.jit(jax.vmap(decay))(values), [0.0, 0.1], strict=True):
        np.testing.assert_allclose(found, decay(x), rtol=1e-6)


def test_a_sweep_is_refused_before_anything_is_trained(tmp_path):
    """That of a later stage, too."""

    def stages(weight):
        bad = lambda nets, batch, key: (toy.real_loss if weight else None)(nets, batch, key)  # pyright: ignore
        late = toy.gan(optax.sgd(0.1), turns=(game.Turn(("d",), bad),))
        return [Stage("one", make(0.1), 2), Stage("two", late, 2)]

    with pytest.raises(UserError, match="weight decides how the system is built"):
        play(stages, sweep={"weight": [0.2, 0.4]}, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_plan_of_a_sweep_that_is_refused():
    words = ["--plan", "--size", "8", "--batch-size", "8", "--width", "2", "--data", "mnist5k"]
    words += ["--sweep", "ema=0,0.9"]
    text = command.run(*words, code=2, module="jaxgen.experiments.cgan")
    assert "ema=0 and ema=0.9 make different systems" in text


@pytest.mark.parametrize(
    "sweep", [{}, {"lr": 0.1}, {"lr": [0.1, 0.2], "b1": [0.1, 0.2]}, {"lr": [1e-4, 1.00000001e-4]}]
)
def test_what_is_no_sweep(sweep):
    with pytest.raises(UserError, match="a sweep (is one name|has two or more values)"):
        play(make, sweep=sweep)


def test_a_sweep_of_ones_own_is_opened_copy_by_copy(tmp_path):
    play(make, 2, run=tmp_path / "a", sweep={"lr": RATES})
    with pytest.raises(UserError, match="give copy=0, 1"):
        jg.load(tmp_path / "a", make(RATES[0]))


def test_a_sweep_of_one_value_and_of_seeds():
    with pytest.raises(UserError, match="two or more values of lr"):
        play(make, sweep={"lr": [0.1]})
    with pytest.raises(UserError, match="leave seeds out"):
        play(make, sweep={"lr": RATES}, seeds=2)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--sweep", "lr"], "--sweep is written as lr=1e-4,2e-4, not lr"),
        (["--sweep", "lr=a,b"], "--sweep is written as"),
        (["--sweep", "width=2,4"], "--sweep takes one of .*lr.*, not width"),
        (["--sweep", "lr=1e-4,-2"], "--lr is"),
        (["--sweep", "lr=1e-4,1.00000001e-4"], "two or more values of lr"),
        (["--sweep", "held-out=0,0.2"], "--sweep takes one of .*, not held_out"),
        (["--sweep", "lr=1e-4,2e-4", "--seeds", "2"], "add --seeds 1"),
    ],
)
def test_wrong_flags_are_one_line(words, line):
    with pytest.raises(UserError, match=line):
        parse(wgan_gp.Args, "jaxgen.experiments.wgan_gp", words)


def test_a_flag_that_only_the_copies_need():
    words = ["--sweep", "instance-noise=0.1,0.2", "--instance-noise-rounds", "9"]
    args = parse(wgan_gp.Args, "jaxgen.experiments.wgan_gp", words)
    assert [one.instance_noise for one in args.copies()] == [0.1, 0.2]
    with pytest.raises(UserError, match="--instance-noise-rounds goes with --instance-noise"):
        parse(wgan_gp.Args, "jaxgen.experiments.wgan_gp", words[2:])


def test_a_sweep_as_a_command(tmp_path):
    folder = tmp_path / "run"
    words = [*command.TINY, "--workdir", folder, "--rounds", "2", "--size", "16"]
    words += ["--evaluate-every", "2", "--evaluate-metrics", "swd", "--evaluate-samples", "20"]
    command.run(*words, "--sweep", "lr=1e-4,1e-2", "--data", "mnist5k")
    (in_training,) = scores.read(folder / "scores.jsonl")
    assert (in_training["copy"], in_training["sweep"]) == (0, "lr=0.0001")
    first, second = jg.load(folder).copies
    assert not np.allclose(*(jax.tree.leaves(x["generator"].params)[0] for x in (first, second)))
    one = jg.load(folder, copy=1)
    assert one.args.lr == 1e-2
    found = jg.load(folder).evaluate("swd", samples=20)
    assert list(found) == ["swd, lr=0.0001", "swd, lr=0.01"]
    assert len(set(found.values())) == 2
    text = command.run("evaluate", folder, "--metrics", "swd", "--samples", "20", module="jaxgen")
    assert "copy 0" in text
    assert "copy 1" in text
    text = command.run(
        *("evaluate", folder, "--metrics", "swd", "--samples", "20", "--copy", "1"), module="jaxgen"
    )
    assert "copy 1 (lr=0.01)" in text
    assert scores.read(folder / "scores.jsonl")[-1]["sweep"] == "lr=0.01"
    assert list(jg.load(folder, copy=1).evaluate("swd", samples=20)) == ["swd"]
    assert "lr=1e-4,1e-2" in (folder / "report.html").read_text()
