"""The records of scores: each with all that it depends on, a line of `scores.jsonl`.

A record is a JSON object: `metric`, `label` (its name as it may be published: the bare `fid` is
Inception's alone), `value` and, where it is a mean of several, their `deviation`; what the same
metric gives for `baselines`; where several seeds were trained, the value of each (`copies`), or the
number of the one that was scored (`copy`), of a sweep with its value (`sweep`, such as lr=0.001);
then its provenance (`CONDITIONS` and `SUBJECT`).
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import jaxgen
from jaxgen.errors import UserError

# How a score was measured.  Scores are compared where all of this is the same.
CONDITIONS = (
    *("features", "weights_sha256", "resize", "settings", "samples", "references"),
    *("data", "split", "data_fingerprint", "size", "direction", "choices", "ema", "version"),
)
# What was measured.
SUBJECT = ("images", "images_fingerprint", "seed", "copy", "sweep", "round", "date")


def record(metric: str, *, network: str | None = None, **about: Any) -> dict[str, Any]:
    """The line of one score: all that is not None, the version and the date.  UserError for a value
    that is not a number.

    network: the one for which the bare name stands in the literature; with other `features`, their
      name is added to the label.
    """
    features = about.get("features")
    label = metric if features in (None, network) else f"{metric}-{features}"
    if math.isnan(about["value"]):
        fix = "leave it out, or score another round or other data"
        raise UserError(f"{label} is not a number here; {fix}")
    date = datetime.now(UTC).isoformat(timespec="seconds")
    whole = {"metric": metric, "label": label, **about, "version": jaxgen.__version__, "date": date}
    return {k: v for k, v in whole.items() if v is not None}


def measured_on(data: Any) -> dict[str, Any]:
    """The part of a record's provenance that names the data (a `Data` of `jaxgen.load_data` or
    `jaxgen.arrays`)."""
    return {
        "data": data.spec,
        "split": data.split,
        "data_fingerprint": data.fingerprint,
        "size": side(data.size),
    }


def mean(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One record of what was measured of several seeds: the mean over them, their standard
    deviation, and `copies`, the value of each."""
    if len(records) == 1:
        return dict(records[0])
    values = [record["value"] for record in records]
    whole = dict(records[0]) | {"value": fmean(values), "deviation": pstdev(values)}
    if "bits_per_dimension" in whole:
        whole["bits_per_dimension"] = fmean(record["bits_per_dimension"] for record in records)
    for part in ("by_factor", "baselines"):
        each = [record[part] for record in records if part in record]
        whole |= {part: {k: fmean(one[k] for one in each) for k in each[0]}} if each else {}
    return whole | {"copies": values}


def of_copy(record: Mapping[str, Any], copy: int) -> dict[str, Any]:
    """The value of one of several seeds, from its own record or from that of all; else {}."""
    if "copies" in record:
        whole = {**record, "value": record["copies"][copy], "copy": copy}
        means = ("copies", "deviation", "bits_per_dimension", "by_factor", "baselines")
        return {k: v for k, v in whole.items() if k not in means}
    return dict(record) if record.get("copy") == copy else {}


def label(record: Mapping[str, Any]) -> str:
    """The metric's name as it may be published."""
    bare, features = record["metric"], record.get("features")
    return record.get("label", f"{bare}-{features}" if features else bare)


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
    """The value in five digits, with its deviation: that over seeds where it says so, else the
    metric's own."""
    deviation = record.get("deviation")
    text = f"{record['value']:.5g}" + (f" ± {deviation:.2g}" if deviation is not None else "")
    return text + (f" of {len(record['copies'])} seeds" if "copies" in record else "")


def said_of_copy(record: Mapping[str, Any]) -> str:
    """Which copy was scored, such as copy 1 (lr=0.001)."""
    value = record.get("sweep")
    return f"copy {record['copy']}" + (f" ({value})" if value else "")


def side(size: tuple[int, int]) -> int | list[int]:
    """A size as records have it: the side of a square, else [height, width]."""
    return size[0] if size[0] == size[1] else list(size)
