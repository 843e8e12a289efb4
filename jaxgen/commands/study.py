"""From a command line to what a study finds: numbers and a figure.

A study is an experiment of several short runs, with a plot of their own.  Its module has a
dataclass `Args(Study)` and a function `study(args, run)`, which trains by `fit`, in stages of the
run's folder, and then calls `finish`.
"""

import dataclasses
import importlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxgen.commands.arguments import Basic, parse
from jaxgen.commands.flags import Count
from jaxgen.commands.launch import module_name
from jaxgen.commands.start import start_jax
from jaxgen.commands.terminal import one_line


@dataclasses.dataclass(frozen=True)
class Study(Basic):
    """The flags of studies, whose runs are all of the same length."""

    rounds: Count = 3000
    batch_size: Count = 100
    rounds_per_call: Count = 20
    log_every: Count = 500
    sample_every: Count = 3000
    save_every: Count = 3000

    @property
    def rounds_matter(self) -> bool:
        return True


def launch(study: Callable[[Any, Any], None]) -> None:
    """Makes the study whose module defines `study`, as a command: ends the process."""
    name = module_name(study)
    flags = importlib.import_module(study.__module__).Args
    with one_line(name.rpartition(".")[2], [field.name for field in dataclasses.fields(flags)]):
        args = parse(flags, name, sys.argv[1:])
        make(name, study, args)


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
