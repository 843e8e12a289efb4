"""Scores of a trained run: every metric that suits one of its system's abilities."""

import dataclasses
import difflib
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxgen.errors import MissingData, NoSplit, UserError
from jaxgen.evaluate import (
    agreement,
    edits,
    embeddings,
    examples,
    pairs,
    scores,
    separability,
    sets,
    voxels,
)
from jaxgen.evaluate.metric import Metric, Scoring
from jaxgen.progress import say
from jaxgen.runs.choices import check_names
from jaxgen.runs.translating import translator
from jaxgen.train.abilities import SET, Density, Embedder, Sampler, Translator
from jaxgen.train.game import System

if TYPE_CHECKING:
    from jaxgen.runs.trained import TrainedRun

METRICS: dict[str, Metric] = {
    **sets.METRICS,
    **pairs.METRICS,
    **examples.METRICS,
    **embeddings.METRICS,
    **separability.METRICS,
    **edits.METRICS,
    **voxels.METRICS,
    **agreement.METRICS,
}


def evaluate(
    trained: "TrainedRun",
    metrics: Sequence[str] = (),
    *,
    data=None,
    train=None,
    other=None,
    samples: int | None = None,
    references: int | None = None,
    features: str = "squeezenet",
    distance: str = "squeezenet-distance",
    weights: Path | None = None,
    split: str | None = None,
    direction: str | None = None,
    seed: int = 0,
    ema: bool = True,
    batch: int = 64,
    **choices,
) -> list[dict[str, Any]]:
    """The records (see `jaxgen.evaluate.scores`) of `metrics`, or of those that suit the system.

    data: real examples (`jaxgen.load_data`, `jaxgen.arrays`), by default the run's own.
    train: those that a probe, a classifier or a baseline learns from, by default the train split.
    other: examples of another kind, which auroc tells from the real ones.
    samples: images that are judged, by default 5,000, or all held-out examples.
    references: real images that they are compared with, all by default.
    features: the network of FID and the like: squeezenet, inception or vgg16; distance: that of
      ppl; weights: their file, where it is needed.
    split: of the real examples; by default that of `data` where it is "test", else "train" for sets
      of images and, where anything is held out, "test" where there is a ground truth.
    direction: of a translator, where there are several.
    seed: of the noise, and of random subsets.
    ema: whether the averaged weights are scored, where there are any.
    batch: images at a time.
    choices: the sampler's conditions and options, such as label=3, truncation=0.7.

    Where several seeds were trained, a value is the mean over them; of a sweep each copy has its
    own records.

    UserError for a metric that the system cannot have, or for data that lacks what it needs.
    """
    averaged = ema and any(state.ema is not None for state in trained.states.values())
    copies = trained.copies or [trained.states]
    if not ema:
        copies = [{k: state.replace(ema=None) for k, state in one.items()} for one in copies]
    each = [dataclasses.replace(trained, states=one) for one in copies]
    sweep = trained.sweep
    if sweep:
        each = [dataclasses.replace(x, system=sweep.system(i)) for i, x in enumerate(each)]
    ways = [*trained.system.all_of(Sampler), *trained.system.all_of(Translator)]
    known = [x for way in ways for x in (*getattr(way, "condition", ()), *way.options)]
    check_names(trained.name, choices, known)
    if split is None and getattr(data, "split", None) == "test":
        split = "test"
    scoring = Scoring(
        each[0],
        real(trained, data, split),
        *(samples, references, features, distance, weights, split, direction, seed, batch),
        choices,
        train,
        other,
    )
    names = chosen(scoring, metrics)
    table = suits(trained.system)
    about = {"round": trained.round, "ema": averaged}
    if trained.copy is not None:
        about["copy"] = trained.copy
    if trained.value is not None:
        about["sweep"] = trained.value
    if choices:
        about["choices"] = {name: str(x) for name, x in choices.items()}
    records = []
    for score in dict.fromkeys(table[name].score for name in names):
        mine = [name for name in names if table[name].score is score]
        found = [score(dataclasses.replace(scoring, trained=one), mine) for one in each]
        if sweep:
            of = lambda i: {"copy": i, "sweep": sweep.label(i)}
            records += [x | about | of(i) for i, own in enumerate(found) for x in own]
        else:
            records += [scores.mean(same) | about for same in zip(*found, strict=True)]
    return records


