"""What a user sees on a terminal: the help, and one line for what is theirs to fix."""

import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError

SMALLER = ("batch_size", "batch", "tile", "size", "width")  # flags of what needs memory


@contextlib.contextmanager
def one_line(name: str, flags: Iterable[str] = ()) -> Iterator[None]:
    """Turns what a user can mend into the line `name: ...` on stderr and ends the process.

    flags: those that there are, by their names in Python; of a full memory the line names those of
      which smaller values help.

    Exit codes: 2 a mistake, 1 a loss that is not finite, 130 Ctrl-C outside the training,
    0 a run that was asked to stop and has saved. All else is a bug and keeps its traceback.
    """
    try:
        yield
        sys.stdout.flush()  # here, so that a reader who has left is met below
    except UserError as error:
        sys.exit(_say(name, error, 2))
    except KeyboardInterrupt:
        sys.exit(_say(name, "interrupted; nothing that was saved is lost", 130))
    except BrokenPipeError:  # `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        # The training loop's own two ends; imported late, like all that needs JAX.
        fit = sys.modules.get("jaxgen.train.fit")
        if fit and isinstance(error, fit.Stopped):
            sys.exit(_say(name, f"{error}: {shlex.join(sys.orig_argv)}", 0))
        if fit and isinstance(error, fit.Diverged):
            sys.exit(_say(name, error, 1))
        exhausted = type(error).__name__ == "JaxRuntimeError" and "RESOURCE_EXHAUSTED" in str(error)
        if exhausted or isinstance(error, MemoryError):
            need = re.search(r"allocat\w+ ([\d.]+ ?\w*i?B|\d+ bytes)", str(error))
            need = f" ({need[1]} more were needed)" if need else ""
            helps = [f"--{flag.replace('_', '-')}" for flag in SMALLER if flag in set(flags)]
            fix = f"use a smaller {listed(helps)}" if helps else "use a device that has more"
            sys.exit(_say(name, f"the device's memory is full{need}; {fix}", 2))
        raise


def parse(cli: Callable[..., Any], argv: Sequence[str], prog: str) -> Any:
    """`cli(args=argv, prog=prog)`, where `cli` is `tyro.cli` or alike, bound to what it parses.

    `--help` is printed and ends the process. A mistake is a UserError of one line, without the box
    that tyro draws.
    """
    if {"-h", "--help"} & set(argv):
        return cli(args=argv, prog=prog)
    said, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"  # or else the box would break long words
    try:
        with contextlib.redirect_stderr(said):
            return cli(args=argv, prog=prog)
    except SystemExit as end:
        if not end.code:
            raise
        raise UserError(_problem(said.getvalue())) from None
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the disk refuses into one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{path} cannot be written ({reason}); name another place by --out"
        ) from error


def listed(names: Sequence[str], last: str = "or") -> str:
    """a, b or c."""
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _say(name, what, code):
    print(f"{name}: {what}", file=sys.stderr, flush=True)
    return code


def _problem(box: str) -> str:
    """The line for tyro's box: what is wrong, in our words where they are known, and a hint."""
    sections, rule = [""], re.compile("[-─]{9,}")  # a terminal without UTF-8 gets plain boxes
    for line in box.splitlines()[1:]:  # the first is a title
        line = re.sub(r"\s+", " ", line.strip("│╰─╯ "))
        if rule.fullmatch(line) or not line:
            sections.append("")
        else:
            sections[-1] = f"{sections[-1]} {line}".strip()
    problem, *more = list(filter(None, sections)) or ["these arguments do not fit"]
    problem = problem.rstrip(".")
    for pattern, words in _WORDS:
        if found := re.fullmatch(pattern, problem):
            problem = words(*found.groups())
            break
    near = re.search(r"Perhaps you meant: (--[\w-]+)", " ".join(more))
    return f"{problem}; " + (f"did you mean {near[1]}?" if near else "--help lists what there is")


_WORDS: tuple[tuple[str, Callable[..., str]], ...] = (
    (r"Unrecognized options: (?:.*?, )??(--?[A-Za-z][^\s,]*).*", "there is no flag {}".format),
    (r"Unrecognized options: (.*)", "{} belongs to no flag".format),
    (
        r"Error parsing (\S+): invalid literal for int.*?: (.*)",
        "{} is a whole number, not {}".format,
    ),
    (
        r"Error parsing (\S+): could not convert string to float: (.*)",
        "{} is a number, not {}".format,
    ),
    (r"Error parsing (\S+): (.*)", "{}: {}".format),
    (r"Missing value for argument '(\w+)'.*", lambda name: f"a {name.upper()} comes before flags"),
    (r"Missing value for argument '(\S+)'.*", "{} needs a value".format),
    (r"Missing from \S+ -m \S+ (\S+): (\S+) .*", "{} needs a {}".format),
    (
        r"invalid choice (.*) for argument '(\S+)'. Expected one of \((.*?),?\)",
        lambda given, flag, known: f"{flag} is {listed(known.split(', '))}, not {given}",
    ),
)
