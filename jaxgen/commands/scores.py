"""Scores of made images against real ones, each with all that it depends on.

A score is a JSON object, a line of `scores.jsonl`: `metric`, `value` and, where it is a mean of
several, their `deviation`; then its provenance (`CONDITIONS` and `SUBJECT`).
"""

import dataclasses
import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxgen.commands.terminal import listed
from jaxgen.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from jaxgen.commands.restore import Trained
    from jaxgen.data.pipeline import Data

LEAST = 10  # images of either set; a score of fewer says nothing
SWD_IMAGES = 2048  # at most; 128 patches each

# How a score was measured.  Scores are compared where all of this is the same.
CONDITIONS = (
    *("features", "weights_sha256", "resize", "settings", "samples", "references"),
    *("data", "split", "data_fingerprint", "size", "direction", "ema", "version"),
)
# What was measured.
SUBJECT = ("images", "images_fingerprint", "seed", "round", "date")

Set = Mapping[str, Any]  # {"features": [N, D], "logits": [N, C], "pixels": uint8 [N, H, W, C]}
Values = dict[str, tuple[float, float | None]]  # {metric: (value, deviation)}


@dataclasses.dataclass(frozen=True)
class Metric:
    """compute: (made, real, seed) -> the values, also of its sister metrics, and the settings.

    made, real: what it needs of each set.
    network: the one for which the bare name stands in the literature; with another one, that one's
      name is added.
    """

    compute: Callable[[Set, Set, int], tuple[Values, dict[str, Any]]]
    made: str
    real: str | None
    higher_is_better: bool
    network: str | None = "inception"


def _fid(made, real, seed):
    from jaxgen.metrics.fid import fid, moments

    value = fid(moments(made["features"]), moments(real["features"]))
    return {"fid": (float(value), None)}, {}


def _kid(made, real, seed):
    import jax

    from jaxgen.metrics.kid import kid, kid_subsets

    x, y = made["features"], real["features"]
    if min(len(x), len(y)) < 1000:
        return {"kid": (float(kid(x, y)), None)}, {"subsets": "none: all at once"}
    found = kid_subsets(x, y, jax.random.key(seed), subsets=100, size=1000)
    return {"kid": (float(found.mean()), float(found.std()))}, {"subsets": "100 of 1000"}


def _inception_score(made, real, seed):
    import jax

    from jaxgen.metrics.inception_score import inception_score

    found = inception_score(made["logits"], splits=10, key=jax.random.key(seed))
    return {"is": (float(found.mean), float(found.std))}, {"splits": 10}


def _precision_recall(made, real, seed):
    from jaxgen.metrics.precision_recall import precision_recall

    found = precision_recall(real["features"], made["features"], k=3)
    return {name: (float(x), None) for name, x in found._asdict().items()}, {"k": 3}


def _density_coverage(made, real, seed):
    from jaxgen.metrics.precision_recall import density_coverage

    found = density_coverage(real["features"], made["features"], k=5)
    return {name: (float(x), None) for name, x in found._asdict().items()}, {"k": 5}


