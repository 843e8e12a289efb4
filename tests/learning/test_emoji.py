"""The quick recipes on emoji to their end: far from round 0, and from a Gaussian; run with
-m learning."""

import importlib

import pytest

from jaxgen.commands.launch import train
from jaxgen.evaluate.folders import evaluate_folder
from tests.gaussian import write

pytestmark = pytest.mark.learning
STAGES = {"first_rounds": 1, "stage_rounds": 1, "last_rounds": 1, "fade_rounds": 1, "rounds": 5}
SAMPLES = 5000


@pytest.mark.parametrize(
    ("experiment", "start"), [("progan", STAGES), ("stylegan2", {"rounds": 1})]
)
def test_fid_falls_and_beats_a_gaussian(experiment, start, tmp_path):
    """SqueezeNet's features: threefold from the first round, and below the fit of the pixels."""
    name = f"jaxgen.experiments.{experiment}"
    module = importlib.import_module(name)
    runs = [
        train(name, module.system, module.Args(data="emoji", workdir=tmp_path / "first", **start)),
        train(name, module.system, module.Args(data="emoji", workdir=tmp_path / "last")),
    ]
    first, last = (run.evaluate("fid", samples=SAMPLES)["fid-squeezenet"] for run in runs)
    folder = write("emoji", tmp_path / "gaussian", n=SAMPLES)
    options = {"size": (64, 64), "samples": SAMPLES}
    alone = evaluate_folder(folder, "emoji", ("fid",), **options)[0]["value"]
    print(first, last, alone)
    assert last < first / 3
    assert last < alone
