"""`python -m jaxgen export RUN --to FORMAT`: weights or a program, for use without jaxgen."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from jaxgen.commands.choices import OfOptions, Out, Round, RunFolder, System, open_run
from jaxgen.commands.translate import Direction

Players = Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="(default: all)")]


def export(
    run: RunFolder,
    *,
    to: Literal["safetensors", "stablehlo"],
    out: Out = None,
    player: Players = (),
    direction: Direction = None,
    system: System = None,
    round: Round = None,
    **choices: OfOptions,
) -> list[Path]:
    """Weights of a trained run (safetensors), or the program that samples or translates
    (stablehlo); and a JSON file that says what is in it and how it is used.

    Args:
        to: Format of the file.
        out: The file.
        player: Players whose weights are written.
        direction: Direction in which a program translates, such as b-to-a.
    """
    trained = open_run(run, system, round)
    path = out or run / "use" / f"{trained.name}_round_{trained.round:08d}.{to}"
    trained.export(path, to=to, player=player, direction=direction, **choices)
    return [path, path.with_name(f"{path.name}.json")]
