"""What every system promises, at toy size: one row a system.

It builds, plays on 4 devices with finite metrics, moves the players that learn, shows, saves,
resumes bit for bit, does the same on one device, and can be used.
"""

import dataclasses
import importlib
import math
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxgen.commands.launch import train
from jaxgen.commands.restore import open_run
from jaxgen.train import devices, game
from tests.experiments.command import metrics

SMALL = {"size": 8, "width": 4, "batch_size": 8}
ROWS = {
    "gan": ("gan", {**SMALL, "width": 16, "units": 8, "steps": 2}),
    "gan-minimax": ("gan", {**SMALL, "width": 16, "units": 8, "loss": "minimax"}),
    "dcgan": ("dcgan", SMALL),
    "dcgan-paper": ("dcgan", {**SMALL, "variant": "paper", "channels": 3}),
    "wgan": ("wgan", {**SMALL, "critic_steps": 2, "critic_boost": 3}),
    "wgan-without-norm": (
        "wgan",
        {**SMALL, "critic_steps": 1, "critic_boost": 1, "net": "dcgan-without-norm"},
    ),
    "wgan-mlp": ("wgan", {**SMALL, "critic_steps": 1, "critic_boost": 1, "net": "mlp"}),
    "wgan_gp": ("wgan_gp", {**SMALL, "critic_steps": 2}),
    "wgan_gp-mnist": ("wgan_gp", {**SMALL, "size": 7, "critic_steps": 1, "net": "mnist"}),
    "wgan_gp-cifar": ("wgan_gp", {**SMALL, "critic_steps": 1, "net": "cifar-resnet"}),
    "wgan_gp-good": ("wgan_gp", {**SMALL, "critic_steps": 1, "net": "good-resnet"}),
}
OFTEN = {"log_every": 1, "show_every": 4, "save_every": 2}


@pytest.fixture
def on(monkeypatch):
    """Sets how many of the devices a run sees."""
    whole = devices.make_mesh

    def use(n):
        monkeypatch.setattr(devices, "make_mesh", lambda d=None: whole(d or jax.devices()[:n]))

    return use


def play(experiment, workdir, rounds, **flags):
    name = f"jaxgen.experiments.{experiment}"
    module = importlib.import_module(name)
    args = module.Args(**{**OFTEN, **flags, "workdir": workdir, "rounds": rounds})
    train(name, module.system, args)
    return module


@pytest.mark.parametrize("row", ROWS)
def test_contract(row, on, tmp_path, capsys):
    experiment, flags = ROWS[row]
    on(4)
    play(experiment, tmp_path / "a", 4, **flags)
    lines = metrics(tmp_path / "a")
    assert [line["round"] for line in lines] == [1, 2, 3, 4]
    assert all(math.isfinite(x) for line in lines for x in line.values())
    (picture,) = (tmp_path / "a/samples").iterdir()
    assert picture.name == "round_00000004.png"
    assert (tmp_path / "a/report.html").is_file()

    trained, before = open_run(tmp_path / "a"), open_run(tmp_path / "a", round=2)
    assert (before.round, trained.round) == (2, 4)
    learners = {name for turn in trained.system.turns for name in turn.learners}
    for name, state in trained.states.items():
        pairs = zip(jax.tree.leaves(state.params), jax.tree.leaves(before.states[name].params))
        moved = [not np.array_equal(a, b) for a, b in pairs]
        assert sum(moved) > 0.7 * len(moved) if name in learners else not any(moved)

    use = trained.system.use
    nets = game.look(trained.system, trained.states, jax.random.key(0))
    images = use.generate(nets, use.latent(jax.random.key(1), 5))
    assert images.shape == (5, *_shape(trained.args))
    assert np.isfinite(images).all()

    # Exact resume: as if killed after the checkpoint of round 2.
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "b/checkpoints/4")
    play(experiment, tmp_path / "b", 4, **flags)
    assert "going on from round 2" in capsys.readouterr().out
    assert metrics(tmp_path / "b") == lines
    again = open_run(tmp_path / "b").states
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(trained.states), strict=True):
        np.testing.assert_array_equal(a, b)

    # One device is four devices.
    on(1)
    play(experiment, tmp_path / "c", 4, **flags)
    for four, one in zip(lines, metrics(tmp_path / "c"), strict=True):
        for name in four:
            near = math.isclose(four[name], one[name], rel_tol=1e-4, abs_tol=1e-6)
            assert near, (name, four, one)


def _shape(args):
    return (args.size, args.size, args.channels)


def test_every_experiment_of_a_system_has_a_row():
    import jaxgen.experiments

    studies = {"parallel_lines", "equilibrium"}
    (folder,) = jaxgen.experiments.__path__
    names = {p.stem for p in Path(folder).glob("*.py")} - {"__init__"} - studies
    assert names == {experiment for experiment, _ in ROWS.values()}
    assert dataclasses.is_dataclass(importlib.import_module("jaxgen.experiments.wgan").Args)
