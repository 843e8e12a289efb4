"""From a command line to the numbers and the figure of a study.

A study is an experiment on made-up points, with several short runs and a plot of its own.  Its
module has a dataclass `Args` and a function `study(args, run)`, which trains by `fit` in stages of
the run's folder and then calls `finish`.
"""

import dataclasses
import importlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from jaxgen.commands.launch import COUNTS, SEEDS, _flag, _flags, _recipe, module_name, start_jax
from jaxgen.commands.terminal import one_line
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Basic:
    """The flags that every study has."""

    workdir: Annotated[
        Path | None,
        tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: runs/NAME of the experiment)"),
    ] = None
    """The run folder. The same command again goes on with the run in it."""
    recipe: Annotated[
        Path | None, tyro.conf.arg(metavar="FILE.toml", help_behavior_hint="(default: none)")
    ] = None
    """Values for these flags; a flag that is given on the command line wins."""
    rounds: int = 10_000
    """How long to train. A round is one pass through the system's turns."""
    batch_size: int = 256
    """Points of a minibatch, over all devices together."""
    seed: int = 0
    """Of the weights, the noise and the data."""
    rounds_per_call: int = 50
    """Rounds that one program plays; more keep a fast device from waiting for the host."""
    log_every: int = 100
    """Rounds between lines of metrics.jsonl."""
    show_every: int = 1000
    """Rounds between pictures."""
    save_every: int = 1000
    """Rounds between checkpoints."""

    rounds_matter: ClassVar[bool] = False
    """Whether a schedule depends on `rounds`, which then may not change when a run goes on."""

    def check(self) -> None:
        """Raises UserError for values that do not fit each other."""

    @property
    def schedule(self) -> dict[str, int]:
        """What `fit` takes of these by name."""
        names = ("seed", "batch_size", "rounds_per_call", "log_every", "show_every", "save_every")
        return {name: getattr(self, name) for name in names}


def launch(study: Callable[[Any, Any], None]) -> None:
    """Makes the study whose module defines `study`, as a command: ends the process."""
    name = module_name(study)
    with one_line(name.rpartition(".")[2]):
        args = parse(importlib.import_module(study.__module__).Args, name, sys.argv[1:])
        make(name, study, args)


def parse(kind: type, name: str, argv: list[str]) -> Any:
    """The arguments: defaults, under the recipe's values, under the flags."""
    args = _flags(kind, name, argv)
    if args.recipe:
        args = _flags(kind, name, [*_recipe(kind, name, args.recipe), *argv])
    if args.workdir is None:
        args = dataclasses.replace(args, workdir=Path("runs") / name.rpartition(".")[2])
    for field in COUNTS:
        if (value := getattr(args, field, 1)) < 1:
            raise UserError(f"--{_flag(field)} is at least 1, not {value}")
    if not 0 <= args.seed < SEEDS:
        raise UserError(f"--seed is from 0 to {SEEDS - 1}, not {args.seed}")
    args.check()
    return args


def make(name: str, study: Callable, args: Any) -> None:
    """Makes the study in `args.workdir`; what is trained there already is not trained again."""
    start_jax()
    from jaxgen.train.run import FREE, Run, environment

    written = {"experiment": name, **dataclasses.asdict(args)}
    free = FREE if args.rounds_matter else FREE | {"rounds"}
    with Run(args.workdir, written, environment(), free=free) as run:
        study(args, run)


def finish(folder: Path, numbers: Mapping[str, Any], figure: Any) -> None:
    """Writes `numbers.json` and `figure.png` (of a matplotlib Figure), and says where they are."""
    from jaxgen.files import replacing

    with replacing(folder / "numbers.json") as temporary:
        temporary.write_text(json.dumps(numbers, indent=2) + "\n")
    with replacing(folder / "figure.png") as temporary:
        figure.savefig(temporary, dpi=110)
    print(f"numbers  {folder / 'numbers.json'}")
    print(f"figure   {folder / 'figure.png'}")
