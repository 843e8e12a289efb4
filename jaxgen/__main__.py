"""`python -m jaxgen COMMAND ...`: what there is, and what a trained run can do."""

import difflib
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import FlagCreatePairsOff, Positional

from jaxgen.commands.apply import apply
from jaxgen.commands.compare import compare
from jaxgen.commands.evaluate import evaluate
from jaxgen.commands.export import export
from jaxgen.commands.interpolate import interpolate
from jaxgen.commands.list import catalogue
from jaxgen.commands.match import match
from jaxgen.commands.mix import mix
from jaxgen.commands.project import project
from jaxgen.commands.sample import sample
from jaxgen.commands.terminal import listed, one_line, parse
from jaxgen.errors import UserError

PROG = "python -m jaxgen"


def report(run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]) -> Path:
    """The run as one page, report.html in its folder: curves, pictures, arguments.

    Args:
        run: A run folder, such as runs/wgan; it may be at work.
    """
    from jaxgen.commands.report import report  # NumPy, which --help does not need

    return report(run)


COMMANDS = {
    "list": catalogue,
    "sample": sample,
    "interpolate": interpolate,
    "mix": mix,
    "project": project,
    "apply": apply,
    "match": match,
    "export": export,
    "report": report,
    "evaluate": evaluate,
    "compare": compare,
}


def main(argv: list[str]) -> None:
    """Runs a command and prints what it returns: a text, or the paths that it wrote."""
    argv = argv or ["--help"]
    with one_line("jaxgen"):
        first, known = argv[0], listed(list(COMMANDS))
        if first not in COMMANDS and first not in ("-h", "--help"):
            if first.startswith("-"):
                raise UserError(f"the command comes before {first}: {known}")
            near = difflib.get_close_matches(first, COMMANDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {known}"
            raise UserError(f"there is no command {first}; {hint}")
        cli = functools.partial(
            tyro.extras.subcommand_cli_from_dict,
            {name: _later(command) for name, command in COMMANDS.items()},
            description="The commands of jaxgen. Training is python -m jaxgen.experiments.NAME.",
            config=(FlagCreatePairsOff,),
        )
        made = parse(cli, argv, PROG)()
        print(*(made if isinstance(made, list) else [made]), sep="\n")


def _later(command: Callable) -> Callable:
    """`command`, to be parsed for but not yet run."""

    @functools.wraps(command)
    def bound(*args, **kwargs):
        return functools.partial(command, *args, **kwargs)

    return bound


if __name__ == "__main__":
    main(sys.argv[1:])
