"""Scores of pairs of images: each translated image beside its ground truth."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.data.folders import matched
from jaxgen.data.source import to_float, to_program
from jaxgen.errors import UserError
from jaxgen.evaluate import scores
from jaxgen.evaluate.metric import Metric, Scoring, check_fields, chunks, spread
from jaxgen.metrics import pixels, segmentation
from jaxgen.nn import imagenet
from jaxgen.pictures import as_uint8
from jaxgen.progress import progress
from jaxgen.runs.choices import values as chosen_options
from jaxgen.runs.translating import translator
from jaxgen.train.abilities import SET, Translator
from jaxgen.train.nets import bind
from jaxgen.weights import distances

EQUAL = 100.0  # dB, for PSNR of images that are equal, so that means stay finite
MEAN_OF = 1000  # targets of the training set, whose mean image is a baseline
SEGMENTATION = {"pixel-accuracy": "pixel", "class-accuracy": "classwise", "iou": "iou"}

# {"generated" or a baseline's name: uint8 [b, H, W, C], "ground truth": ...}
Arrays = Mapping[str, np.ndarray]


def networks(names: Sequence[str], weights: Path | None) -> dict[str, Any]:
    """The perceptual distances among `names`; UserError where one cannot be had."""
    return {n: distances.distance(n, weights) for n in names if n in distances.NAMES}


def score(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """Held-out examples, translated."""
    way = translator(scoring.trained, scoring.direction)
    data, count = _held_out(scoring, names[0])
    trunks = networks(names, scoring.weights)
    found = compare(
        names, translations(scoring, way, data, count, "spread" in names), trunks, _border(way)
    )
    return [
        scores.record(
            name,
            **values,
            weights_sha256=trunks[name].sha256 if name in trunks else None,
            settings={"border": _border(way)},
            samples=count,
            **scores.measured_on(data),
            direction=way.name or None,
            seed=scoring.seed,
        )
        for name, values in found.items()
    ]


def check(scoring: Scoring, name: str) -> None:
    """UserError for a score that translations cannot have: of data without pairs, of label maps, of
    larger images, or by weights that are missing."""
    way, (data, _) = translator(scoring.trained, scoring.direction), _held_out(scoring, name)
    fields = data.info.fields
    pair = lambda batch: way.pair(to_program(batch, fields))
    try:
        truth = jax.eval_shape(pair, data.take([0]))[1]
    except KeyError as error:
        check_fields(name, data, error.args[0])
        raise
    if name in SEGMENTATION:
        if not jnp.issubdtype(truth.dtype, jnp.integer):
            raise UserError(f"{name} needs a ground truth of label maps; leave it out")
    elif name in distances.NAMES:
        height, width, channels = truth.shape[1:]
        rim = 2 * _border(way)
        shape = (height - rim, width - rim, channels)
        distances.check(distances.distance(name, scoring.weights), shape)
    else:
        seen = functools.partial(_score, name, distances={}, border=_border(way))
        picture = jax.ShapeDtypeStruct(truth.shape, jnp.uint8)
        jax.eval_shape(lambda x: seen(x, x), picture)


def _held_out(scoring: Scoring, name: str) -> tuple[Any, int]:
    """Held-out examples, with labels and attributes as the system knows them."""
    way, (data, count) = translator(scoring.trained, scoring.direction), scoring.held_out()
    kinds = {field: about.kind for field, about in scoring.trained.info.fields.items()}
    known = [x for x in way.inputs[1:] if kinds.get(x) in ("label", "attributes")]
    if SET in way.inputs:
        known += [x for x, about in data.info.fields.items() if about.kind == "attributes"]
    return scoring.given(name, data, *known), count


def _border(way: Translator) -> int:
    """Pixels that are not compared: the scale, as super-resolution papers have it."""
    return way.scale if way.scale > 1 else 0


def compare(
    names: Sequence[str], chunks: Iterable[Arrays], distances: Mapping[str, Any], border: int = 0
) -> dict[str, dict[str, Any]]:
    """`{name: {"value", "deviation", "baselines"}}`: the mean over images and their deviation, and
    the means of the baselines, which are what else the chunks hold.  Segmentation scores are of all
    pixels together.

    border: pixels that are not compared, on every side.
    """
    found: dict[str, dict[str, list]] = {name: {} for name in names}
    for chunk in chunks:
        others = {"ground truth", "again"}
        for whose in chunk.keys() - others:
            for name in names:
                truth = chunk["again" if name == "spread" else "ground truth"]
                if name == "spread" and whose != "generated":
                    continue
                value = _score(name, chunk[whose], truth, distances, border)
                found[name].setdefault(whose, []).append(np.asarray(value, np.float64))
    return {name: _summary(name, values) for name, values in found.items()}


def _summary(name, values):
    if name in SEGMENTATION:
        largest = max(len(x) for parts in values.values() for x in parts)
        grown = lambda x: np.pad(x.astype(np.int64), (0, largest - len(x)))
        total = {whose: sum(map(grown, parts)) for whose, parts in values.items()}
        every = {k: getattr(segmentation.scores(x), SEGMENTATION[name]) for k, x in total.items()}
        deviation = None
    else:
        joined = {whose: np.concatenate(parts) for whose, parts in values.items()}
        every = {whose: float(x.mean()) for whose, x in joined.items()}
        deviation = float(joined["generated"].std())
    baselines = {k: x for k, x in sorted(every.items()) if k != "generated"}
    return {"value": every["generated"], "deviation": deviation, "baselines": baselines}


def _score(name, generated, truth, distances, border):
    """One a picture [b], of uint8 images; of label maps the confusion [n, n]."""
    generated, truth = pixels.crop(generated, border), pixels.crop(truth, border)
    if name in SEGMENTATION:
        if truth.shape[-1] != 1 or generated.shape[-1] != 1:
            raise UserError(f"{name} compares label maps of one channel; leave it out")
        seen = np.concatenate([truth.ravel(), generated.ravel()])
        classes = int(max(seen[seen != 255], default=0)) + 1
        known = np.minimum(generated, classes - 1)
        return np.asarray(segmentation.confusion(np.int32(truth), np.int32(known), classes))
    if generated.shape[-1] != truth.shape[-1]:  # a grey input as the baseline of a coloured target
        generated, truth = (
            (imagenet.rgb(to_float(x)) + 1).clip(0, 2) * 127.5
            for x in map(jnp.asarray, (generated, truth))
        )
    floats = lambda x: jnp.asarray(x, jnp.float32)
    if name in ("l1", "spread"):
        return abs(floats(generated) - floats(truth)).mean((1, 2, 3)) / 127.5
    if name in distances:
        return distances[name].apply(*(floats(x) / 127.5 - 1 for x in (generated, truth)))
    if name.endswith("-y"):
        if generated.shape[-1] == 3:
            generated, truth = pixels.luma(generated), pixels.luma(truth)
        name = name.removesuffix("-y")
    compute = {"psnr": pixels.psnr, "ssim": pixels.ssim, "ms-ssim": pixels.ms_ssim}[name]
    try:
        return compute(generated, truth).clip(max=EQUAL)
    except ValueError as error:
        raise UserError(f"{name}: {error}; leave it out, or use larger images") from None


def translations(
    scoring: Scoring, way: Translator, data, count: int, twice: bool = False
) -> Iterator[Arrays]:
    """`count` examples of `data` translated (`twice`: "again" with other noise), their ground
    truth, and two baselines: the input itself (enlarged bicubically where the output is larger),
    and the mean target of the training set, where that has targets."""
    fields, options = data.info.fields, dict(chosen_options(way.options, scoring.choices))

    @jax.jit
    def run(states, batch, key):
        inputs, truth = way.pair(to_program(batch, fields))
        made = lambda key: way.translate(bind(states, key), inputs, key, **options)
        given = inputs[way.inputs[0]]
        size = (*truth.shape[:3], given.shape[-1])
        given = given if given.shape[1:3] == size[1:3] else jax.image.resize(given, size, "cubic")
        again = {"again": made(jax.random.fold_in(key, 1))} if twice else {}
        return {"generated": made(key), "ground truth": truth, "input": given, **again}

    targets = jax.jit(lambda batch: way.pair(to_program(batch, fields))[1])
    train = scoring.taught()
    try:
        mean = np.mean(targets(train.examples(min(MEAN_OF, len(train)))), 0)
    except KeyError:  # held-out examples alone show what an edit comes to
        mean = None
    key = jax.random.key(scoring.seed)
    for first, n, examples in chunks(data, spread(data, count), scoring.batch):
        found = run(scoring.trained.states, examples, jax.random.fold_in(key, first))
        labels = jnp.issubdtype(found["ground truth"].dtype, jnp.integer)
        for name, x in found.items():
            whole = np.asarray(x, np.uint8) if labels and name != "input" else as_uint8(x)
            found[name] = whole[:n]
        if labels or found["input"].shape[-1] not in (1, 3, 4):
            del found["input"]
        if not labels and mean is not None:
            found["mean"] = np.broadcast_to(as_uint8(mean), found["ground truth"].shape)
        yield found


def of_folders(images: Path, reference: Path) -> Iterator[Arrays]:
    """Files of two folders that have one name, each pair at its own size."""
    source = matched(images, reference, f"{images} and {reference}")
    for i in progress(range(len(source)), unit="image"):
        pair = source[i]
        if pair["a"].shape != pair["b"].shape:
            shapes = (" x ".join(map(str, x.shape)) for x in (pair["a"], pair["b"]))
            raise UserError(
                f"image {i + 1} of {images} and its partner differ in size or channels "
                f"({' and '.join(shapes)}); make them alike"
            )
        yield {"generated": pair["a"][None], "ground truth": pair["b"][None]}


# l1 is in units of [-1, 1]; psnr and ssim are those of RGB, of 8 bits; with -y those of the luma,
# as super-resolution papers score it.  spread is the mean absolute difference of two outputs for
# one input, under different noise.
METRICS = {
    m.name: m
    for m in (
        Metric("l1", Translator, score, check, False, usual=True),
        Metric("psnr", Translator, score, check, True),
        Metric("psnr-y", Translator, score, check, True),
        Metric("ssim", Translator, score, check, True),
        Metric("ssim-y", Translator, score, check, True),
        Metric("ms-ssim", Translator, score, check, True),
        Metric("squeezenet-distance", Translator, score, check, False, usual=True),
        Metric("lpips-vgg", Translator, score, check, False),
        Metric("lpips-squeeze", Translator, score, check, False),
        Metric("spread", Translator, score, check, True),
        *(Metric(name, Translator, score, check, True) for name in SEGMENTATION),
    )
}
