"""The main job, killed and resumed, on other devices and with several processes."""

import math
import os
import shlex
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxgen.runs.load import load as open_run
from tests.experiments.command import TINY, cluster, finish, kill_after, metrics, run, start


def saved(folder, round=40):
    """Every array of a checkpoint, by path."""
    states = open_run(folder, round=round).states
    return {name: jax.device_get(jax.tree.leaves(state)) for name, state in states.items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        for x, y in zip(a[name], b[name], strict=True):
            np.testing.assert_array_equal(x, y)


def assert_near(a, b):
    """The same losses within 1e-4, relative (1e-6 where they pass through zero)."""
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for name in x:
            assert math.isclose(x[name], y[name], rel_tol=1e-4, abs_tol=1e-6), (name, x, y)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "straight"
    run(*TINY, "--rounds", 40, "--workdir", folder, JAX_NUM_CPU_DEVICES=1)
    return folder


def test_killed_run_goes_on_exactly(straight, tmp_path):
    command = [*TINY, "--rounds", 40, "--workdir", tmp_path]
    kill_after(tmp_path, 20, [start(*command, JAX_NUM_CPU_DEVICES=1)])
    text = run(*command, JAX_NUM_CPU_DEVICES=1)
    assert "going on from round 20" in text
    assert metrics(tmp_path) == metrics(straight)
    assert_same(saved(tmp_path), saved(straight))
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize("devices", [2, 4])
def test_devices_do_not_matter(straight, tmp_path, devices):
    run(*TINY, "--rounds", 40, "--workdir", tmp_path, JAX_NUM_CPU_DEVICES=devices)
    assert_near(metrics(tmp_path), metrics(straight))


def test_two_processes(straight, tmp_path):
    command = [*TINY, "--rounds", 40, "--workdir"]
    finish(cluster(*command, tmp_path / "a"))
    assert_near(metrics(tmp_path / "a"), metrics(straight))
    kill_after(tmp_path / "b", 20, cluster(*command, tmp_path / "b"))
    finish(cluster(*command, tmp_path / "b"))
    assert metrics(tmp_path / "b") == metrics(tmp_path / "a")
    assert_same(saved(tmp_path / "b"), saved(tmp_path / "a"))


def test_a_terminal_that_is_closed(tmp_path):
    """SIGHUP saves and stops, without a stdout, into a log, and with 64 bits asked for."""
    words = [*TINY, "--rounds", "100000", "--workdir", str(tmp_path)]
    command = shlex.join([sys.executable, "-m", "jaxgen.experiments.wgan", *words])
    process = subprocess.Popen(
        ["sh", "-c", f"exec {command} >&-"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_ENABLE_X64": "1", "JAX_NUM_CPU_DEVICES": "1"},
    )
    try:
        lines = [next(line for line in process.stderr if line.startswith("compiled 1 round of "))]
        process.send_signal(signal.SIGHUP)
        lines += process.communicate(timeout=120)[1].splitlines()
    finally:
        process.kill()
    assert process.returncode == 129, lines
    assert not any("\r" in line for line in lines)
    assert lines[-1].startswith("wgan: saved at round ")
    assert f"the same command goes on from there: {sys.executable} -m jaxgen" in lines[-1]
    run = open_run(tmp_path)
    assert f"saved at round {run.round};" in lines[-1]
    kinds = {str(x.dtype) for x in jax.tree.leaves(run.states)}
    assert "float64" not in kinds
