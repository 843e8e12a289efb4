"""Scores while a system trains (`evaluate_every`)."""

from collections.abc import Callable, Sequence
from pathlib import Path

from jaxgen import progress
from jaxgen.errors import UserError
from jaxgen.evaluate import scores
from jaxgen.evaluate.metric import Scoring
from jaxgen.evaluate.run import chosen, evaluate, real, suits, usual
from jaxgen.runs.trained import TrainedRun
from jaxgen.train.game import System


def in_training(
    names: Sequence[str],
    system: System,
    data,
    samples: int,
    folder: Path | None,
    name: str = "this system",
    batch: int = 64,
    copy: int | None = None,
    value: str | None = None,
) -> Callable[..., dict[str, float]]:
    """(states, round) -> {"score/LABEL": value}, against the training data, or its held-out part
    where there is a ground truth; the records are added to scores.jsonl in `folder`.

    names: metrics, by default those that suit the system.
    system: of stages the last one; the function is then given each stage's own `system`, `data` and
      folder's name `stage`, and scores what suits that system.
    copy: which of several seeds the states are of, or of a sweep's values; value: that one.

    What can be known before the training is refused before it, in a UserError: a metric that the
    system cannot have, too few or too small images, missing weights.  A scoring that fails later,
    for whatever reason, says so and does not end the training.
    """
    trained = TrainedRun(system, {}, data.info, 0, name)
    first = chosen(Scoring(trained, real(trained, data), samples), names)
    scored = {"": first}  # by stage

    def measure(states, round, system=system, data=data, stage=""):
        own = [n for n in names or usual(system) if n in suits(system)]
        if not own:
            return {}
        trained = TrainedRun(system, states, data.info, round, name, copy=copy, value=value)
        try:
            if stage not in scored:
                about = Scoring(trained, real(trained, data), samples)
                scored[stage] = chosen(about, own if names else ())
            found = evaluate(trained, scored[stage], data=data, samples=samples, batch=batch)
            if folder:
                scores.append(Path(folder) / stage / "scores.jsonl", found)
        except Exception as error:  # hours of training are worth more than a score
            why = (str(error).splitlines() or [type(error).__name__])[0]
            if not isinstance(error, UserError | ValueError | RuntimeError | OSError):
                why = f"{type(error).__name__}: {why}"
            progress.say(f"round {round}: it cannot be scored ({why}); the training goes on")
            return {}
        return {f"score/{scores.label(record)}": record["value"] for record in found}

    return measure
