"""The quick recipes of exact likelihoods to their end; run with -m learning."""

import importlib

import pytest

from jaxgen.commands.launch import train

pytestmark = pytest.mark.learning


@pytest.mark.parametrize(
    ("experiment", "nats"),
    [("pixelcnn", -98.0), ("realnvp", -1.77 * 784 * 0.6931)],  # pixel histograms: 1.77 bits
)
def test_held_out_digits_are_likelier_than_by_the_baseline(experiment, nats, tmp_path):
    name = f"jaxgen.experiments.{experiment}"
    module = importlib.import_module(name)
    trained = train(name, module.system, module.Args(workdir=tmp_path))
    found = trained.evaluate("log_prob")["log_prob"]
    print(f"{experiment}: {found:.1f} nats")
    assert found > nats
