"""`python -m jaxgen list`: the experiments, and the runs in a folder."""

import dataclasses
import importlib
import json
import os
import pkgutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from jaxgen.errors import UserError

TAIL = 1 << 16  # bytes from the end of metrics.jsonl; a record has a few hundred


def catalogue(folder: Annotated[Positional[Path], arg(metavar="DIR")] = Path("runs")) -> str:
    """The experiments with paper, data and recipes, the data shipped, and the runs in a folder.

    Args:
        folder: Folder of the runs; its sub-folders are searched, too.
    """
    if not folder.is_dir() and folder != Path("runs"):
        raise UserError(f"there is no folder {folder}; name the one that holds the runs")
    from jaxgen.data.specs import SHIPPED

    lines = ["experiments (python -m jaxgen.experiments.NAME --help)", ""]
    found = list(experiments())
    wide = max(len(name) for name, *_ in found)
    for name, paper, data, recipes in found:
        lines += [f"  {name:{wide}}  {paper}", f"  {'':{wide}}  data: {data}"]
        lines[-1] += f"; recipes: {recipes}" if recipes else ""
    lines += ["", "data (--data NAME; docs/data.md shows pictures)", ""]
    wide = max(len(name + shipped.options) for name, shipped in SHIPPED.items())
    for name, shipped in SHIPPED.items():
        lines.append(f"  {name + shipped.options:{wide}}  {shipped.what}")
        lines.append(f"  {'':{wide}}  licence: {shipped.licence}")
    rows = list(runs(folder))
    lines += ["", f"runs in {folder}" if rows else f"no runs in {folder} yet"]
    if rows:
        head = ("run", "experiment", "checkpoint", "metrics to", "images", "")
        lines += ["", *_table([head, *rows])]
    return "\n".join(lines)


def experiments() -> Iterator[tuple[str, str, str, str]]:
    """(name, paper and link, default data, recipes) of each module in `jaxgen.experiments`."""
    import jaxgen.experiments as package

    for found in pkgutil.iter_modules(package.__path__):
        try:
            args = importlib.import_module(f"{package.__name__}.{found.name}").Args
        except Exception as error:  # one that is being written does not hide the others
            yield found.name, f"cannot be imported: {error}", "unknown", ""
            continue
        paper = " ".join((args.__doc__ or "").strip().split("\n\n")[0].split())
        defaults = {field.name: field.default for field in dataclasses.fields(args)}
        data = str(defaults.get("data", "its own"))
        yield found.name, paper, data, ", ".join(map(str, recipes(found.name)))


def recipes(name: str) -> list[Path]:
    """The experiment's recipes, here or where the library's source is."""
    for root in (Path(), Path(__file__).parents[2]):
        if found := sorted((root / "experiments" / name).glob("*.toml")):
            return [Path(os.path.relpath(path)) for path in found]
    return []


def runs(folder: Path) -> Iterator[Sequence[str]]:
    """(folder, experiment, checkpoint, metrics, images, state) of each run under `folder`."""
    for place, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if "args.json" in files:
            below.clear()  # its stages are part of it
            yield (place, *_run(Path(place)))


def _run(folder: Path) -> Sequence[str]:
    from jaxgen.train.checkpoints import saved_rounds

    try:
        args = json.loads((folder / "args.json").read_text())
        name = args.get("experiment", "Python").rpartition(".")[2]
        rounds = int(args["rounds"])
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return "?", "", "", "", "its args.json is not one of a run"
    stages = [path.parent for path in folder.glob("*-*/args.json")]
    stages = [path for path in stages if path.name.split("-")[0].isdigit()]
    done = any((folder / end).exists() for end in ("report.html", "numbers.json"))
    if stages:
        folder = max(stages, key=lambda path: int(path.name.split("-")[0]))
    last, saved = (
        _last(folder / "metrics.jsonl"),
        max(saved_rounds(folder / "checkpoints"), default=0),
    )
    if stages:
        state = "finished" if done else f"in stage {folder.name}"
    else:
        state = "finished" if saved >= rounds else f"{saved / rounds:.0%} of {rounds:,} rounds"
    return (
        name,
        f"{saved:,}" if saved else "none",
        f"{last['round']:,}" if last else "none",
        f"{last['images']:,}" if last else "0",
        state,
    )


def _last(path: Path) -> dict[str, Any] | None:
    """The last whole record, read from the file's end."""
    if not path.exists():
        return None
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            return json.loads(line)
        except ValueError:  # half a line
            continue
    return None


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pad = lambda i, cell: f"{cell:>{widths[i]}}" if 2 <= i <= 4 else f"{cell:{widths[i]}}"
    return ["  " + "  ".join(pad(i, cell) for i, cell in enumerate(row)).rstrip() for row in rows]
