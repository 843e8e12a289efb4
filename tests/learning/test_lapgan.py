"""LAPGAN's quick recipe to its end: each level adds to what the one before has; run with -m
learning."""

import pytest

from jaxgen.commands.launch import train
from jaxgen.evaluate.folders import evaluate_folder
from jaxgen.experiments.lapgan import Args, system
from jaxgen.runs.load import load
from tests.coarse import write

pytestmark = pytest.mark.learning
SAMPLES = 4500


def test_made_faces_are_nearer_than_real_ones_without_their_differences(tmp_path):
    """By SqueezeNet's FID; and the samples of each level, enlarged, are nearer than the last's."""
    train("jaxgen.experiments.lapgan", system, Args(workdir=tmp_path / "run"))
    fid = [
        load(stage).evaluate("fid", samples=SAMPLES)["fid-squeezenet"]
        for stage in sorted((tmp_path / "run").glob("[0-9]-*"))
    ]
    folder = write("faces", tmp_path / "coarse")
    coarse = evaluate_folder(folder, "faces", ("fid",))[0]["value"]
    print(fid, coarse)
    assert fid == sorted(fid, reverse=True)
    assert fid[-1] < coarse / 3
