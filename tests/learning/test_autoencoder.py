"""The deep autoencoder beside principal components and no pre-training; run with -m learning."""

import dataclasses

import numpy as np
import pytest

from jaxgen.commands.launch import train
from jaxgen.experiments.autoencoder import Args, system
from jaxgen.metrics.probe import nearest_neighbours

pytestmark = pytest.mark.learning
NAME = "jaxgen.experiments.autoencoder"


@pytest.fixture(scope="module")
def digits():
    """Training and held-out digits, and the directions of all principal components."""
    train, test = (Args().load_data(split) for split in ("train", "test"))
    pixels = [
        np.float64(x.take(range(len(x)))["image"]).reshape(len(x), -1) / 255 for x in (train, test)
    ]
    mean = pixels[0].mean(axis=0)
    _, _, axes = np.linalg.svd(pixels[0] - mean, full_matrices=False)
    labels = [x.take(range(len(x)))["label"] for x in (train, test)]
    return [x - mean for x in pixels], axes.T, labels


def error(run):
    return run.evaluate("reconstruction-squared")["reconstruction-squared"]


def test_the_recipe_beats_thirty_principal_components(digits, tmp_path):
    (_, held), axes, _ = digits
    lost = (held**2).sum(axis=1) - ((held @ axes[:, :30]) ** 2).sum(axis=1)
    assert lost.mean() == pytest.approx(14.2, abs=0.1)
    assert error(train(NAME, system, Args(workdir=tmp_path))) <= 10


def test_pretraining_beats_none_at_equal_updates(tmp_path):
    """A deep net of logistic units, at a size that trains in half a minute: without, it gives
    back little more than the mean image."""
    small = Args(
        size=14,
        units=(100, 50, 25),
        latent=8,
        rounds=800,
        machine_rounds=1,
        tune_rounds=4,
        rounds_per_call=100,
    )
    runs = {
        pre: train(
            NAME, system, dataclasses.replace(small, pretraining=pre, workdir=tmp_path / f"{pre}")
        )
        for pre in (True, False)
    }
    pixels = [
        np.float64(x.take(range(len(x)))["image"]) / 255
        for x in map(small.load_data, ("train", "test"))
    ]
    mean = ((pixels[1] - pixels[0].mean(axis=0)) ** 2).sum(axis=(1, 2, 3)).mean()
    assert error(runs[True]) < 0.65 * mean
    assert error(runs[False]) > 0.85 * mean


def test_two_numbers_separate_classes_better_than_two_components(digits, tmp_path):
    pixels, axes, labels = digits
    known, codes = (x @ axes[:, :2] for x in pixels)
    components = np.mean(nearest_neighbours(known, labels[0], codes) == labels[1])
    run = train(NAME, system, Args(latent=2, workdir=tmp_path))
    assert run.evaluate("knn")["knn"] > components + 0.2
    assert (tmp_path / "codes.png").is_file()
