"""A trained run, ready to be used: what every command that needs the networks starts from."""

import dataclasses
import importlib
import sys
import types
import typing
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run's arguments, its system (of the last stage that has a checkpoint) and its states.

    `jaxgen.train.game.look(system, states, key)` gives the players, with their averaged weights.
    """

    args: Any
    system: Any
    states: dict[str, Any]
    round: int
    tokenize: Any = None  # of a system that reads: from a caption to its numbers


@dataclasses.dataclass(frozen=True)
class _Blank:
    """Stands for the data where a trained system is built again: its shape, and no images."""

    shape: tuple[int, int, int]
    tokenize: Any

    def examples(self, n):
        import numpy as np

        return {"image": np.zeros((n, *self.shape), np.uint8)}


def open_run(workdir: Path, round: int | None = None) -> Trained:
    """Builds the system that a run folder's arguments say and restores its newest checkpoint.

    workdir: of a run in stages, the last one that has begun; or the folder of one of them.
    round: restores that checkpoint.  UserError where there is no run, or no checkpoint yet.
    """
    from jaxgen.commands.launch import VOCABULARY, start_jax
    from jaxgen.train.checkpoints import Checkpoints, saved_rounds
    from jaxgen.train.run import read_run

    folder = Path(workdir)
    written = read_run(folder).args
    module, args = arguments(written, folder)
    # where the run is now, which holds its vocabulary; a stage's is in the folder above
    args = dataclasses.replace(args, workdir=folder.parent if "stage" in written else folder)
    if not hasattr(module, "system"):
        raise UserError(f"{folder} is a run of {module.__name__}, a study: it has no single system")
    # Where there is nothing to restore, the answer need not wait for JAX.
    if not any(map(saved_rounds, [folder / "checkpoints", *folder.glob("*-*/checkpoints")])):
        raise UserError(f"{folder} has no checkpoint yet; wait for its first --save-every rounds")
    start_jax()
    import jax

    from jaxgen.train import devices, game
    from jaxgen.train.stages import folders

    shape = (args.size, args.size, args.channels)

    def lost():
        raise UserError(f"{args.workdir} has lost its {VOCABULARY}; train anew to learn it again")

    tokenize = args.tokenizer(lost)
    system = module.system(args, _Blank(shape, tokenize))
    if "stage" in written:  # the folder is that of a stage
        system = system[folders(system).index(written["stage"])].system
    elif isinstance(system, list):
        stages = [
            (folder / name, s.system) for name, s in zip(folders(system), system, strict=True)
        ]
        done = [stage for stage in stages if saved_rounds(stage[0] / "checkpoints")]
        folder, system = done[-1] if done else stages[0]
    mesh = devices.make_mesh(jax.local_devices()[:1])
    like = game.place(game.init(system, jax.random.key(0)), mesh)
    say = lambda line: print(line, file=sys.stderr)
    checkpoints = Checkpoints(folder / "checkpoints", write=False, report=say)
    found = checkpoints.restore(like, round=round)
    checkpoints.close()
    if found is None:
        raise UserError(f"{folder} has no checkpoint that is whole; train it further or anew")
    return Trained(args, system, game.local(found[1]), found[0], tokenize)


def arguments(written: dict[str, Any], folder: Path) -> tuple[types.ModuleType, Any]:
    """The experiment's module and its `Args`, from the args.json of the run in `folder`."""
    name = written.get("experiment")
    if not isinstance(name, str):
        raise UserError(f"{folder}/args.json names no experiment; give the folder of a jaxgen run")
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

    fields = [field.name for field in dataclasses.fields(module.Args) if field.name in written]
    return module, module.Args(**{field: value(field, written[field]) for field in fields})
