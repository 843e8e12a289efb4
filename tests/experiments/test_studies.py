"""The studies of points: their estimators on what is known, and two rounds of each."""

import json
import math
import re
import subprocess
import sys
import time

import jax
import numpy as np
import optax
import pytest

from jaxgen.commands import study
from jaxgen.commands.arguments import parse
from jaxgen.data import toy
from jaxgen.errors import UserError
from jaxgen.experiments import codes, equilibrium, gan_augmentation, parallel_lines, vae_vs_gan
from jaxgen.losses import adversarial
from jaxgen.losses.divergences import minimax_value
from jaxgen.metrics.modes import coverage, jensen_shannon_of
from jaxgen.systems.gan import parallel_lines as lines
from jaxgen.train.fit import fit
from jaxgen.train.nets import bind, local

THETAS = (-0.8, -0.4, 0.0, 0.4, 0.8)


def trained(pair, penalty=0.0):
    """The estimates and slopes of critics after a short training."""
    system = lines.parallel_lines(THETAS, pair, optax.adam(3e-3, 0.5, 0.9), penalty, width=32)
    data = toy.Endless(lines.data)
    states = fit(system, data, 600, batch_size=32, rounds_per_call=200)
    nets = bind(local(states), jax.random.key(0))
    return [np.asarray(x) for x in lines.value(pair, nets)]


def test_a_discriminator_says_log_2_of_every_line_but_its_own():
    value, slope = trained(adversarial.minimax)
    js = (value + math.log(4)) / 2
    assert (js <= math.log(2)).all()
    np.testing.assert_allclose(js, [math.log(2)] * 2 + [0] + [math.log(2)] * 2, atol=0.01)
    np.testing.assert_allclose(slope[[0, 1, 3, 4]], 0, atol=0.05)


def test_a_penalised_critic_says_how_far_the_line_is():
    value, slope = trained(adversarial.wasserstein, penalty=10.0)
    away = np.abs(THETAS)
    np.testing.assert_allclose(value, away, atol=0.08)
    assert value[0] > value[1] > value[2]
    assert value[4] > value[3] > value[2]
    np.testing.assert_allclose(slope[[0, 1, 3, 4]], [-1, -1, 1, 1], atol=0.15)


def test_coverage_by_hand():
    modes = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    samples = np.array([[0, 0.29]] * 98 + [[1, 0.31]] + [[0.9, 1.1]] + [[1, 0]], np.float32)
    assert coverage(samples, modes, std=0.1, least=0.02) == (1, 99 / 101)
    assert coverage(samples, modes, std=0.1, least=0.009) == (2, 99 / 101)
    assert coverage(samples, modes, std=0.01) == (0, 1 / 101)


def test_data_cover_their_own_modes():
    points = np.asarray(toy.ring(jax.random.key(3), 4000))
    covered, high_quality = coverage(points, toy.RING_MODES, toy.RING_STD)
    assert covered == 8
    assert high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.006)  # of a Gaussian, in a disc


@pytest.mark.parametrize(("k", "n"), [(1, 8), (3, 8), (8, 8), (24, 25)])
def test_value_of_lost_modes(k, n):
    p, q = np.full(n, 1 / n), np.where(np.arange(n) < k, 1 / k, 0)
    d = p / (p + q)
    value = (p * np.log(d)).sum() + (q[:k] * np.log(1 - d[:k])).sum()
    assert float(minimax_value(jax.numpy.asarray(jensen_shannon_of(k, n)))) == pytest.approx(
        value, abs=1e-6
    )


@pytest.mark.parametrize(
    ("module", "flags", "runs"),
    [
        (parallel_lines, ["--thetas", "3"], ["0-minimax", "1-wgan-gp", "2-clipped"]),
        (equilibrium, [], ["0-minimax", "1-wgan-gp"]),
    ],
)
def test_two_rounds(module, flags, runs, tmp_path, capsys, monkeypatch):
    games = equilibrium.games  # two of its four, to save time
    two = lambda args: {k: v for k, v in games(args).items() if k in ("minimax", "wgan-gp")}
    monkeypatch.setattr(equilibrium, "games", two)
    name, small = module.__name__, ["--rounds", "2", "--batch-size", "8", "--width", "4"]
    args = parse(module.Args, name, [*small, *flags, "--workdir", str(tmp_path)])
    study.make(name, module.study, args)
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    for run in runs:
        assert len((tmp_path / run / "metrics.jsonl").read_text().splitlines()) == 1
        assert list((tmp_path / run / "samples").glob("*.png"))
    if module is equilibrium:
        assert [entry["round"] for entry in numbers["runs"]["minimax"]] == [2]
        return
    capsys.readouterr()
    study.make(name, module.study, args)  # all is trained: only measured and drawn again
    assert json.loads((tmp_path / "numbers.json").read_text()) == numbers
    assert "compiled" not in capsys.readouterr().err


def test_figure_without_modes(tmp_path):
    points = np.zeros((5, 2))
    entry = {"round": 1, "samples": points, "d_real": 0.6, "d_fake": 0.4, "value": -1.2}
    figure = equilibrium.draw(points, dict.fromkeys(equilibrium.TITLES, [entry] * 3), modes=0)
    figure.savefig(tmp_path / "figure.png")


@pytest.mark.parametrize(
    ("module", "words", "line"),
    [
        (parallel_lines, ["--thetas", "4"], "--thetas is an odd number, not 4"),
        (parallel_lines, ["--penalty", "0"], "--penalty is more than 0, not 0"),
        (equilibrium, ["--data", "cube"], "--data is 'ring', 'grid' or 'swiss-roll', not 'cube'"),
        (codes, ["--latents", "2", "0"], "--latents are sizes of 1 or more, such as 2 8 32"),
        (equilibrium, ["--rounds", "0"], "--rounds is at least 1, not 0"),
        (equilibrium, ["--seed", "-1"], "--seed is from 0 to 2147483647, not -1"),
    ],
)
def test_wrong_flags(module, words, line):
    with pytest.raises(UserError, match=f"^{re.escape(line)}"):
        parse(module.Args, module.__name__, words)


@pytest.mark.parametrize(
    "module", [parallel_lines, equilibrium, codes, vae_vs_gan, gan_augmentation]
)
def test_command_line(module):
    command = [sys.executable, "-m", module.__name__]
    start = time.monotonic()
    said = subprocess.run([*command, "--help"], check=True, capture_output=True, text=True).stdout
    assert time.monotonic() - start < 3
    assert "arxiv.org" in said
    wrong = subprocess.run([*command, "--round", "3"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    assert "did you mean --rounds?" in wrong.stderr
