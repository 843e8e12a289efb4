"""Scores of sets of images: generated ones against real ones (FID, KID, IS, PPL and the like)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import jax
import numpy as np

from jaxgen import parallel
from jaxgen.data.source import digest, to_float
from jaxgen.errors import UserError
from jaxgen.evaluate import scores
from jaxgen.evaluate.agreement import told
from jaxgen.evaluate.metric import LEAST, SAMPLES, Metric, Scoring, check_fields, chunks, spread
from jaxgen.files import kept_folder, replacing
from jaxgen.latents import lerp, slerp
from jaxgen.metrics.fid import fid, moments
from jaxgen.metrics.inception_score import inception_score
from jaxgen.metrics.kid import kid, kid_subsets
from jaxgen.metrics.ppl import EPS, ppl, sphere
from jaxgen.metrics.precision_recall import density_coverage, precision_recall
from jaxgen.metrics.swd import swd
from jaxgen.progress import progress
from jaxgen.runs.choices import conditions
from jaxgen.runs.choices import values as chosen_options
from jaxgen.runs.sampling import prepared, samples
from jaxgen.train import devices
from jaxgen.train.abilities import LatentSpace, Sampler
from jaxgen.weights import distances
from jaxgen.weights.features import extractor

SWD_IMAGES = 2048  # at most; 128 patches each

Set = Mapping[str, Any]  # {"features": [N, D], "logits": [N, C], "pixels": uint8 [N, H, W, C]}
Values = Mapping[str, tuple[float, float | None]]  # {metric: (value, deviation)}


def _fid(generated, real, seed):
    value = fid(moments(generated["features"]), moments(real["features"]))
    return {"fid": (float(value), None)}, {}


def _kid(generated, real, seed):
    x, y = generated["features"], real["features"]
    if min(len(x), len(y)) < 1000:
        return {"kid": (float(kid(x, y)), None)}, {"subsets": "none: all at once"}
    found = kid_subsets(x, y, jax.random.key(seed), subsets=100, size=1000)
    return {"kid": (float(found.mean()), float(found.std()))}, {"subsets": "100 of 1000"}


def _inception_score(generated, real, seed):
    found = inception_score(generated["logits"], splits=10, key=jax.random.key(seed))
    return {"is": (float(found.mean), float(found.std))}, {"splits": 10}


def _precision_recall(generated, real, seed):
    found = precision_recall(real["features"], generated["features"], k=3)
    return {name: (float(x), None) for name, x in found._asdict().items()}, {"k": 3}


def _density_coverage(generated, real, seed):
    found = density_coverage(real["features"], generated["features"], k=5)
    return {name: (float(x), None) for name, x in found._asdict().items()}, {"k": 5}


def _swd(generated, real, seed):
    """Times 1,000, the mean over the levels."""
    n = min(len(generated["pixels"]), len(real["pixels"]), SWD_IMAGES)
    some = lambda x: x["pixels"][np.arange(n) * len(x["pixels"]) // n]
    try:
        value = swd(some(real), some(generated), jax.random.key(seed)).mean()
    except ValueError as error:
        raise UserError(f"swd: {error}; leave it out, or use other sizes") from None
    return {"swd": (1000 * float(value), None)}, {"images": n}


# (generated, real, seed) -> the values, also of sister metrics, and the settings.
COMPUTE: dict[str, Callable[[Set, Set, int], tuple[Values, dict[str, Any]]]] = {
    "fid": _fid,
    "kid": _kid,
    "is": _inception_score,
    **dict.fromkeys(("precision", "recall"), _precision_recall),
    **dict.fromkeys(("density", "coverage"), _density_coverage),
    "swd": _swd,
}


def score(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """Samples of the run against real images."""
    count = scoring.samples or SAMPLES
    network = network_for(names, scoring.features, scoring.weights)
    options, data = {"seed": scoring.seed, "batch": scoring.batch}, scoring.real("train")
    choices = {**_asked(scoring, names[0], data, count), **scoring.choices}
    generated = samples(scoring.trained, count, **options, **choices)
    return compare(names, network, generated, data, references=scoring.references, **options)


def _asked(scoring: Scoring, name: str, data, count: int) -> dict[str, np.ndarray]:
    """The texts and attributes of `count` examples of the data, for a sampler that takes some which
    were not chosen."""
    wanted = [x for x in told(scoring.trained.system) if x not in scoring.choices]
    if not wanted:
        return {}
    known, parts = scoring.given(name, data, *wanted), {x: [] for x in wanted}
    for _, n, taken in chunks(known, spread(known, min(count, len(known))), scoring.batch):
        for x in wanted:
            parts[x].append(taken[x][:n])
    return {x: np.concatenate(rows) for x, rows in parts.items()}


def check(names: Sequence[str], data, samples: int, references: int | None = None) -> None:
    """UserError for scores that cannot be had of so many images of this data."""
    if samples < LEAST:
        raise UserError(f"samples are {LEAST} or more, better thousands, not {samples}")
    if min(references or len(data), len(data)) < LEAST:
        raise UserError(
            f"{data.spec} ({data.split}) has {len(data)} images, too few to compare with; "
            f"give {LEAST} or more, better thousands"
        )
    _check_images(data)
    if "swd" in names:
        n = min(samples, len(data), 16)
        some = {"pixels": np.stack([data.take([i])["image"][0] for i in range(n)])}
        _swd(some, some, 0)


def _check_images(data) -> None:
    if "image" not in data.info.fields:
        raise UserError(f"{data.spec} has pairs of images; name one side's folder as folder:DIR")


def network_for(names: Sequence[str], features: str, weights) -> Any:
    """The feature network, or None where only pixels count; UserError where it cannot be had."""
    if all(METRICS[name].needs == "pixels" for name in names):
        return None
    return extractor(features, weights)


def compare(
    names: Sequence[str],
    network: Any,
    generated: Iterable[np.ndarray],
    data,
    *,
    references: int | None = None,
    batch: int = 64,
    seed: int = 0,
    **about: Any,
) -> list[dict[str, Any]]:
    """The records of `names`, of the images `generated` (uint8 [b, H, W, C] at a time) against
    `data`.

    network: of `network_for`.  references: how many images of the data count, all by default.
    about: what else the records say.
    """
    count = min(references or len(data), len(data))
    check([], data, LEAST, references)
    ours = describe(generated, network, {METRICS[name].needs for name in names}, batch)
    wanted = {METRICS[name].needs for name in names if name != "is"}
    theirs = _described(data, count, network, wanted, batch)
    found: dict[Callable, tuple[Values, dict]] = {}
    records = []
    for name in names:
        if COMPUTE[name] not in found:
            found[COMPUTE[name]] = COMPUTE[name](ours, theirs, seed)
        values, settings = found[COMPUTE[name]]
        by_network = network if METRICS[name].needs != "pixels" else None
        value, deviation = values[name]
        one = scores.record(
            name,
            network=METRICS[name].network,
            value=value,
            deviation=deviation,
            features=by_network and by_network.name,
            weights_sha256=by_network and by_network.sha256,
            resize=by_network and by_network.resize,
            settings=settings,
            samples=len(next(iter(ours.values()))),
            references=count,
            **scores.measured_on(data),
            seed=seed,
            **about,
        )
        records.append(one)
    return records


def describe(
    images: Iterable[np.ndarray], network: Any, wanted: set[str], batch: int = 64
) -> dict[str, np.ndarray]:
    """What the metrics want to know of images that come uint8 [b, h, w, c], b <= batch, at a time.

    The batches are split over this process's devices.
    """
    where = devices.sharding(devices.make_mesh(jax.local_devices()), parallel.AXIS)
    size = -(-batch // where.mesh.devices.size) * where.mesh.devices.size
    parts: dict[str, list] = {name: [] for name in sorted(wanted)}
    for chunk in images:
        n = len(chunk)
        if "pixels" in parts:
            parts["pixels"].append(chunk)
        if wanted - {"pixels"}:
            whole = chunk[np.arange(size) % n]  # of one size, so that one program serves
            found = network.apply(to_float(jax.device_put(whole, where)))
            for name in wanted - {"pixels"}:
                if name not in found:
                    raise UserError(
                        f"{network.name} gives no {name}, which a metric needs; use other features"
                    )
                parts[name].append(np.asarray(found[name])[:n])
    return {name: np.concatenate(x) for name, x in parts.items()}


def _described(data, count, network, wanted, batch) -> dict[str, np.ndarray]:
    """`describe` of `count` of the data's images; features are kept in the cache."""
    found = {}
    if "features" in wanted:
        side = scores.side(data.size)
        key = (data.fingerprint, side, count, network.name, network.sha256, network.resize)
        name = f"{digest(*map(str, key))}.npy"
        with suppress(OSError, EOFError, ValueError, UserError):  # none yet, or a damaged one
            found["features"] = np.load(kept_folder("statistics") / name)
        if len(found.get("features", ())) != count:
            found |= describe(pictures(data, count, batch), network, wanted, batch)
            # Without a cache it only takes longer the next time.
            with (
                suppress(OSError, UserError),
                replacing(kept_folder("statistics") / name) as temporary,
            ):
                np.save(temporary, found["features"])
    if missing := wanted - found.keys():
        found |= describe(pictures(data, count, batch), network, missing, batch)
    return found


