"""`python -m jaxgen export RUN --to FORMAT`: weights or a program, for use without jaxgen."""

import importlib
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from jaxgen.errors import UserError

RunFolder = Annotated[Positional[Path], arg(metavar="RUN")]
Out = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: in RUN/use/)")]
Round = Annotated[int | None, arg(metavar="R", help_behavior_hint="(default: the newest)")]
Name = Annotated[str | None, arg(metavar="MODULE:NAME", help_behavior_hint="(default: its own)")]
Player = Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="(default: all)")]
Way = Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the first)")]


def export(
    run: RunFolder,
    *,
    to: Literal["safetensors", "stablehlo"],
    out: Out = None,
    round: Round = None,
    system: Name = None,
    player: Player = (),
    direction: Way = None,
) -> list[Path]:
    """Weights of a trained run (safetensors), or the program that samples or translates
    (stablehlo); and a JSON file that says what is in it and how it is used.

    Args:
        run: A run folder, such as runs/wgan; it may be at work.
        to: Format of the file.
        out: The file.
        round: The checkpoint's round.
        system: System of a run that was made from Python.
        player: Players whose weights are written.
        direction: Which way a program translates, where there are several, such as b-to-a.
    """
    from jaxgen.runs.load import load

    trained = load(run, _imported(system) if system else None, round=round)
    path = out or Path(run) / "use" / f"{trained.name}_round_{trained.round:08d}.{to}"
    trained.export(path, to=to, player=player, direction=direction)
    return [path, path.with_name(f"{path.name}.json")]


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"--system {name} cannot be imported ({error}); give MODULE:NAME") from None
