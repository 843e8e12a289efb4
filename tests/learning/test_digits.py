"""The quick recipes to their end: digits that a classifier reads; run with -m learning."""

import importlib

import pytest

from jaxgen.commands.launch import train
from tests.digits import score_run

pytestmark = pytest.mark.learning


@pytest.mark.parametrize(
    ("experiment", "confidence"), [("wgan", 0.78), ("wgan_gp", 0.84), ("dcgan", 0.84), ("gan", 0.7)]
)
def test_quick_recipe_makes_digits(experiment, confidence, tmp_path):
    name = f"jaxgen.experiments.{experiment}"
    module = importlib.import_module(name)
    train(name, module.system, module.Args(workdir=tmp_path))
    found = score_run(tmp_path)
    assert found.classes >= 9, found
    assert found.confidence >= confidence, found
