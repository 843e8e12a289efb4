"""Scores of vectors that a system makes of examples: retrieval, zero-shot, a linear probe.

They look at all held-out examples at once, not at chunks of them. `image-to-text` is zero-shot
classification too, by the captions of all; `zero-shot` is that by the names of the data's labels.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxgen.data.source import to_program
from jaxgen.evaluate import scores
from jaxgen.evaluate.metric import Metric, Scoring, check_fields, chunks, spread
from jaxgen.losses.contrastive import unit
from jaxgen.metrics import probe, retrieval
from jaxgen.runs.matching import embedded
from jaxgen.train.abilities import Embedder
from jaxgen.train.nets import bind

# (which embedding asks, which answers, among how many answers the right one may be)
RETRIEVAL = {
    "image-to-text": ("image", "text", 1),
    "text-to-image": ("text", "image", 1),
    "image-to-text-5": ("image", "text", 5),
    "text-to-image-5": ("text", "image", 5),
}


def check(scoring: Scoring, name: str) -> None:
    """UserError for data that lacks what the metric needs."""
    data, needed = scoring.held_out()[0], METRICS[name].needs
    of = scoring.trained.ability(Embedder, "compares nothing").of
    check_fields(name, data, of, needed)
    if name == "linear-probe":
        scoring.taught_labels(name, data, of)


def score(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """Shares of the held-out examples that come out right."""
    trained, (data, count) = scoring.trained, scoring.held_out()
    embedder = trained.ability(Embedder, "compares nothing")
    wanted = {side for n in names if n in RETRIEVAL for side in RETRIEVAL[n][:2]}
    wanted |= {"image"} if "zero-shot" in names else set()
    wanted |= {"features"} if "linear-probe" in names else set()
    held = _vectors(trained, embedder, wanted, data, spread(data, count), scoring.batch)
    records = []
    for name in names:
        if name in RETRIEVAL:
            asks, answers, k = RETRIEVAL[name]
            text = held["batch"]["text"]
            right = (text[:, None] == text[None]).all(axis=-1)  # one caption may have two images
            value = retrieval.recalled(unit(held[asks]) @ unit(held[answers]).T, right, k)
            baselines = {"chance": retrieval.chance(right, k)}
        else:
            labels, classes = held["batch"]["label"], len(data.info.label_names)
            if name == "zero-shot":
                guess = _zero_shot(trained, embedder, data, held["image"], scoring.batch)
                baselines = {"chance": 1 / classes}
            else:
                train = scoring.taught_labels(name, data, embedder.of)
                rows = range(len(train))
                taught = _vectors(trained, embedder, {"features"}, train, rows, scoring.batch)
                learned = taught["features"], taught["batch"]["label"]
                guess, _ = probe.linear_probe(*learned, held["features"], classes)
                baselines = {}
            value = np.asarray(guess) == labels
            baselines["the commonest class"] = float(np.bincount(labels).max() / count)
        one = scores.record(
            name,
            value=float(np.mean(value)),
            baselines=baselines,
            settings={},
            samples=count,
            **scores.measured_on(data),
        )
        records.append(one)
    return records


def _vectors(trained, embedder, wanted, data, chosen, batch) -> dict[str, Any]:
    """Each of `wanted` for the chosen examples, [n, d], and what their "batch" has of numbers."""
    fields = data.info.fields

    @jax.jit
    def run(states, batch):
        nets, batch = bind(states, jax.random.key(0)), to_program(batch, fields)
        return {name: getattr(embedder, name)(nets, batch) for name in wanted}

    parts: dict[str, list] = {name: [] for name in wanted}
    others: dict[str, list] = {"text": [], "label": []}
    for _, n, taken in chunks(data, chosen, batch):
        for name, values in run(trained.states, taken).items():
            parts[name].append(np.asarray(values, np.float32)[:n])
        for name in others.keys() & taken.keys():
            others[name].append(taken[name][:n])
    numbers = {name: np.concatenate(x) for name, x in others.items() if x}
    return {**{name: np.concatenate(x) for name, x in parts.items()}, "batch": numbers}


def _zero_shot(trained, embedder, data, images, batch) -> np.ndarray:
    """The class whose name, in all prompts, is nearest to each image."""
    prompts, names = embedder.prompts, data.info.label_names
    texts = [prompt.replace("{}", name) for name in names for prompt in prompts]
    vectors = embedded(trained, "text", texts, trained.info.vocabulary, batch)
    classes = retrieval.prototypes(vectors.reshape(len(names), len(prompts), -1))
    return np.asarray((unit(images) @ classes.T).argmax(axis=1))


METRICS = {
    m.name: m
    for m in (
        *(Metric(name, Embedder, score, check, True, True, "text") for name in RETRIEVAL),
        Metric("zero-shot", Embedder, score, check, True, True, "label"),
        Metric("linear-probe", Embedder, score, check, True, True, "label"),
    )
}