def real(trained: "TrainedRun", data, split: str | None = None):
    """split -> real examples: all of them where nothing is held out and no split was asked for."""
    data = trained.data if data is None else data
    if data is None and trained.args is None:
        raise UserError(f"{trained.name} was made from Python; give its data: evaluate(data=...)")
    if data is None:  # opened once, for several scores and their checks
        return functools.cache(lambda split: trained.args.load_data(split, resident="no"))

    def of(wanted):
        if getattr(data, "split", wanted) == wanted or not hasattr(data, "of_split"):
            return data
        try:
            return data.of_split(wanted)
        except NoSplit:
            if wanted == split:
                raise
            return data

    return of


def suits(system: System) -> dict[str, Metric]:
    """The metrics that the system can have, by name."""
    found = {k: m for k, m in METRICS.items() if system.ability(m.ability) is not None}
    embedder = system.ability(Embedder)
    if embedder and embedder.text is None:
        found = {k: m for k, m in found.items() if m.needs != "text" and k != "zero-shot"}
    sampler = system.ability(Sampler)
    if sampler:
        solid = sampler.of == "voxels"
        fits = lambda m: m.ability is not Sampler or (m.needs == "voxels") == solid
        found = {k: m for k, m in found.items() if fits(m)}
    if sampler and "label" not in sampler.condition:
        found = {k: m for k, m in found.items() if m.ability is not Sampler or m.needs != "label"}
    if sampler and not agreement.told(system):
        found.pop("attribute-agreement", None)
    if all(SET not in way.inputs for way in system.all_of(Translator)):
        found = {k: m for k, m in found.items() if k not in edits.METRICS}
    if system.ability(Density):
        found["auroc"] = METRICS["auroc"]
    return found | examples.densities(system)


def usual(system: System) -> list[str]:
    """The metrics that are scored by default."""
    return [name for name, metric in suits(system).items() if metric.usual]


def chosen(scoring: Scoring, metrics: Sequence[str]) -> list[str]:
    """The metrics that are scored: `metrics`, or those of the usual ones that can be; what is left
    out of these is said.  UserError for what cannot be scored, before anything is computed."""
    trained = scoring.trained
    known = check(trained.name, trained.system, metrics)
    names = list(dict.fromkeys(metrics)) or usual(trained.system)
    if not names:
        raise UserError(f"{trained.name} has no usual scores; it can have {', '.join(known)}")
    if scoring.direction is not None:
        translator(trained, scoring.direction)
    fit: list[str] = []
    left_out: dict[str, list[str]] = {}
    for name in names:
        try:
            known[name].check(scoring, name)
            fit.append(name)
        except MissingData:  # there is nothing to score any of them on
            raise
        except UserError as error:
            why = str(error).removeprefix(name).lstrip(": ").partition("; leave it out")[0]
            left_out.setdefault(why, []).append(name)
            if metrics or left_out == {why: names}:  # asked for, or all for one reason
                raise
    lines = [f"{', '.join(of_these)}: {why}" for why, of_these in left_out.items()]
    if not fit:
        raise UserError("; ".join(lines))
    for line in lines:
        say(f"left out: {line}")
    return fit


def check(run: str, system: System, names: Sequence[str]) -> dict[str, Metric]:
    """The metrics of these names; UserError for one that is unknown, or not for this system."""
    known = suits(system)
    if not known:
        raise UserError(f"{run} has nothing to score; its pictures are in samples/ of the run")
    for name in names:
        if name not in known:
            if name in METRICS:
                raise UserError(f"{run} has no {name}; its metrics are {', '.join(known)}")
            raise UserError(unknown(name, known))
    return known


def unknown(name: str, known: Iterable[str]) -> str:
    """What to say of a metric that is none of `known`."""
    near = difflib.get_close_matches(name, known := list(known), 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f'there is no metric "{name}"; {hint}'


def higher_is_better(record: Mapping[str, Any]) -> bool | None:
    """None for a metric that is not known; a system's own densities are higher where better."""
    if record["metric"] in METRICS:
        return METRICS[record["metric"]].higher_is_better
    return True if "of" in record.get("settings", {}) else None
