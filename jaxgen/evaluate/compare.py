"""The newest scores of several runs, side by side."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError
from jaxgen.evaluate import scores
from jaxgen.evaluate.run import higher_is_better

Records = Mapping[str, Mapping[str, Any]]


def newest(run: Path) -> dict[str, Records]:
    """The last score of each metric and feature network, by label, of the run; and of those of its
    seeds, or of a sweep's values, that were scored by themselves: {"RUN": ..., "RUN, copy 1": ...,
    "RUN, copy 1 (lr=0.001)": ...}.

    Likelihoods of the same kind of x have one label, whatever their system calls them; of several
    bounds the tightest counts.  An objective that is no likelihood has a label of its own.
    """
    path = run / "scores.jsonl" if run.is_dir() else run
    found: dict[int | None, dict[str, dict[str, Any]]] = {}
    for record in scores.read(path):
        found.setdefault(record.get("copy"), {})[scores.label(record)] = record
    if not found:
        if not run.exists():
            raise UserError(f"there is no {run}; name run folders, such as runs/wgan")
        raise UserError(f"{run} has no scores yet; make some with python -m jaxgen evaluate {run}")
    for name, record in (item for own in found.values() for item in own.items()):
        if not isinstance(value := record["value"], int | float) or math.isnan(value):
            raise UserError(
                f"{path}: {name} is {value}, which is no number; evaluate it again, or take the "
                "line out"
            )

    def named(copy):
        if copy is None:
            return f"{run}"
        told = {k: x for record in found[copy].values() for k, x in record.items()}
        return f"{run}, {scores.said_of_copy(told)}"

    in_order = sorted(found, key=lambda copy: -1 if copy is None else copy)
    return {named(copy): _by_kind(found[copy]) for copy in in_order}


def _by_kind(found: Records) -> Records:
    by_label: dict[str, Mapping[str, Any]] = {}
    for name, record in found.items():
        settings = record.get("settings", {})
        if of := settings.get("of"):
            name = f"log p, {of}" if settings.get("likelihood", True) else f"{name}, {of}"
            if name in by_label and by_label[name]["value"] > record["value"]:
                continue
        by_label[name] = record
    return by_label


def differences(columns: Mapping[str, Records]) -> dict[str, list[str]]:
    """For each metric that cannot be ranked, the conditions that differ, with their values."""
    found = {}
    for name in _labels(columns):
        records = [column[name] for column in columns.values() if name in column]
        parts = [
            f"{condition}: {' / '.join(values)}"
            for condition in scores.CONDITIONS
            if len(set(values := _short([record.get(condition) for record in records]))) > 1
        ]
        if parts:
            found[name] = parts
    return found


def best(columns: Mapping[str, Records], refused: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The best value of each metric that several runs have and that is not `refused`."""
    found = {}
    for name in _labels(columns):
        own = [column[name] for column in columns.values() if name in column]
        up = higher_is_better(own[0])
        if up is not None and name not in refused and len(own) > 1:
            found[name] = (max if up else min)(record["value"] for record in own)
    return found


def table(columns: Mapping[str, Records], best: Mapping[str, float]) -> str:
    """A row a run, a column a metric; a star at what is `best`."""
    names = _labels(columns)
    rows = [["run", "round", *names]]
    for run, column in columns.items():
        rounds = {record["round"] for record in column.values() if "round" in record}
        row = [run, " / ".join(f"{n:,}" for n in sorted(rounds)) or "-"]
        for name in names:
            if name in column:
                star = "*" if column[name]["value"] == best.get(name) else " "
                row.append(f"{_said(column[name])} {star}")
            else:
                row.append("-  ")
        rows.append(row)
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    pad = lambda cell, i: f"{cell:{widths[i]}}" if i == 0 else f"{cell:>{widths[i]}}"
    return "\n".join("  ".join(pad(cell, i) for i, cell in enumerate(row)).rstrip() for row in rows)


def _labels(columns: Mapping[str, Records]) -> list[str]:
    return list(dict.fromkeys(name for column in columns.values() for name in column))


def _said(record: Mapping[str, Any]) -> str:
    settings = record.get("settings", {})
    if "of" not in settings:
        return scores.said(record)
    if not settings.get("likelihood", True):
        return f"{scores.said(record)} {settings['unit']}, no likelihood"
    kind, bits = "exact" if settings["exact"] else "bound", record["bits_per_dimension"]
    return f"{scores.said(record)} {settings['unit']}, {bits:.4g} bits/dim, {kind}"


def _short(values: Sequence[Any]) -> list[str]:
    """The values as short texts, of settings only what is not the same in all."""
    if all(isinstance(value, dict) for value in values):
        alike = [k for k in values[0] if all(k in v and v[k] == values[0][k] for v in values)]
        values = [{k: x for k, x in value.items() if k not in alike} for value in values]
    texts = [x if isinstance(x, str) else json.dumps(x) for x in values]
    return [text if len(text) <= 24 else f"{text[:21]}..." for text in texts]
