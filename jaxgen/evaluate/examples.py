"""Scores of single held-out examples: densities, what these or energies tell apart (AUROC),
reconstructions, and what codes know (kNN, MIG)."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.data.source import to_program
from jaxgen.errors import UserError
from jaxgen.evaluate import scores
from jaxgen.evaluate.metric import Metric, Scoring, check_fields, chunks, spread
from jaxgen.metrics.auroc import auroc
from jaxgen.metrics.mig import gaps, mutual_information_gap, turned
from jaxgen.metrics.probe import nearest_neighbours
from jaxgen.runs.scoring import noise_keys, one_by_one, scorers
from jaxgen.train.abilities import Autoencoder, Density, Energy, Sampler
from jaxgen.train.game import System
from jaxgen.train.nets import bind, shapes


def densities(system: System) -> dict[str, Metric]:
    """A metric for each of the system's densities, by the density's name."""
    named = system.all_of(Density)
    about = (Density, log_prob, check_given, True)
    return {d.name: Metric(d.name, *about, usual=True) for d in named}


def log_prob(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """Nats an example, on average over held-out ones, and bits a dimension of a likelihood."""
    known = {d.name: d for d in scoring.trained.system.all_of(Density)}
    data, count = check_given(scoring, names[0])

    def values(nets, batch, key):
        return {name: known[name].log_prob(nets, batch, key) for name in names}

    found = _of_examples(scoring, data, count, values)
    bit, records = math.log(2) * math.prod(scoring.trained.info.shape), []
    for name in names:
        settings = {"unit": "nats", "exact": known[name].exact, "of": known[name].of}
        about: dict[str, Any] = {"settings": settings}
        if known[name].likelihood:
            about["bits_per_dimension"] = float(-found[name].mean() / bit)
        else:
            settings["likelihood"] = False
        records.append(_record(scoring, name, found[name], data, count) | about)
    return records


def told_apart(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """The AUROC of the first of the system's log-likelihoods, or of its energy, with held-out
    examples inside and those of another set outside."""
    name, one = next(iter(scorers(scoring.trained).items()))
    data, count = scoring.held_out()
    other = min(count, len(scoring.other))

    def values(nets, batch, key):
        return {"score": one(nets, batch, key)}

    sign = -1 if name == "energy" else 1
    inside = _of_examples(scoring, data, count, values)["score"]
    outside = _of_examples(scoring, scoring.other, other, values)["score"]
    try:
        value = auroc(sign * inside, sign * outside)
    except ValueError as error:
        raise UserError(f"auroc: {error}; leave it out, or score another round") from None
    about = scores.measured_on(scoring.other)
    settings = {"score": name, "other": about["data"], "other_split": about["split"]}
    settings |= {"other_fingerprint": about["data_fingerprint"], "other_samples": other}
    record = _record(scoring, "auroc", np.array([value]), data, count)
    return [{k: x for k, x in record.items() if k != "deviation"} | {"settings": settings}]


# Of images [b, h, w, c] in [-1, 1]: the mean over the pixels; their sum, of pixels in [0, 1].
DIFFERENCES = {
    "reconstruction-l1": lambda a, b: jnp.abs(a - b).mean((1, 2, 3)),
    "reconstruction-squared": lambda a, b: ((a - b) ** 2).sum((1, 2, 3)) / 4,
}


def reconstruction(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """Differences between images and their reconstructions."""
    coder = scoring.trained.ability(Autoencoder, "has no encoder")
    data, count = scoring.held_out()

    def values(nets, batch, key):
        again = coder.decode(nets, coder.encode(nets, batch["image"]))
        return {name: DIFFERENCES[name](again, batch["image"]) for name in names}

    found = _of_examples(scoring, data, count, values)
    return [_record(scoring, name, found[name], data, count) for name in names]


NEIGHBOURS = 5


def knn(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """The share of held-out examples that have the class of most of the training examples with the
    nearest codes."""
    coder = scoring.trained.ability(Autoencoder, "has no encoder")
    data, count = scoring.held_out()
    train = scoring.taught_labels("knn", data)

    def values(nets, batch, key):
        codes = coder.encode(nets, batch["image"])
        return {"code": codes.reshape(len(codes), -1), "label": batch["label"]}

    taught, held = (_of_examples(scoring, *x, values) for x in ((train, len(train)), (data, count)))
    labels = {k: np.int32(x["label"]) for k, x in (("taught", taught), ("held", held))}
    guess = nearest_neighbours(taught["code"], labels["taught"], held["code"], NEIGHBOURS)
    one = scores.record(
        "knn",
        value=float(np.mean(guess == labels["held"])),
        baselines={"the commonest class": float(np.bincount(labels["held"]).max() / count)},
        settings={"neighbours": NEIGHBOURS},
        samples=count,
        **scores.measured_on(data),
        seed=scoring.seed,
    )
    return [one]


def mig(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """The mutual information gap of the codes, for the data's attributes or else its labels; beside
    it that of the same codes with the two latents that know most turned by 45 degrees."""
    coder = scoring.trained.ability(Autoencoder, "has no encoder")
    data, count = scoring.held_out()
    posterior, factor = coder.posterior, _factor(data)
    assert posterior is not None  # `check`

    def values(nets, batch, key):
        mean, log_sigma = posterior(nets, batch["image"])
        sample = mean + jnp.exp(log_sigma) * jax.random.normal(key, mean.shape)
        return {"sample": sample, "mean": mean, "log_sigma": log_sigma, "factor": batch[factor]}

    found = _of_examples(scoring, data, count, values)
    factors = found["factor"].reshape(count, -1)
    varies = [len(np.unique(column)) > 1 for column in factors.T]
    if not any(varies):
        raise UserError(
            f"mig: all {count} examples of {data.spec} ({data.split}) have the same {factor}; "
            "leave it out, or name other data"
        )
    codes = tuple(found[name] for name in ("sample", "mean", "log_sigma"))
    measure = lambda codes: mutual_information_gap(
        *codes, factors[:, varies], jax.random.key(scoring.seed)
    )
    gap = measure(codes)
    pair, known = np.argsort(gap.information.sum(axis=0))[-2:], gap.information.copy()
    known[:, pair] = measure(turned(*(x[:, pair] for x in codes), np.pi / 4)).information
    baselines = {"two latents turned by 45 degrees": float(gaps(known, gap.entropies).mean())}
    one = _record(scoring, "mig", np.array([gap.mig]), data, count)
    del one["deviation"]
    called = data.info.attribute_names if factor == "attributes" else [factor]
    names = [str(name) for name, more in zip(called, varies, strict=True) if more]
    by_factor = dict(zip(names, gap.by_factor.tolist(), strict=True))
    about = {"settings": {"factors": factor}, "by_factor": by_factor, "baselines": baselines}
    return [one | about]


def _factor(data) -> str | None:
    """The field whose information mig looks for."""
    kinds = {field.kind: name for name, field in data.info.fields.items()}
    return kinds.get("attributes", kinds.get("label"))


def check_given(scoring: Scoring, name: str) -> tuple[Any, int]:
    """Held-out examples, and how many of them count, with what a density is given of them (that is
    what a sampler of the same system is).  UserError where they lack it."""
    data, count = scoring.held_out()
    sampler = scoring.trained.system.ability(Sampler)
    return scoring.given(name, data, "image", *(sampler.condition if sampler else ())), count


def check_images(scoring: Scoring, name: str) -> None:
    """UserError for data without single images."""
    check_fields(name, scoring.held_out()[0], "image")


def check_other(scoring: Scoring, name: str) -> None:
    """UserError where there is no other set to be told apart, or images alone have no score."""
    if scoring.other is None:
        raise UserError("other is needed by auroc: a set that is to be told from the data")
    sampler = scoring.trained.system.ability(Sampler)
    if sampler and sampler.condition:
        what = " and ".join(sampler.condition)
        raise UserError(f"auroc is of images alone, and {scoring.trained.name} scores their {what}")
    for data in (scoring.held_out()[0], scoring.other):
        check_fields(name, data, "image")


def check_labels(scoring: Scoring, name: str) -> None:
    """UserError without labels, or without others to learn them from."""
    scoring.taught_labels(name, scoring.held_out()[0])


def check_mig(scoring: Scoring, name: str) -> None:
    """UserError where there are no factors, or fewer than two latents with a variance."""
    trained, data = scoring.trained, scoring.held_out()[0]
    coder = trained.ability(Autoencoder, "has no encoder")
    if (posterior := coder.posterior) is None:
        raise UserError("mig needs an encoder with a variance; leave it out")
    check_fields(name, data, "image")
    if _factor(data) is None:
        check_fields(name, data, "attributes or labels")
    coded = lambda states, images: posterior(bind(states, jax.random.key(0)), images)
    zeros = trained.info.zeros
    mean, _ = jax.eval_shape(coded, shapes(trained.system, zeros), zeros(1)["image"])
    if mean.shape[-1] < 2:
        raise UserError(
            f"mig: {trained.name} has one latent, and the gap is between two; leave it out"
        )


def _of_examples(scoring, data, count, values) -> dict[str, np.ndarray]:
    """{name: [count, ...]} of `values` (nets, batch, key) for held-out examples, each by itself."""
    fields = data.info.fields

    @jax.jit
    def run(states, batch, keys):
        return one_by_one(values, states, to_program(batch, fields), keys)

    found: dict[str, list] = {}
    for _, n, examples in chunks(data, spread(data, count), scoring.batch):
        keys = noise_keys(scoring.seed, examples["image"])
        for name, x in run(scoring.trained.states, examples, keys).items():
            found.setdefault(name, []).append(np.asarray(x, np.float64)[:n])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _record(scoring, name, values, data, count):
    return scores.record(
        name,
        value=float(values.mean()),
        deviation=float(values.std()),
        settings={},
        samples=count,
        **scores.measured_on(data),
        seed=scoring.seed,
    )


METRICS = {
    m.name: m
    for m in (
        Metric("reconstruction-l1", Autoencoder, reconstruction, check_images, False),
        Metric(
            "reconstruction-squared", Autoencoder, reconstruction, check_images, False, usual=True
        ),
        Metric("knn", Autoencoder, knn, check_labels, True),
        Metric("mig", Autoencoder, mig, check_mig, True),
        Metric("auroc", Energy, told_apart, check_other, True),
    )
}
