"""CLIP's quick recipe to its end, on emoji that it has not seen; run with -m learning."""

import pytest

from jaxgen.commands.launch import train
from jaxgen.evaluate.run import evaluate
from jaxgen.experiments.clip import Args, system

pytestmark = pytest.mark.learning


def test_retrieval_beats_chance_tenfold(tmp_path):
    """Image to text is zero-shot classification too, by the names of 412 unseen emoji."""
    trained = train("jaxgen.experiments.clip", system, Args(workdir=tmp_path))
    found = {record["metric"]: record for record in evaluate(trained)}
    print(found)
    for way in "image-to-text", "text-to-image":
        assert found[way]["value"] > 10 * found[way]["baselines"]["chance"]
    probe = found["linear-probe"]
    assert probe["value"] > probe["baselines"]["the commonest class"]
