"""Opens a run folder: the system that it was trained with, and its newest checkpoint."""

import dataclasses
import importlib
import json
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jaxgen.data.source import DataInfo
from jaxgen.errors import UserError
from jaxgen.runs.trained import TrainedRun
from jaxgen.train import devices, nets
from jaxgen.train.checkpoints import Checkpoints, saved_rounds
from jaxgen.train.game import Sweep, System
from jaxgen.train.run import read_run, read_sweep
from jaxgen.train.stages import Stage, folders

Systems = System | list[Stage] | Callable[[DataInfo], System | list[Stage]]


def load(
    folder: Path | str,
    system: Systems | None = None,
    *,
    round: int | None = None,
    copy: int | None = None,
) -> TrainedRun:
    """The run in `folder`, which may still be training.

    system: the system of a run that was made from Python, or a function of the data's `DataInfo`
      that gives it; an experiment's run needs none.  Of a sweep it is that of the copy.
    round: that checkpoint instead of the newest one.
    copy: of a run of several seeds, or of a sweep, which one, from 0; by default it is the first
      that is used, while scores are means over all seeds, or of each value.

    Of a run in stages it is the last one that has begun; or that of the stage whose folder is
    given.  UserError where there is no run, no checkpoint yet, or a checkpoint of other networks.
    """
    devices.check_float32()
    folder = Path(folder)
    opened = read_run(folder)
    record, seeds = opened.args, opened.seeds(copy)
    top = folder.parent if "stage" in record else folder
    if not any(map(saved_rounds, [folder / "checkpoints", *folder.glob("*-*/checkpoints")])):
        raise UserError(f"{folder} has no checkpoint yet; wait for its first one")
    info, args, ahead = read_info(top), None, []
    built: Any = system
    sweep: Sweep | None = None
    if system is None:
        module, args = arguments(record, folder)
        args = dataclasses.replace(args, workdir=top)
        if not hasattr(module, "system"):
            raise UserError(f"{folder} is a run of {module.__name__}, a study without a system")
        if getattr(args, "sweep", ""):
            number, values = read_sweep(args.sweep)
            given = args
            make = lambda x: module.system(dataclasses.replace(given, **{number: x}), info)
            sweep = Sweep(number, values, make)
            args = dataclasses.replace(args, **{number: values[copy or 0]})
        built = module.system(args, info)
    elif callable(system):
        built = system(info)
    if system is not None and record.get("sweep") and copy is None:
        values = record["sweep"]
        raise UserError(
            f"{folder} has copies of {values}; give copy=0, 1, ... with that one's system"
        )
    name = record.get("experiment", "").rpartition(".")[2] or top.resolve().name
    if "stage" in record:
        i = folders(built).index(record["stage"])
        built, sweep = built[i].system, sweep and sweep.stage(i)
    elif isinstance(built, list):
        places = [folder / name for name in folders(built)]
        last = max(i for i, place in enumerate(places) if saved_rounds(place / "checkpoints"))
        ahead = [place.name for place in places[last + 1 :]]
        folder, built = places[last], built[last].system
        sweep = sweep and sweep.stage(last)
    mesh = devices.make_mesh(jax.local_devices()[:1])
    like = nets.placed(nets.shapes(built, info.zeros, seeds), mesh)
    checkpoints = Checkpoints(folder / "checkpoints", write=False)
    found = checkpoints.restore(like, round=round)
    checkpoints.close()
    if found is None:
        raise UserError(f"{folder} has no checkpoint that is whole; train it further or anew")
    states = [nets.local(found[1], i) for i in (range(seeds) if copy is None else [copy])]
    several: dict[str, Any] = {"copies": states, "sweep": sweep}
    if len(states) == 1:
        several = {"copy": copy if seeds > 1 else None}
        if copy is not None and record.get("sweep"):
            number, values = read_sweep(record["sweep"])
            several["value"] = f"{number}={values[copy]:g}"
    run = (built, states[0], info, found[0], name, folder, args)
    return TrainedRun(*run, **several, ahead=ahead)


def read_info(folder: Path) -> DataInfo:
    """What the run's system was told of its data, from its data.json.  UserError."""
    path = folder / "data.json"
    try:
        return DataInfo.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{folder} has lost its data.json; start the same command again") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); start the same command again") from None


def arguments(record: dict[str, Any], folder: Path) -> tuple[types.ModuleType, Any]:
    """The experiment's module and its `Args`, from the args.json of the run in `folder`."""
    name = record.get("experiment")
    if not isinstance(name, str):
        raise UserError(
            f"{folder} was made from Python; give its system: jaxgen.load(folder, system), or "
            "MODULE:NAME for a command"
        )
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"{folder} is a run of {name}, which cannot be imported ({error}); start where it was "
            "trained, or with the jaxgen that trained it"
        ) from error
    hints = typing.get_type_hints(module.Args)

    def value(field, x):  # as it was before it became JSON
        if isinstance(x, list):
            return tuple(x)
        return Path(x) if x is not None and hints[field] in (Path, Path | None) else x

    fields = [field.name for field in dataclasses.fields(module.Args) if field.name in record]
    return module, module.Args(**{field: value(field, record[field]) for field in fields})
