"""From a command line to a finished run: `python -m jaxgen.experiments.NAME [flags]`.

An experiment is a module with a dataclass `Args` (its flags; their docstrings are the help) and a
function `system(args, info)`: a System, or a list of Stages, for data of which `info` (a
`jaxgen.data.source.DataInfo`) tells.  Nothing here imports JAX before the arguments and the data
are right.
"""

import dataclasses
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxgen.commands.arguments import parse
from jaxgen.commands.start import start_jax
from jaxgen.commands.terminal import one_line
from jaxgen.errors import UserError


def launch(system: Callable[[Any, Any], Any]) -> None:
    """Runs the experiment whose module defines `system`, as a command: ends the process."""
    name = module_name(system)
    with one_line(name.rpartition(".")[2]):
        args = parse(importlib.import_module(system.__module__).Args, name, sys.argv[1:])
        train(name, system, args)


def module_name(system: Callable) -> str:
    """The experiment's importable name, also where it runs as `__main__`."""
    if system.__module__ != "__main__":
        return system.__module__
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else Path(sys.argv[0]).stem


def train(name: str, system: Callable, args: Any) -> Any:
    """Trains with parsed arguments in `args.workdir`, to the end or to where a signal stops it;
    returns the TrainedRun."""
    data = args.load_data()
    fields = data.info.fields
    if missing := [k for k in getattr(args, "needs", ()) if k not in fields]:
        kinds = ("image", "video", "voxels")
        has = " and ".join(k for k, field in fields.items() if field.kind in kinds)
        raise UserError(
            f"{name.rpartition('.')[2]} learns from {' and '.join(args.needs)}, but {args.data} "
            f"has {has} (no {' and '.join(missing)}); use another --data"
        )
    start_jax(getattr(args, "multihost", False) or "JAX_COORDINATOR_ADDRESS" in os.environ)
    import jax

    from jaxgen.runs.fit import fit
    from jaxgen.train.devices import make_mesh
    from jaxgen.train.run import FREE

    run = fit(
        system(args, data.info),
        data,
        args.rounds,
        run=args.workdir,
        record={"experiment": name, **dataclasses.asdict(args)},
        free=FREE if args.rounds_matter else FREE | {"rounds"},
        mesh=make_mesh(jax.devices()[:1]) if args.one_device else None,
        **args.schedule,
    )
    run = dataclasses.replace(run, args=args)
    if jax.process_index() == 0:
        from jaxgen.commands.report import report

        folder = run.folder or args.workdir
        places = {
            **args.finish(run),
            "pictures": folder / "samples",
            "metrics": folder / "metrics.jsonl",
            "checkpoints": folder / "checkpoints",
            "report": report(args.workdir),
        }
        for what, where in places.items():
            print(f"{what:12} {where}")
    return run
