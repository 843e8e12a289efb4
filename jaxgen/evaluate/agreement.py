"""Whether generated images show what they were asked for.

Images are made from the texts, or the attributes, of held-out examples. Which of these examples'
attributes they show a small network says, which has learned it from the training data and is no
part of the system.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxgen.errors import UserError
from jaxgen.evaluate import scores
from jaxgen.evaluate.metric import Metric, Scoring, check_fields, spread
from jaxgen.evaluate.separability import read
from jaxgen.runs.sampling import samples
from jaxgen.train.abilities import Sampler
from jaxgen.train.game import System

TELLING = {"text", "attributes"}  # conditions that say what an image is to show


def told(system: System) -> list[str]:
    """Those of the conditions that say what an image is to show."""
    sampler = system.ability(Sampler)
    return [name for name in sampler.condition if name in TELLING] if sampler else []


def score(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """The share of the attributes that are read as they are in the examples."""
    conditions, (data, count) = told(scoring.trained.system), _held_out(scoring, names[0])
    reader = read(scoring.given(names[0], scoring.taught(), "image", "attributes"), scoring.seed)
    examples = data.take(spread(data, count))
    given = {name: examples[name] for name in conditions} | dict(scoring.choices)
    options = {"seed": scoring.seed, "batch": scoring.batch}
    made = np.concatenate(list(samples(scoring.trained, count, **options, **given)))
    has, shown = reader.answers(examples), reader.logits(made) > 0
    right = shown == has
    one = scores.record(
        names[0],
        value=float(right.mean()),
        baselines={
            "another's": float((np.roll(shown, 1, axis=0) == has).mean()),
            "real images": float(((reader.logits(examples["image"]) > 0) == has).mean()),
        },
        by_factor=dict(zip(reader.names, map(float, right.mean(axis=0)), strict=True)),
        settings={"above": reader.above},
        samples=count,
        **scores.measured_on(data),
        seed=scoring.seed,
    )
    return [one]


def check(scoring: Scoring, name: str) -> None:
    """UserError for data without attributes, or a condition that was chosen."""
    for condition in told(scoring.trained.system):
        if condition in scoring.choices:
            raise UserError(f"{condition} cannot be chosen for {name}, which takes the data's")
    _held_out(scoring, name)
    check_fields(name, scoring.taught(), "image", "attributes")


def _held_out(scoring: Scoring, name: str) -> tuple[Any, int]:
    data, count = scoring.held_out()
    fields = {"image", "attributes", *told(scoring.trained.system)}
    return scoring.given(name, data, *sorted(fields)), count


METRICS = {"attribute-agreement": Metric("attribute-agreement", Sampler, score, check, True)}
