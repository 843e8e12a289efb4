"""Scores of samples made of voxels, against held-out shapes.

The same scores of two other sets stand beside them: of training shapes, the best that can be asked
for, and of independent voxels, each filled as often as in the training shapes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxgen.errors import UserError
from jaxgen.evaluate import scores
from jaxgen.evaluate.metric import LEAST, Metric, Scoring, check_fields, spread
from jaxgen.metrics.voxels import best_iou, largest_component
from jaxgen.runs.sampling import samples
from jaxgen.train.abilities import Sampler

SAMPLES = 1000

# (shapes, held-out shapes) -> numbers of which the mean is the score.
COMPUTE = {
    "best-iou": best_iou,
    "coverage-iou": lambda shapes, held: best_iou(held, shapes),
    "largest-component": lambda shapes, held: largest_component(shapes),
}


def score(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """Samples, of which the voxels that are likelier filled than not count, and the others."""
    data, n, seed = scoring.real("test"), scoring.samples or SAMPLES, scoring.seed
    count = min(scoring.references or len(data), len(data))
    options = {"seed": seed, "batch": scoring.batch, **scoring.choices}
    made = np.concatenate(list(samples(scoring.trained, n, **options))) > 127
    held, train = _shapes(data, count), scoring.taught()
    taught = _shapes(train, min(n, len(train)))
    rng = np.random.default_rng(seed)
    alone = rng.random((n, *taught.shape[1:]), np.float32) < taught.mean(axis=0)
    records = []
    for name in names:
        values = COMPUTE[name](made, held)
        baselines = {"training shapes": taught, "independent voxels": alone}
        one = scores.record(
            name,
            value=float(values.mean()),
            deviation=float(values.std()),
            baselines={k: float(COMPUTE[name](x, held).mean()) for k, x in baselines.items()},
            settings={"filled": "above 1/2", "pieces": "by faces"},
            samples=n,
            references=count,
            **scores.measured_on(data),
            seed=seed,
        )
        records.append(one)
    return records


def check(scoring: Scoring, name: str) -> None:
    """UserError for too few shapes, or data without any."""
    if (n := scoring.samples or SAMPLES) < LEAST:
        raise UserError(f"samples are {LEAST} or more, not {n}")
    for data in (scoring.real("test"), scoring.taught()):
        check_fields(name, data, "voxels")


def _shapes(data, count: int) -> np.ndarray:
    return data.take(spread(data, count))["voxels"][..., 0] > 0


METRICS = {name: Metric(name, Sampler, score, check, True, True, "voxels") for name in COMPUTE}
