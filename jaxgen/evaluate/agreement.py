"""Whether generated images show what they were asked for: a class, a text, attributes.

A small network says it, which has learned classes or attributes from the training data and is no
part of the system.  What images of a text are to show are the attributes of the held-out example
that the text is of.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxgen.errors import UserError
from jaxgen.evaluate import scores
from jaxgen.evaluate.classifier import SmallClassifier, classification_accuracy, classifier
from jaxgen.evaluate.metric import SAMPLES, Metric, Scoring, check_fields, spread
from jaxgen.evaluate.separability import read
from jaxgen.metrics.inception_score import inception_score
from jaxgen.runs.sampling import samples
from jaxgen.train.abilities import Sampler
from jaxgen.train.game import System

TELLING = {"text", "attributes"}  # conditions that say what an image is to show


def told(system: System) -> list[str]:
    """Those of the conditions that say what an image is to show."""
    sampler = system.ability(Sampler)
    return [name for name in sampler.condition if name in TELLING] if sampler else []


def of_attributes(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
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


def check_attributes(scoring: Scoring, name: str) -> None:
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


def accuracy(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """The classification accuracy score: a classifier that learned from labelled samples, on real
    held-out images; its baseline learned from as many real ones."""
    trained, (data, count) = scoring.trained, scoring.held_out()
    known = lambda data: scoring.given("classification-accuracy", data, "image", "label")
    real, data = known(scoring.taught()), known(data)
    test = data.take(spread(data, count))
    n = scoring.samples or min(SAMPLES, len(real))
    labels = real.take(spread(real, n))
    options = {"seed": scoring.seed, "batch": scoring.batch, **scoring.choices}
    images = np.concatenate(list(samples(trained, n, label=labels["label"], **options)))
    generated = {"image": images, "label": labels["label"]}
    value = classification_accuracy(generated, test, seed=scoring.seed)
    baseline = classification_accuracy(labels, test, seed=scoring.seed)
    one = scores.record(
        "classification-accuracy",
        value=value,
        baselines={"trained on real images": baseline},
        samples=n,
        references=count,
        **scores.measured_on(data),
        seed=scoring.seed,
    )
    return [one]


def of_class(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """What a classifier of the real images says of samples: the share that it reads as the label
    that they were made from, beside what it gets right of held-out images; and their inception
    score by its answers, which is at most the number of classes."""
    trained, (data, count) = scoring.trained, scoring.held_out()
    known = lambda data: scoring.given(names[0], data, "image", "label")
    real, data = known(scoring.taught()), known(data)
    judge = _judge(real, len(trained.info.label_names), scoring.seed)
    test = data.take(spread(data, count))
    n = scoring.samples or SAMPLES
    labels = np.arange(n) % len(trained.info.label_names)
    options = {"seed": scoring.seed, "batch": scoring.batch, **scoring.choices}
    logits = judge(np.concatenate(list(samples(trained, n, label=labels, **options))))
    right = lambda logits, labels: float((logits.argmax(axis=1) == labels).mean())
    held = {"held-out images": right(on_held := judge(test["image"]), test["label"])}
    score = lambda logits: inception_score(logits, splits=1, key=jax.random.key(0)).mean
    values = {
        "class-agreement": (right(logits, labels), held),
        "classifier-score": (score(logits), {"held-out images": float(score(on_held))}),
    }
    about = {"samples": n, "references": count, **scores.measured_on(data), "seed": scoring.seed}
    return [
        scores.record(name, value=float(values[name][0]), baselines=values[name][1], **about)
        for name in names
    ]


_judges: dict[Any, Callable] = {}  # the last one, of which a curve asks again and again


def _judge(data, classes: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Images uint8 [n, h, w, c] -> logits, by a classifier that has learned the data."""
    key = data.fingerprint, classes, seed
    if key not in _judges:
        _judges.clear()
        whole = data.take(range(len(data)))
        _judges[key] = classifier(whole, SmallClassifier(classes), seed=seed)
    return _judges[key]


def check_class(scoring: Scoring, name: str) -> None:
    """UserError for a sampler that takes no label, or data without the labels that it takes."""
    sampler = scoring.trained.ability(Sampler, "draws no samples")
    if "label" not in sampler.condition:
        raise UserError(f"{name} needs a sampler that takes a label; leave it out")
    if "label" in scoring.choices:
        raise UserError(f"label cannot be chosen for {name}, which takes them all")
    for data in (scoring.held_out()[0], scoring.taught()):
        scoring.given(name, data, "image", "label")


METRICS = {
    m.name: m
    for m in (
        Metric("classification-accuracy", Sampler, accuracy, check_class, True, False, "label"),
        Metric("class-agreement", Sampler, of_class, check_class, True, False, "label"),
        Metric("classifier-score", Sampler, of_class, check_class, True, False, "label"),
        Metric("attribute-agreement", Sampler, of_attributes, check_attributes, True),
    )
}
