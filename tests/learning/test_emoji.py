"""The quick recipes on emoji to their end: far from round 0, and from a Gaussian; run with
-m learning."""

import importlib
import json

import pytest

from jaxgen.commands.evaluate import evaluate
from jaxgen.commands.launch import train
from tests.gaussian import write

pytestmark = pytest.mark.learning
STAGES = {"first_rounds": 1, "stage_rounds": 1, "fade_rounds": 1}
SAMPLES = 5000


def fid(path, *of, **flags):
    print(evaluate(*of, metrics=("fid",), out=path, **flags))
    return json.loads(path.read_text().splitlines()[-1])["value"]


@pytest.mark.parametrize(("experiment", "start"), [("progan", STAGES), ("stylegan2", {})])
def test_fid_falls_and_beats_a_gaussian(experiment, start, tmp_path):
    """SqueezeNet's features: threefold from the first round, and below the fit of the pixels."""
    name = f"jaxgen.experiments.{experiment}"
    module = importlib.import_module(name)
    train(name, module.system, module.Args(workdir=tmp_path / "first", rounds=1, **start))
    train(name, module.system, module.Args(workdir=tmp_path / "last"))
    first, last = (
        fid(tmp_path / f"{run}.jsonl", tmp_path / run, samples=SAMPLES) for run in ("first", "last")
    )
    folder = write("emoji", tmp_path / "gaussian", n=SAMPLES)
    alone = fid(tmp_path / "fit.jsonl", images=folder, reference="emoji", size=64, samples=SAMPLES)
    assert last < first / 3
    assert last < alone
