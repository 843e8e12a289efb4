"""A researcher's own GAN, docs/own_gan.py, run as its user runs it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import load_file

import jaxgen as jg
from jaxgen.train.checkpoints import saved_rounds

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "docs" / "own_gan.py"
RUN = "runs/own_gan"
CLOCK = {"seconds", "images_per_second", "data_wait"}


def start(folder):
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, SCRIPT],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder):
    process = start(folder)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return said.splitlines(), errors.splitlines()


def metrics(folder):
    lines = (folder / RUN / "metrics.jsonl").read_text().splitlines()
    return [{k: x for k, x in json.loads(line).items() if k not in CLOCK} for line in lines]


def test_it_is_short():
    lines = SCRIPT.read_text().splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


def test_it_trains_goes_on_after_a_kill_samples_scores_and_exports(tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    said, _ = finish(whole)
    assert said[-1].startswith("(16, 16, 16, 1) {'swd': ")

    process = start(broken)
    while process.poll() is None and not saved_rounds(broken / RUN / "checkpoints"):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -9
    assert max(saved_rounds(broken / RUN / "checkpoints")) < 1000

    again, told = finish(broken)
    assert any(line.startswith("going on from round") for line in told)
    assert again[-1] == said[-1]
    assert metrics(broken) == metrics(whole)
    for exported in (load_file(folder / "generator.safetensors") for folder in (whole, broken)):
        assert exported["generator/params/layers_2/kernel"].shape == (256, 16, 16, 1)

    monkeypatch.syspath_prepend(SCRIPT.parent)
    from own_gan import system

    runs = [jg.load(folder / RUN, system) for folder in (whole, broken)]
    assert [run.round for run in runs] == [1000, 1000]
    jax.tree.map(np.testing.assert_array_equal, *(run.states for run in runs))
