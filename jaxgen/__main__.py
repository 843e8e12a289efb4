"""`python -m jaxgen COMMAND ...`: what there is, and what a trained run can do."""

import difflib
import functools
import inspect
import sys

import tyro

from jaxgen.commands.choices import CONFIG, call, returning
from jaxgen.commands.compare import compare
from jaxgen.commands.evaluate import evaluate
from jaxgen.commands.export import export
from jaxgen.commands.interpolate import interpolate
from jaxgen.commands.list import catalogue
from jaxgen.commands.match import match
from jaxgen.commands.mix import mix
from jaxgen.commands.new import new
from jaxgen.commands.project import project
from jaxgen.commands.report import report
from jaxgen.commands.sample import sample
from jaxgen.commands.score import score
from jaxgen.commands.terminal import listed, one_line, parse
from jaxgen.commands.translate import translate
from jaxgen.errors import UserError

PROG = "python -m jaxgen"
COMMANDS = {
    "list": catalogue,
    "sample": sample,
    "interpolate": interpolate,
    "mix": mix,
    "project": project,
    "translate": translate,
    "match": match,
    "score": score,
    "export": export,
    "report": report,
    "evaluate": evaluate,
    "compare": compare,
    "new": new,
}


def main(argv: list[str]) -> None:
    """Runs a command and prints what it returns: a text, or the paths that it wrote."""
    first, *words = argv or ["--help"]
    flags = inspect.signature(COMMANDS[first]).parameters if first in COMMANDS else ()
    with one_line("jaxgen", {"batch"} & set(flags)):  # sizes are those of a run's images
        if first in ("-h", "--help"):
            commands = {name: returning(command) for name, command in COMMANDS.items()}
            about = "The commands of jaxgen. Training is python -m jaxgen.experiments.NAME."
            cli = functools.partial(tyro.extras.subcommand_cli_from_dict, commands)
            parse(functools.partial(cli, description=about, config=CONFIG), [first], PROG)
        if first not in COMMANDS:
            known = listed(list(COMMANDS))
            if first.startswith("-"):
                raise UserError(f"the command comes before {first}: {known}")
            near = difflib.get_close_matches(first, COMMANDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {known}"
            raise UserError(f"there is no command {first}; {hint}")
        made = call(COMMANDS[first], words, f"{PROG} {first}")
        print(*(made if isinstance(made, list) else [made]), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
