"""BigGAN's quick recipes to their end, and what truncation trades; run with -m learning."""

from pathlib import Path

import numpy as np
import pytest

from jaxgen.commands.arguments import parse
from jaxgen.commands.launch import train
from jaxgen.evaluate.run import evaluate
from jaxgen.experiments.biggan import Args, system
from jaxgen.runs.load import load

pytestmark = pytest.mark.learning
RECIPE = Path(__file__).parents[2] / "experiments/biggan/digits.toml"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("biggan")
    train("jaxgen.experiments.biggan", system, Args(workdir=folder))
    return load(folder)


def test_samples_are_read_as_their_class(run):
    (record,) = evaluate(run, ("class-agreement",), samples=2000)
    print(record)
    assert record["value"] >= 0.85


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder, name = tmp_path_factory.mktemp("digits"), "jaxgen.experiments.biggan"
    words = ["--recipe", str(RECIPE), "--workdir", str(folder)]
    train(name, system, parse(Args, name, words))
    return load(folder)


def test_truncation_trades_variety_for_quality(digits):
    """The classifier's score rises, recall falls, the smaller the latents."""
    names = ("classifier-score", "recall")
    found = []
    for truncation in (2.0, 1.5, 1.0, 0.5):
        records = evaluate(digits, names, samples=2000, truncation=truncation)
        found.append([record["value"] for record in records])
    print(found)
    score, recall = np.array(found).T
    assert (np.diff(score) > 0).all()
    assert (np.diff(recall) < 0).all()