def _swd(made, real, seed):
    """Times 1,000, the mean over the levels."""
    import jax
    import numpy as np

    from jaxgen.metrics.swd import swd

    n = min(len(made["pixels"]), len(real["pixels"]), SWD_IMAGES)
    some = lambda x: x["pixels"][np.arange(n) * len(x["pixels"]) // n]
    try:
        value = swd(some(real), some(made), jax.random.key(seed)).mean()
    except ValueError as error:
        raise UserError(f"swd: {error}; leave it out, or use other sizes") from None
    return {"swd": (1000 * float(value), None)}, {"images": n}


METRICS = {
    "fid": Metric(_fid, "features", "features", higher_is_better=False),
    "kid": Metric(_kid, "features", "features", higher_is_better=False),
    "is": Metric(_inception_score, "logits", None, higher_is_better=True),
    "precision": Metric(_precision_recall, "features", "features", True, "vgg16"),
    "recall": Metric(_precision_recall, "features", "features", True, "vgg16"),
    "density": Metric(_density_coverage, "features", "features", True, "vgg16"),
    "coverage": Metric(_density_coverage, "features", "features", True, "vgg16"),
    "swd": Metric(_swd, "pixels", "pixels", False, None),
}


def check_metrics(names: Sequence[str]) -> None:
    """UserError for a metric that there is not."""
    for name in names:
        if name not in METRICS:
            raise UserError(unknown(name, METRICS))
    if not names:
        raise UserError(f"name a metric or more: {listed(list(METRICS))}")


def unknown(name: str, known: Iterable[str]) -> str:
    """What to say of a metric that is none of `known`."""
    near = difflib.get_close_matches(name, known := list(known), 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {listed(known, 'and')}"
    return f'there is no metric "{name}"; {hint}'


def record(metric: str, **about: Any) -> dict[str, Any]:
    """The line of one score: all that is not None, the version and the date."""
    import jaxgen

    date = datetime.now(UTC).isoformat(timespec="seconds")
    whole = {"metric": metric, **about, "version": jaxgen.__version__, "date": date}
    return {k: v for k, v in whole.items() if v is not None}


def label(record: Mapping[str, Any]) -> str:
    """The metric's name as it may be published: the bare `fid` is Inception's alone."""
    metric, network = METRICS.get(record["metric"]), record.get("features")
    bare = network is None or (metric and metric.network == network)
    return record["metric"] if bare else f"{record['metric']}-{network}"


def network_for(names: Sequence[str], features: str, weights: Path | None) -> Any:
    """The feature network, or None where only pixels count; UserError where it cannot be had."""
    if all(METRICS[name].made == "pixels" for name in names):
        return None
    from jaxgen.weights.features import extractor

    return extractor(features, weights)


def scores(
    names: Sequence[str],
    network: Any,
    made: Iterable["np.ndarray"],
    data: "Data",
    *,
    references: int | None = None,
    batch: int = 64,
    seed: int = 0,
    **about: Any,
) -> list[dict[str, Any]]:
    """The records of `names`, of the images `made` (uint8 [b, H, W, C] at a time) beside `data`.

    network: of `network_for`.  references: how many images of the data count, all by default.
    about: what else the records tell.
    """
    check_metrics(names)
    count = min(references or len(data), len(data))
    if count < LEAST:
        raise UserError(
            f"{data.spec} ({data.split}) has {count} images, too few to compare with; "
            f"give {LEAST} or more, better thousands"
        )
    wanted = {METRICS[name].made for name in names}
    ours = describe(made, network, wanted, batch)
    theirs = _described(data, count, network, {METRICS[n].real for n in names} - {None}, batch)
    samples = len(next(iter(ours.values())))
    seen: dict[Callable, tuple[Values, dict]] = {}
    records = []
    for name in names:
        metric = METRICS[name]
        if metric.compute not in seen:
            seen[metric.compute] = metric.compute(ours, theirs, seed)
        values, settings = seen[metric.compute]
        value, deviation = values[name]
        by_network = metric.made != "pixels"
        one = {
            "value": value,
            "deviation": deviation,
            "features": network.name if by_network else None,
            "weights_sha256": network.sha256 if by_network else None,
            "resize": network.resize if by_network else None,
            "settings": settings,
            "samples": samples,
            "references": count,
            "data": data.spec,
            "split": data.split,
            "data_fingerprint": data.fingerprint,
            "size": data.size,
            "seed": seed,
        }
        records.append(record(name, **one, **about))
    return records


def spread(data: "Data", count: int) -> list[int]:
    """`count` examples from all over the set."""
    return [i * len(data) // count for i in range(count)]


def chunks(
    data: "Data", chosen: Sequence[int], batch: int
) -> Iterator[tuple[int, int, dict[str, "np.ndarray"]]]:
    """The chosen examples, with a progress line: (place of the chunk's first one, how many are in
    it, `batch` examples). The last chunk repeats its own, so that one program serves for all."""
    from tqdm import tqdm

    bar = tqdm(desc=data.spec, total=len(chosen), unit="image", leave=False, disable=None)
    with bar:
        for first in range(0, len(chosen), batch):
            part = chosen[first : first + batch]
            yield first, len(part), data.take([part[i % len(part)] for i in range(batch)])
            bar.update(len(part))


def measured(
    trained: "Trained", names: Sequence[str], data: "Data", count: int, batch: int, seed: int
) -> dict[str, dict[str, float]]:
    """`{name: {"value", "deviation"}}` of the system's own measures, over `count` examples."""
    import jax
    import numpy as np

    from jaxgen.train.game import look, to_float

    @jax.jit
    def run(states, batch, key):
        nets, batch = look(trained.system, states, key), to_float(batch)
        return {name: trained.system.measures[name](nets, batch, key) for name in names}

    found: dict[str, list] = {name: [] for name in names}
    for first, n, examples in chunks(data, spread(data, count), batch):
        key = jax.random.fold_in(jax.random.key(seed), first)
        for name, values in run(trained.states, examples, key).items():
            found[name].append(np.asarray(values, np.float64)[:n])
    every = {name: np.concatenate(values) for name, values in found.items()}
    return {k: {"value": float(x.mean()), "deviation": float(x.std())} for k, x in every.items()}


def describe(
    images: Iterable["np.ndarray"], network: Any, wanted: set[str], batch: int = 64
) -> dict[str, "np.ndarray"]:
    """What the metrics want to know of images that come uint8 [b, H, W, C], b <= batch, at a time.

    The batches are split over this process's devices.
    """
    import jax
    import numpy as np

    from jaxgen import parallel
    from jaxgen.train import devices
    from jaxgen.train.game import to_float

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
                        f"{network.name} gives no {name}, which a metric needs; use another one by "
                        "--features"
                    )
                parts[name].append(np.asarray(found[name])[:n])
    return {name: np.concatenate(x) for name, x in parts.items()}


def _described(data, count, network, wanted, batch) -> dict[str, "np.ndarray"]:
    """`describe` of `count` of the data's images; features are kept in the cache."""
    import numpy as np

    from jaxgen.data.source import digest
    from jaxgen.files import cache_folder, replacing

    found = {}
    if "features" in wanted:
        key = (data.fingerprint, data.size, count, network.name, network.sha256, network.resize)
        path = cache_folder() / "statistics" / f"{digest(*map(str, key))}.npy"
        with suppress(OSError, EOFError, ValueError):  # none yet, or a damaged one
            found["features"] = np.load(path)
        if len(found.get("features", ())) != count:
            found |= describe(pictures(data, count, batch), network, wanted, batch)
            with suppress(OSError):  # without a cache it only takes longer the next time
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary:
                    np.save(temporary, found["features"])
    if missing := wanted - found.keys():
        found |= describe(pictures(data, count, batch), network, missing, batch)
    return found


def pictures(data: "Data", count: int, batch: int, what: str = "") -> Iterator["np.ndarray"]:
    """`count` images from all over the data, uint8 [b, size, size, C] at a time."""
    import numpy as np
    from tqdm import tqdm

    margin = (data.stored - data.size) // 2
    middle = slice(margin, margin + data.size)
    chosen = [i * len(data) // count for i in range(count)]
    bar = tqdm(*(None, what or data.spec, count), unit="image", leave=False, disable=None)

    def read(i):
        try:
            return data[i]["image"][middle, middle]
        except KeyError:
            raise UserError(
                f"{data.spec} has pairs of images; name one side's folder as folder:DIR"
            ) from None

    with bar, ThreadPoolExecutor() as threads:
        for first in range(0, count, batch):
            chunk = np.stack(list(threads.map(read, chosen[first : first + batch])))
            bar.update(len(chunk))
            yield chunk


def append(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Adds a line a record."""
    lines = "".join(json.dumps(record) + "\n" for record in records)
    with open(path, "a", encoding="utf-8") as file:
        file.write(lines)


def read(path: Path) -> list[dict[str, Any]]:
    """The whole records of a file; none where there is no file."""
    records = []
    with suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):  # half a line
                records.append(json.loads(line))
    return [x for x in records if isinstance(x, dict) and {"metric", "value"} <= x.keys()]


def said(record: Mapping[str, Any]) -> str:
    """The value in five digits, with its deviation."""
    deviation = record.get("deviation")
    return f"{record['value']:.5g}" + (f" ± {deviation:.2g}" if deviation is not None else "")
