"""`python -m jaxgen report RUN`: the run as one HTML page that needs nothing else."""

import base64
import json
from datetime import timedelta
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tyro.conf import arg

from jaxgen.commands.choices import RunFolder
from jaxgen.commands.terminal import writing
from jaxgen.files import replacing
from jaxgen.train.run import RunRecord, read_run

Out = Annotated[
    Path | None, arg(metavar="FILE", help_behavior_hint="(default: report.html of the run)")
]
PICTURES = 60  # at most, evenly chosen
PICTURE_BYTES = 30_000_000  # at most, all together
POINTS = 400  # of a curve; about the pixels it is wide
CLOCK = ("round", "images", "seconds")  # what a record counts, not a curve


def report(run: RunFolder, *, out: Out = None) -> Path:
    """A run as one page: curves, pictures, arguments.

    The page loads nothing from anywhere. Stages follow each other, their rounds counted on.

    Args:
        out: HTML file.
    """
    return write(run, out or run / "report.html")


def write(run: Path, path: Path, **mend: str) -> Path:
    """Writes the page; `mend` is what `jaxgen.commands.terminal.writing` says where it cannot."""
    page = _page(run)
    with writing(path, **mend):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
    return path


def _page(run: Path) -> str:
    record = _with_stages(read_run(run))
    return _template() % {
        "title": escape(_title(record)),
        "subtitle": escape(_subtitle(record)),
        "command": escape(record.environment[-1].get("command", "") if record.environment else ""),
        "totals": _totals(record),
        "arguments": _table(record.args),
        "environment": _table(record.environment[-1] if record.environment else {}),
        "sessions": _sessions(record.environment),
        # "</" would end the script that holds it
        "data": json.dumps(
            {"curves": curves(record.metrics), "samples": _samples(record)}, separators=(",", ":")
        ).replace("</", "<\\/"),
    }


def curves(metrics: list[dict[str, Any]], points: int = POINTS) -> list[dict[str, Any]]:
    """A curve a metric: {name, x, low, high, smooth}, each list at most `points` long.

    Neighbouring records are put together: x is their mean round, low and high are their extremes.
    `smooth` is a Gaussian average of their means; its deviation is a sixtieth of the curve.
    """
    names = dict.fromkeys(name for record in metrics for name in record if name not in CLOCK)
    found = []
    for name in names:
        rounds, values = np.array([(r["round"], r[name]) for r in metrics if name in r], float).T
        parts = np.array_split(np.arange(len(values)), min(points, len(values)))
        n, mean = len(parts), np.array([values[part].mean() for part in parts])
        kernel = np.exp(-0.5 * (np.arange(1 - n, n) * (60 / n)) ** 2)
        weight = np.convolve(np.ones(n), kernel)[n - 1 : 2 * n - 1]
        columns = {
            "x": [rounds[part].mean() for part in parts],
            "low": [values[part].min() for part in parts],
            "high": [values[part].max() for part in parts],
            "smooth": np.convolve(mean, kernel)[n - 1 : 2 * n - 1] / weight,
        }
        found.append({"name": name} | {k: [_short(v) for v in col] for k, col in columns.items()})
    # The losses first, how fast it went last.
    return sorted(found, key=lambda curve: "/" not in curve["name"])


def _template() -> str:
    """The page with %(name)s where something goes in; its other percent signs stand doubled."""
    return files("jaxgen.commands").joinpath("report.html").read_text(encoding="utf-8")


def _with_stages(run: RunRecord) -> RunRecord:
    """The run with what its stages (`0-NAME/`, `1-NAME/`, ...) have, one after the other."""
    metrics, samples = list(run.metrics), {name: list(found) for name, found in run.samples.items()}
    rounds, before = list(run.rounds), dict.fromkeys(CLOCK, 0)
    folders = [path.parent for path in run.workdir.glob("*-*/args.json")]
    numbered = [(path.name.split("-")[0], path) for path in folders]
    for _, path in sorted((int(n), path) for n, path in numbered if n.isdigit()):
        stage = read_run(path)
        for record in stage.metrics:
            metrics.append(record | {k: record[k] + before[k] for k in CLOCK if k in record})
        for name, found in stage.samples.items():
            shifted = [(round + before["round"], picture) for round, picture in found]
            samples.setdefault(name, []).extend(shifted)
        rounds += [round + before["round"] for round in stage.rounds]
        if stage.metrics:
            before = {k: metrics[-1].get(k, 0) for k in CLOCK}
    return run._replace(metrics=metrics, samples=samples, rounds=rounds)


def _title(run: RunRecord) -> str:
    """The experiment's name, and without one the folder's."""
    return run.args.get("experiment", "").split(".")[-1] or run.workdir.resolve().name


def _subtitle(run: RunRecord) -> str:
    session = run.environment[-1] if run.environment else {}
    parts = [str(run.workdir)]
    if session.get("devices"):
        parts.append(f"{session['devices']} x {session.get('device_kind', 'device')}")
    if session.get("started"):
        parts.append(session["started"][:16].replace("T", " ") + " UTC")
    return " · ".join(parts)


def _totals(run: RunRecord) -> str:
    last = run.metrics[-1] if run.metrics else {}
    images, seconds = last.get("images"), last.get("seconds")
    totals = {
        "rounds": f"{last['round']:,}" if last else "0",
        "images": f"{images:,}" if images is not None else "",
        "time": str(timedelta(seconds=round(seconds))) if seconds else "",
        "images/s": f"{images / seconds:,.0f}" if images and seconds else "",
        "checkpoint": f"round {run.rounds[-1]:,}" if run.rounds else "none",
    }
    return "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in totals.items() if value
    )


def _table(content: dict[str, Any]) -> str:
    def said(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    rows = (
        f"<tr><th>{escape(name)}</th><td>{escape(said(value))}</td></tr>"
        for name, value in content.items()
        if name != "command" and value not in ("", None)
    )
    return f"<table>{''.join(rows)}</table>"


def _sessions(sessions: list[dict[str, Any]]) -> str:
    if len(sessions) < 2:
        return ""
    starts = ", ".join(escape(s.get("started", "?")) for s in sessions)
    return f"<p>{len(sessions)} sessions, started {starts}. The last one:</p>"


def _samples(run: RunRecord) -> list[dict[str, Any]]:
    """[{round, pictures: [[name, PNG in base64], ...]}, ...], chosen evenly, with the last."""
    by_round: dict[int, list[tuple[str, Path]]] = {}
    for name, pictures in run.samples.items():
        for round, path in pictures:
            by_round.setdefault(round, []).append((name, path))
    rounds = sorted(by_round)
    if not rounds:
        return []
    count = min(len(rounds), max(1, PICTURES // len(run.samples)))
    size = sum(path.stat().st_size for pictures in by_round.values() for _, path in pictures)
    count = max(1, min(count, int(PICTURE_BYTES * len(rounds) / size)))
    chosen = {rounds[-1 - i * len(rounds) // count] for i in range(count)}
    return [
        {
            "round": round,
            "pictures": [
                [name, base64.b64encode(path.read_bytes()).decode()]
                for name, path in by_round[round]
            ],
        }
        for round in sorted(chosen)
    ]


def _short(x: float) -> float | int:
    x = float(f"{x:.5g}") if abs(x) < 1e5 else round(x)
    return int(x) if x == int(x) else x
