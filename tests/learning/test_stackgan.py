"""StackGAN's quick recipe to its end; run with -m learning."""

import pytest

from jaxgen.commands.launch import train
from jaxgen.evaluate.run import evaluate
from jaxgen.experiments.stackgan import Args, system
from jaxgen.runs.load import load
from tests.experiments.command import metrics

pytestmark = pytest.mark.learning


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("stackgan")
    return train("jaxgen.experiments.stackgan", system, Args(workdir=workdir))


def test_images_show_what_their_text_says(run):
    (agreement,) = evaluate(run, ("attribute-agreement",))
    print(agreement)
    assert agreement["value"] >= 0.7
    assert agreement["value"] > agreement["baselines"]["another's"] + 0.05


@pytest.mark.parametrize("stage", ["1-stage-1", "2-stage-2"])
def test_the_discriminator_minds_the_text(run, stage):
    late = metrics(run.args.workdir / stage)[-10:]
    name = f"discriminator_{stage[-1]}"
    mean = lambda what: sum(line[f"{name}/{what}"] for line in late) / len(late)
    print(mean("matched"), mean("mismatched"))
    assert mean("mismatched") < mean("matched")


def test_stage_two_is_nearer_to_the_data_than_stage_one_enlarged(run):
    fid = {
        stage: load(run.args.workdir / stage).evaluate("fid", samples=2000)
        for stage in ("1-stage-1", "2-stage-2")
    }
    print(fid)
    assert next(iter(fid["2-stage-2"].values())) < next(iter(fid["1-stage-1"].values()))
