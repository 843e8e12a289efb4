"""The EBM's quick recipe to its end: digits, energies, and another set; run with -m learning."""

import json

import numpy as np
import pytest

from jaxgen.commands.launch import train
from jaxgen.data.pipeline import load
from jaxgen.experiments.ebm import Args, system
from tests.digits import score_run

pytestmark = pytest.mark.learning


def test_chains_come_to_digits_and_energies_tell_animals(tmp_path):
    trained = train("jaxgen.experiments.ebm", system, Args(workdir=tmp_path))
    found = score_run(tmp_path)
    assert found.classes >= 8, found
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert abs(np.mean([line["energy/gap"] for line in lines[-5:]])) <= 0.1
    animals = load("animals", size=28, channels=1, resident="no")
    told = trained.evaluate("auroc", other=animals)["auroc"]
    print(f"{found}; AUROC of digits against animals {told:.3f}")
    assert told >= 0.8
