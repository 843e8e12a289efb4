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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxgen.commands.arguments import parse
from jaxgen.commands.start import start_jax
from jaxgen.commands.terminal import one_line
from jaxgen.errors import UserError


def launch(system: Callable[[Any, Any], Any]) -> None:
    """Runs the experiment whose module defines `system`, as a command: ends the process."""
    name = module_name(system)
    flags = importlib.import_module(system.__module__).Args
    with one_line(name.rpartition(".")[2], [field.name for field in dataclasses.fields(flags)]):
        args = parse(flags, name, sys.argv[1:])
        if getattr(args, "plan", None) is None:
            train(name, system, args)
        else:
            for found in plan(name, system, args):
                print(found, end="\n\n", flush=True)


def module_name(system: Callable) -> str:
    """The experiment's importable name, also where it runs as `__main__`."""
    if system.__module__ != "__main__":
        return system.__module__
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else Path(sys.argv[0]).stem


def train(name: str, system: Callable, args: Any) -> Any:
    """Trains with parsed arguments in `args.workdir`, to the end or to where a signal stops it;
    returns the TrainedRun."""
    data = load(name, args)
    start_jax(getattr(args, "multihost", False) or "JAX_COORDINATOR_ADDRESS" in os.environ)
    import jax

    from jaxgen.runs.fit import fit
    from jaxgen.train.devices import make_mesh
    from jaxgen.train.run import FREE

    built: Any = system(args, data.info)
    make: Any = built
    sweep = {}
    if getattr(args, "sweep", ""):
        number, values = args.swept
        sweep = {"sweep": {number: values}}
        make = lambda **one: system(dataclasses.replace(args, **one), data.info)
    if jax.process_index() == 0 and not getattr(args, "held_out", True):
        _tell_of_scores(name.rpartition(".")[2], built, args)
    run = fit(
        make,
        data,
        args.rounds,
        run=args.workdir,
        record={"experiment": name, **dataclasses.asdict(args)},
        free=FREE if args.rounds_matter else FREE | {"rounds"},
        places=args.places,
        mesh=make_mesh(jax.devices()[:1]) if args.one_device else None,
        **args.schedule,
        **sweep,
    )
    run = dataclasses.replace(run, args=args)
    if jax.process_index() == 0:
        from jaxgen.commands.report import write

        folder = run.folder or args.workdir
        report = write(
            args.workdir,
            args.workdir / "report.html",
            mend="make room there and give the same command again; the run itself is saved",
        )
        places = {
            **args.finish(run),
            "pictures": folder / "samples",
            "metrics": folder / "metrics.jsonl",
            "checkpoints": folder / "checkpoints",
            "report": report,
        }
        for what, where in places.items():
            print(f"{what:12} {where}")
    return run


def plan(name: str, system: Callable, args: Any, patience: float = 600.0) -> Iterator[Any]:
    """What the training of these arguments would take: a `Plan` for each stage, on each of the
    targets that they name, or on the devices at hand, as soon as it is ready; `patience` is that of
    `jg.plan`."""
    from jaxgen.planning import targets

    for text in args.plan:
        targets.target(text)
    if args.plan:
        targets.prepare()
    data = load(name, args)
    start_jax(args.multihost)
    from jaxgen.planning.plan import plans

    build = lambda batch: system(dataclasses.replace(args, batch_size=batch), data.info)
    if args.sweep:
        from jaxgen.train.game import Sweep
        from jaxgen.train.stages import check_sweep

        number, values = args.swept
        make = lambda x: system(dataclasses.replace(args, **{number: x}), data.info)
        check_sweep(
            Sweep(number, values, make), data.info.zeros, args.batch_size or data.info.examples
        )
    names = ("batch_size", "precision", "seeds", "accumulate", "remat")
    names += ("rounds_per_call", "keep")
    options = {name: getattr(args, name) for name in names}
    options |= {"patience": patience}
    options |= {"seeds": len(args.swept[1])} if args.sweep else {}
    yield from plans(build, data, args.rounds, args.plan or [None], **options)


def load(name: str, args: Any) -> Any:
    """The data that the arguments name; UserError where they lack what the experiment needs."""
    from jaxgen.data.source import SEEN

    data = args.load_data()
    fields = data.info.fields
    if missing := [k for k in getattr(args, "needs", ()) if k not in fields]:
        has = " and ".join(k for k, field in fields.items() if field.kind in SEEN)
        raise UserError(
            f"{name.rpartition('.')[2]} learns from {' and '.join(args.needs)}, but {args.data} "
            f"has {has} (no {' and '.join(missing)}); use another --data"
        )
    return data


def _tell_of_scores(name: str, system: Any, args: Any) -> None:
    """A line where `evaluate` would find no images for what is scored on held-out ones."""
    from jaxgen.data.specs import holds_out

    if holds_out(args.data):
        return
    from jaxgen.evaluate import sets
    from jaxgen.evaluate.run import usual
    from jaxgen.progress import say

    metrics = usual(system[-1].system if isinstance(system, list) else system)
    if lacking := [metric for metric in metrics if metric not in sets.METRICS]:
        say(
            f"{args.data} holds out no images, so that evaluate cannot score {name} by "
            f"{' and '.join(lacking)}; train with --held-out 0.1 to keep a tenth for that"
        )
