"""What a metric is, and what it is given to score a trained run."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgen.data.names import numbered_as
from jaxgen.errors import UserError
from jaxgen.progress import progress

if TYPE_CHECKING:
    from jaxgen.runs.trained import TrainedRun

LEAST = 10  # images of either set; a score of fewer says nothing
SAMPLES = 5000
# of fields
WORDS = {"image": "single images", "label": "labels", "text": "captions", "edited": "edited images"}


@dataclasses.dataclass(frozen=True)
class Scoring:
    """A trained run and what it is scored by; see `jaxgen.evaluate.run.evaluate`.

    data: split -> real examples (a `jaxgen.data.pipeline.Data`).
    train: real examples to learn from, by default the train split of `data`.
    other: examples of another kind, to be told from real ones.
    """

    trained: "TrainedRun"
    data: Callable[[str], Any]
    samples: int | None = None
    references: int | None = None
    features: str = "squeezenet"
    distance: str = "squeezenet-distance"
    weights: Path | None = None
    split: str | None = None
    direction: str | None = None
    seed: int = 0
    batch: int = 64
    choices: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    train: Any = None
    other: Any = None

    def real(self, usual: str):
        """The real examples, of the split that was asked for or of the usual one."""
        return self.data(self.split or usual)

    def taught(self):
        """The real examples that a probe, a classifier or a baseline learns from."""
        return self.data("train") if self.train is None else self.train

    def taught_labels(self, name: str, like: Any, of: str = "image"):
        """`taught` with the labels of the examples `like`, on which the metric of that name is
        scored; both have the field `of`.  UserError where it has no labels, or is the same."""
        check_fields(name, like, of, "label")
        train = self.taught()
        if train.fingerprint == like.fingerprint:
            raise UserError(
                f"{name} needs examples to learn from besides those that it is scored on; hold "
                "some out, or give other data"
            )
        check_fields(name, train, of, "label")
        return numbered_as(train, like.info, ["label"], f"{like.spec} ({like.split})")

    def held_out(self) -> tuple[Any, int]:
        """Held-out examples, and how many of them count."""
        data = self.real("test")
        count = min(self.samples or len(data), len(data))
        if count < 1:
            raise UserError(f"{data.spec} ({data.split}) has no images; name other data")
        return data, count

    def given(self, name: str, data: Any, *fields: str):
        """`data` with the labels and attributes that the system knows, of which it is given these
        fields.  UserError where the metric of that name lacks one."""
        check_fields(name, data, *fields)
        return numbered_as(data, self.trained.info, fields, self.trained.name)


@dataclasses.dataclass(frozen=True)
class Metric:
    """A score: its name, the ability that a system needs for it, and how it is computed.

    score: (Scoring, names) -> records, of several metrics that share their work.
    check: (Scoring, name) -> None; UserError, before anything is computed, for what cannot be
      scored.
    needs: what it needs of images ("features", "logits", "pixels") or of data ("text", "label",
      "voxels").
    usual: whether it is among those that are scored by default.
    network: the feature network for which the bare name stands in the literature.
    """

    name: str
    ability: type
    score: Callable[[Scoring, Sequence[str]], list[dict[str, Any]]]
    check: Callable[[Scoring, str], None]
    higher_is_better: bool
    usual: bool = False
    needs: str = ""
    network: str | None = None


def check_fields(name: str, data, *fields: str) -> None:
    """UserError for data that lacks one of the fields that the metric of that name needs."""
    for field in fields:
        if field not in data.info.fields:
            raise UserError(
                f"{name}: {data.spec} has no {WORDS.get(field, field)}; leave it out, or name "
                "other data"
            )


def spread(data, count: int) -> list[int]:
    """`count` examples from all over the set."""
    return [i * len(data) // count for i in range(count)]


def chunks(
    data, chosen: Sequence[int], batch: int
) -> Iterator[tuple[int, int, dict[str, np.ndarray]]]:
    """The chosen examples, with a progress line: (place of the chunk's first one, how many are in
    it, `batch` examples). The last chunk repeats its own, so that one program serves for all."""
    with progress(what=data.spec, total=len(chosen), unit="image") as bar:
        for first in range(0, len(chosen), batch):
            part = chosen[first : first + batch]
            yield first, len(part), data.take([part[i % len(part)] for i in range(batch)])
            bar.update(len(part))
