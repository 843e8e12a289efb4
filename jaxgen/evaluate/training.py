"""Scores while a system trains (`evaluate_every`)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jaxgen.errors import UserError
from jaxgen.evaluate import scores, sets
from jaxgen.evaluate.run import check, evaluate, usual
from jaxgen.runs.trained import TrainedRun
from jaxgen.train.game import System


def in_training(
    names: Sequence[str],
    system: System,
    data,
    samples: int,
    folder: Path | None,
    name: str = "this system",
) -> Callable[[dict[str, Any], int], dict[str, float]]:
    """(states, round) -> {"score/LABEL": value}, against the training data, or its held-out part
    where there is a ground truth; the records are added to scores.jsonl in `folder`.

    names: metrics, by default those that suit the system.

    What can be known before the training is refused before it, in a UserError: a metric that the
    system cannot have, too few or too small images, missing weights.  A scoring that fails later
    says so and does not end the training.
    """
    names = list(names) or usual(system)
    known = check(name, system, names)
    if not names:
        raise UserError(f"{name} has no usual scores; it can have {', '.join(known)}")
    if of_sets := [n for n in names if n in sets.COMPUTE]:
        sets.check(of_sets, data, samples)
        sets.network_for(of_sets, "squeezenet", None)

    def measure(states, round):
        trained = TrainedRun(system, states, data.info, round, name)
        try:
            records = evaluate(trained, names, data=data, samples=samples)
        except (UserError, ValueError, RuntimeError) as error:
            tqdm.write(f"round {round}: it cannot be scored ({error}); the training goes on")
            return {}
        if folder:
            scores.append(Path(folder) / "scores.jsonl", records)
        return {f"score/{scores.label(record)}": record["value"] for record in records}

    return measure
