"""From a command line to what a study finds: numbers and a figure, or one picture.

A study is an experiment that is no training on a set of images: several short runs on made-up
points with a plot of their own, or one run whose only datum is a picture.  Its module has a
dataclass `Args` and a function `study(args, run)`, which trains by `fit`, in stages of the run's
folder or in the folder itself, and then calls `finish` or `finish_picture`.
"""

import dataclasses
import importlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxgen.commands.arguments import parse
from jaxgen.commands.launch import module_name, start_jax
from jaxgen.commands.terminal import one_line
from jaxgen.errors import UserError


def launch(study: Callable[[Any, Any], None]) -> None:
    """Makes the study whose module defines `study`, as a command: ends the process."""
    name = module_name(study)
    with one_line(name.rpartition(".")[2]):
        args = parse(importlib.import_module(study.__module__).Args, name, sys.argv[1:])
        make(name, study, args)


def make(name: str, study: Callable, args: Any) -> None:
    """Makes the study in `args.workdir`; what is trained there already is not trained again."""
    fingerprint = args.fingerprint  # before JAX starts, as a file may be missing
    start_jax()
    from jaxgen.train.run import FREE, Run, environment

    written = {"experiment": name, **dataclasses.asdict(args)}
    free = FREE if args.rounds_matter else FREE | {"rounds"}
    with Run(args.workdir, written, environment(fingerprint), free=free) as run:
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


def finish_picture(args: Any, picture: Any) -> None:
    """Writes the picture [1, H, W, C] in [-1, 1] to `--out`, and the run's report, and says where
    all is."""
    from jaxgen.commands.report import report
    from jaxgen.files import replacing
    from jaxgen.pictures import grid

    path = args.out or args.workdir / "picture.png"
    try:
        with replacing(path) as temporary:
            grid(picture).save(temporary)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); use another --out") from None
    page = report(args.workdir)
    print(f"picture      {path}")
    print(f"on its way   {args.workdir / 'samples'}")
    print(f"metrics      {args.workdir / 'metrics.jsonl'}")
    print(f"checkpoints  {args.workdir / 'checkpoints'}")
    print(f"report       {page}")
