"""`python -m jaxgen report RUN`: the run as one HTML page that needs nothing else."""

import base64
import json
from datetime import timedelta
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image
from tyro.conf import arg

from jaxgen.commands.choices import Copy, Run, by
from jaxgen.commands.terminal import writing
from jaxgen.evaluate import scores
from jaxgen.files import replacing
from jaxgen.train.run import RunRecord, read_run

Out = Annotated[
    Path | None, arg(metavar="FILE", help_behavior_hint="(default: report.html of the run)")
]
PICTURES = 60  # at most, evenly chosen
PICTURE_BYTES = 30_000_000  # at most, all together
POINTS = 400  # of a curve; about the pixels it is wide
CLOCK = ("round", "images", "seconds")  # what a record counts, not a curve


def report(run: Run, *, copy: Copy = None, out: Out = None) -> Path:
    """A run as one page: curves, scores, pictures, arguments.

    The page loads nothing from anywhere. Stages follow each other, their rounds counted on. Of
    seeds that were trained side by side the curves are means and the pictures those of the first;
    with --copy the scores are those of one of them. The ± of a score is the deviation over seeds
    where their number follows, otherwise the metric's own.

    Args:
        out: HTML file.
    """
    return write(run, out or run / f"report{by({}, copy)}.html", copy)


def write(run: Path, path: Path, copy: int | None = None, **mend: str) -> Path:
    """Writes the page; `mend` is what `jaxgen.commands.terminal.writing` says where it cannot."""
    page = _page(run, copy)
    with writing(path, **mend):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
    return path


def _page(run: Path, copy: int | None) -> str:
    record = _with_stages(read_run(run))
    seeds = record.seeds(copy)
    return _template() % {
        "title": escape(_title(record)),
        "subtitle": escape(_subtitle(record, seeds, copy)),
        "command": escape(record.environment[-1].get("command", "") if record.environment else ""),
        "totals": _totals(record),
        "scores": _scores(record.workdir, copy),
        "arguments": _table(record.args),
        "environment": _table(record.environment[-1] if record.environment else {}),
        "sessions": _sessions(record.environment),
        # "</" would end the script that holds it
        "data": json.dumps(
            {
                "curves": curves(record.metrics),
                "samples": _samples(record),
                "legends": _legends(record),
                "real": _real(record.workdir),
            },
            separators=(",", ":"),
        ).replace("</", "<\\/"),
    }


def curves(metrics: list[dict[str, Any]], points: int = POINTS) -> list[dict[str, Any]]:
    """A curve a metric: {name, last, x, low, high, smooth}, each list at most `points` long.

    Neighbouring records are put together: x is their mean round, low and high are their extremes.
    `smooth` is a Gaussian average of their means; its deviation is a sixtieth of the curve.
    `last` is [round, value] of the last record.
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
        columns = {k: [_short(v) for v in column] for k, column in columns.items()}
        found.append({"name": name, "last": [int(rounds[-1]), _short(values[-1])], **columns})
    # The losses first, how fast it went last.
    return sorted(found, key=lambda curve: "/" not in curve["name"])


def _template() -> str:
    """The page with %(name)s where something goes in; its other percent signs stand doubled."""
    return files("jaxgen.commands").joinpath("report.html").read_text(encoding="utf-8")


def _stages(folder: Path) -> list[Path]:
    """The folders of a run's stages (`0-NAME/`, `1-NAME/`, ...), in order."""
    folders = [path.parent for path in folder.glob("*-*/args.json")]
    numbered = [(path.name.split("-")[0], path) for path in folders]
    return [path for _, path in sorted((int(n), path) for n, path in numbered if n.isdigit())]


def _with_stages(run: RunRecord) -> RunRecord:
    """The run with what its stages have, one after the other."""
    metrics, samples = list(run.metrics), {name: list(found) for name, found in run.samples.items()}
    rounds, before = list(run.rounds), dict.fromkeys(CLOCK, 0)
    for path in _stages(run.workdir):
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


def _subtitle(run: RunRecord, seeds: int, copy: int | None) -> str:
    session = run.environment[-1] if run.environment else {}
    parts = [str(run.workdir)]
    if session.get("devices"):
        parts.append(f"{session['devices']} x {session.get('device_kind', 'device')}")
    if session.get("started"):
        parts.append(session["started"][:16].replace("T", " ") + " UTC")
    if seeds > 1:
        scored = "" if copy is None else f"scores of copy {copy}, "
        sweep = run.args.get("sweep")
        what = sweep or f"{seeds} seeds"
        curves = "" if sweep else "means of the curves, "
        parts.append(f"{what}: {scored}{curves}pictures of copy 0")
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


def _scores(folder: Path, copy: int | None) -> str:
    """A table of the newest scores, of the run and of its stages; or of a copy alone."""
    rows = {}
    for place in (*_stages(folder), folder):
        for record in scores.read(place / "scores.jsonl"):
            if copy is not None and not (record := scores.of_copy(record, copy)):
                continue
            name = scores.label(record)
            if direction := record.get("direction"):
                name += f" ({direction})"
            if "copy" in record:
                name += f" of {scores.said_of_copy(record)}"
            if place != folder:
                name += f" of {place.name}"
            rows[name] = {
                "score": name,
                "value": scores.said(record),
                "round": f"{record['round']:,}" if "round" in record else "",
                "samples": f"{record['samples']:,}" if "samples" in record else "",
                "data": " ".join(str(record[k]) for k in ("data", "split") if record.get(k)),
                "measured": record.get("date", "")[:16].replace("T", " "),
            }
    if not rows:
        return ""
    row = lambda cells, tag: f"<tr>{''.join(f'<{tag}>{escape(x)}</{tag}>' for x in cells)}</tr>"
    body = "".join(row(cells.values(), "td") for cells in rows.values())
    head = row(next(iter(rows.values())), "th")
    return f'<section class="scores"><h2>Newest scores</h2><table>{head}{body}</table></section>'


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
        {"round": round, "pictures": [[name, _embedded(path)] for name, path in by_round[round]]}
        for round in sorted(chosen)
    ]


def _legends(run: RunRecord) -> dict[str, str]:
    """Legends of the pictures by their names: the last one of each has it in its file."""
    legends = {}
    for name, pictures in run.samples.items():
        with Image.open(max(pictures)[1]) as picture:
            legends[name] = picture.info.get("Description", "")
    return {name: text for name, text in legends.items() if text}


def _real(folder: Path) -> list[list[str]]:
    """[[name, PNG in base64], ...]: images of the data, of the last stage where there are some."""
    for place in (folder, *reversed(_stages(folder))):
        if found := [*place.glob("data.png"), *sorted(place.glob("data_*.png"))]:
            return [[path.stem[len("data_") :], _embedded(path)] for path in found]
    return []


def _embedded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _short(x: float) -> float | int:
    x = float(f"{x:.5g}") if abs(x) < 1e5 else round(x)
    return int(x) if x == int(x) else x