def pictures(data, count: int, batch: int) -> Iterator[np.ndarray]:
    """`count` images from all over the data, uint8 [b, h, w, c] at a time."""
    _check_images(data)
    chosen = spread(data, count)
    bar = progress(what=data.spec, total=count, unit="image")
    read = lambda i: data.take([i])["image"][0]
    with bar, ThreadPoolExecutor() as threads:
        for first in range(0, count, batch):
            chunk = np.stack(list(threads.map(read, chosen[first : first + batch])))
            bar.update(len(chunk))
            yield chunk


def arc(a: jax.Array, b: jax.Array, t: jax.Array) -> jax.Array:
    """The reference's path in Z, in the usual length of k Gaussian numbers, sqrt(k): a generator
    that normalises z sees no difference, any other would never have seen the unit sphere."""
    return np.sqrt(a.shape[-1]) * sphere(a, b, t)


def check_sets(scoring: Scoring, name: str) -> None:
    """UserError for too few or too small images, data without single ones, or weights that are
    missing."""
    data = scoring.real("train")
    check([name], data, scoring.samples or SAMPLES, scoring.references)
    chosen = [x for x in told(scoring.trained.system) if x not in scoring.choices]
    check_fields(name, data, *chosen)
    network_for([name], scoring.features, scoring.weights)


