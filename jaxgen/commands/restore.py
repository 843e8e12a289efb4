"""A trained run, ready to be used: what every command that needs the networks starts from."""

import dataclasses
import importlib
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


def open_run(workdir: Path, round: int | None = None) -> Trained:
    """Builds the system that a run folder's arguments say and restores its newest checkpoint.

    round: restores that checkpoint.  UserError where there is no run, or no checkpoint yet.
    """
    from jaxgen.commands.launch import start_jax
    from jaxgen.train.run import read_run

    record = read_run(workdir)
    module, args = arguments(record.args)
    start_jax()
    import jax

    from jaxgen.train import devices, game
    from jaxgen.train.checkpoints import Checkpoints, saved_rounds

    folder, system = Path(workdir), module.system(args, (args.size, args.size, args.channels))
    if isinstance(system, list):
        stages = [(folder / f"{i}-{stage.name}", stage.system) for i, stage in enumerate(system)]
        done = [stage for stage in stages if saved_rounds(stage[0] / "checkpoints")]
        folder, system = done[-1] if done else stages[0]
    if not saved_rounds(folder / "checkpoints"):
        raise UserError(f"{workdir} has no checkpoint yet; wait for its first --save-every rounds")
    mesh = devices.make_mesh(jax.local_devices()[:1])
    like = game.place(game.init(system, jax.random.key(0)), mesh)
    checkpoints = Checkpoints(folder / "checkpoints", write=False)
    round, states, _ = checkpoints.restore(like, round=round)
    checkpoints.close()
    return Trained(args, system, game.local(states), round)


def arguments(written: dict[str, Any]) -> tuple[types.ModuleType, Any]:
    """The experiment's module and its `Args`, from a run's args.json."""
    written = dict(written)
    name = written.pop("experiment")
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"the run is of {name}, which cannot be imported: {error}") from error
    hints = typing.get_type_hints(module.Args)
    known = {field.name for field in dataclasses.fields(module.Args)}
    values = {
        k: Path(v) if v is not None and hints[k] in (Path, Path | None) else v
        for k, v in written.items()
        if k in known
    }
    return module, module.Args(**values)
