"""Whether an edit changes what it is asked to change, and nothing else.

In each held-out image one attribute is turned the other way, the first in the first image and so
on.  What the edited images show a small network says, which has learned it from the training data
and is no part of the system.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxgen.data.source import to_program
from jaxgen.errors import UserError
from jaxgen.evaluate import scores
from jaxgen.evaluate.metric import Metric, Scoring, check_fields, chunks, spread
from jaxgen.evaluate.separability import read
from jaxgen.pictures import as_uint8
from jaxgen.runs.choices import values
from jaxgen.runs.translating import translator
from jaxgen.train.abilities import SET, Translator
from jaxgen.train.nets import bind


def score(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """The share of the turned attributes that are read as turned (edit-accuracy), and that of the
    others that are read as they are (edit-preservation)."""
    way = translator(scoring.trained, scoring.direction)
    data, count = _held_out(scoring, names[0])
    learnt = scoring.given(names[0], scoring.taught(), "image", "attributes")
    reader = read(learnt, scoring.seed)
    columns = [list(data.info.attribute_names).index(name) for name in reader.names]
    options, fields = dict(values(way.options, scoring.choices)), data.info.fields

    @jax.jit
    def edit(states, batch, asked, key):
        inputs = {"image": to_program(batch, fields)["image"], SET: asked}
        return way.translate(bind(states, key), inputs, key, **options)

    key, read_as, had, turned = jax.random.key(scoring.seed), {}, [], []
    for first, n, examples in chunks(data, spread(data, count), scoring.batch):
        has = reader.answers(examples)
        which = (first + np.arange(len(has)))[:, None] % len(columns) == np.arange(len(columns))
        asked = np.full((len(has), len(data.info.attribute_names)), np.nan, np.float32)
        asked[:, columns] = np.where(which, 1 - has, np.nan)
        own = {"image": examples["image"]}
        made = edit(scoring.trained.states, own, asked, jax.random.fold_in(key, first))
        for whose, images in (("edited", as_uint8(made)), ("unedited", examples["image"])):
            read_as.setdefault(whose, []).append((reader.logits(images) > 0)[:n])
        had.append(has[:n])
        turned.append(which[:n])
    has, which = np.concatenate(had), np.concatenate(turned)
    same = {whose: np.concatenate(x) == has for whose, x in read_as.items()}
    right = {
        "edit-accuracy": ({whose: ~x for whose, x in same.items()}, which),
        "edit-preservation": (same, ~which),
    }

    def record(name):
        right_of, where = right[name]
        by_factor = [right_of["edited"][where[:, i], i].mean() for i in range(len(columns))]
        return scores.record(
            name,
            value=float(right_of["edited"][where].mean()),
            baselines={"unedited": float(right_of["unedited"][where].mean())},
            by_factor=dict(zip(reader.names, map(float, by_factor), strict=True)),
            classifier_accuracy=float(same["unedited"].mean()),
            settings={},
            samples=count,
            **scores.measured_on(data),
            direction=way.name or None,
            seed=scoring.seed,
        )

    return [record(name) for name in names]


def check(scoring: Scoring, name: str) -> None:
    """UserError for data without attributes, or with one only, beside which nothing is kept."""
    data, _ = _held_out(scoring, name)
    check_fields(name, scoring.taught(), "image", "attributes")
    if name == "edit-preservation" and len(data.info.attribute_names) < 2:
        raise UserError(f"{name} is of the other attributes, and this data has one")


def _held_out(scoring: Scoring, name: str) -> tuple[Any, int]:
    data, count = scoring.held_out()
    return scoring.given(name, data, "image", "attributes"), count


METRICS = {
    name: Metric(name, Translator, score, check, True)
    for name in ("edit-accuracy", "edit-preservation")
}
