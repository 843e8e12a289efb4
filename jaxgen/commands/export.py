"""`python -m jaxgen export RUN --to FORMAT`: weights or a program, for use without jaxgen."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from jaxgen.commands.choices import Copy, OfOptions, Out, Round, Run, System, by, open_run
from jaxgen.commands.flags import Seed
from jaxgen.commands.terminal import writing
from jaxgen.commands.translate import Direction

Player = Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="(default: all)")]


def export(
    run: Run,
    *,
    to: Literal["safetensors", "stablehlo"],
    out: Out = None,
    player: Player = (),
    direction: Direction = None,
    seed: Seed = 0,
    system: System = None,
    round: Round = None,
    copy: Copy = None,
    **choices: OfOptions,
) -> list[Path]:
    """Weights of a trained run (safetensors), or the program that samples or translates
    (stablehlo); and a JSON file that says what is in it and how it is used.

    Args:
        to: Format of the file.
        out: File; the JSON file lies beside it.
        player: Players whose weights are written.
        direction: Direction of a program that translates, where there are several.
        seed: Seed of the noise, where a program draws any.
    """
    trained = open_run(run, system, round, copy)
    file = f"{direction or trained.name}_round_{trained.round:08d}{by(choices, copy)}.{to}"
    path = out or run / "use" / file
    options = {"player": player, "direction": direction, "seed": seed, **choices}
    with writing(path):
        trained.export(path, to=to, **options)
    return [path, path.with_name(f"{path.name}.json")]