def check_path_length(scoring: Scoring, name: str) -> None:
    """UserError for weights that ppl misses, or images that are too small for its distance."""
    distance = distances.distance(scoring.distance, scoring.weights)
    distances.check(distance, scoring.trained.info.shape)


def path_length(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """PPL between samples: by `arc` where latents are Gaussian, else on the system's own path; and
    in its other latent space, such as StyleGAN's W, on straight lines."""
    trained, sampler = scoring.trained, scoring.trained.ability(Sampler, "draws no samples")
    d = distances.distance(scoring.distance, scoring.weights)
    key, key_net = jax.random.split(jax.random.key(scoring.seed))
    chosen = chosen_options(sampler.options, scoring.choices)
    trained, options = prepared(trained, sampler, chosen), dict(chosen)
    condition = conditions(trained.info, sampler.condition, scoring.choices, scoring.batch)
    # Bound anew at each call, so that both ends of a step draw the same noise.
    nets = lambda: trained.nets(scoring.seed)

    def measured(name):
        space = trained.system.ability(LatentSpace) if name == "ppl-w" else None
        if space:
            generate = lambda w: space.generate(nets(), w, space.maps(nets()))
            latent, along = lambda key, n: space.points(nets(), key, n), lerp
        else:
            generate = lambda z: sampler.generate(nets(), z, condition, key_net, **options)
            along = arc if sampler.interpolate is slerp else sampler.interpolate
            latent = sampler.prior
        value = ppl(
            generate,
            d.apply,
            latent,
            key,
            scoring.samples or SAMPLES,
            scoring.batch,
            between=along,
        )
        return scores.record(
            name,
            value=float(value),
            features=scoring.distance,
            weights_sha256=d.sha256,
            settings={
                "eps": EPS,
                "percentiles": [1, 99],
                "between": getattr(along, "__name__", "?"),
            },
            samples=scoring.samples or SAMPLES,
            size=scores.side(trained.info.shape[:2]),
            seed=scoring.seed,
        )

    return list(map(measured, names))


METRICS = {
    m.name: m
    for m in (
        Metric("fid", Sampler, score, check_sets, False, True, "features", "inception"),
        Metric("kid", Sampler, score, check_sets, False, True, "features", "inception"),
        Metric("is", Sampler, score, check_sets, True, False, "logits", "inception"),
        Metric("precision", Sampler, score, check_sets, True, False, "features", "vgg16"),
        Metric("recall", Sampler, score, check_sets, True, False, "features", "vgg16"),
        Metric("density", Sampler, score, check_sets, True, False, "features", "vgg16"),
        Metric("coverage", Sampler, score, check_sets, True, False, "features", "vgg16"),
        Metric("swd", Sampler, score, check_sets, False, False, "pixels"),
        Metric("ppl", Sampler, path_length, check_path_length, False),
        Metric("ppl-w", LatentSpace, path_length, check_path_length, False),
    )
}
