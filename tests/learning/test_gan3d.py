"""3D-GAN's quick recipe to its end: whole shapes, and whole ones between two; run with -m
learning."""

import pytest

from jaxgen.commands.launch import train
from jaxgen.evaluate.run import evaluate
from jaxgen.experiments.gan3d import Args, system
from jaxgen.metrics.voxels import largest_component

pytestmark = pytest.mark.learning


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("gan3d")
    return train("jaxgen.experiments.gan3d", system, Args(workdir=workdir))


def test_shapes_are_like_held_out_ones_and_of_one_piece(run):
    found = {x["metric"]: x for x in evaluate(run, ("best-iou", "largest-component"))}
    print(found)
    assert found["best-iou"]["value"] >= 0.45
    assert found["largest-component"]["value"] >= 0.9


def test_what_lies_between_two_shapes_is_of_one_piece(run):
    pieces = largest_component(run.interpolate(12, frames=8) > 127)
    print(pieces.mean())
    assert pieces.mean() >= 0.85
