"""What a user sees on a terminal: the help, and one line for what is theirs to fix."""

import contextlib
import errno
import inspect
import io
import os
import re
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxgen.errors import UserError, memory_is_full

SMALLER = ("batch_size", "batch", "size", "width")  # flags of what needs memory


@contextlib.contextmanager
def one_line(name: str, flags: Iterable[str] = ()) -> Iterator[None]:
    """Turns what a user can mend into the line `name: ...` on stderr and ends the process.

    flags: those that there are, by their names in Python; of a full memory the line names those of
      which smaller values help.

    Exit codes: 2 a mistake, 1 a loss that is not finite, 128 + n what the signal n has ended, as
    shells have it: 130 Ctrl-C, 143 SIGTERM, 141 a reader who has left (`... | head`); a training
    has saved before. All else is a bug and keeps its traceback.
    """
    _open_streams()
    with _interrupts_are_heard(), _no_complaints():
        yield from _one_line(name, flags)


def _one_line(name, flags):
    try:
        try:
            yield
        except SystemExit:  # such as that of --help
            sys.stdout.flush()  # here, so that a reader who has left is met below
            raise
        sys.stdout.flush()
    except UserError as error:
        sys.exit(_say(name, error, 2))
    except KeyboardInterrupt:
        sys.exit(_say(name, "interrupted; nothing that was saved is lost", 130))
    except BrokenPipeError:
        sys.exit(141)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.exit(_say(name, "the output cannot be written: no space is left", 2))
    except Exception as error:
        # The training loop's own two ends; imported late, like all that needs JAX.
        fit = sys.modules.get("jaxgen.train.fit")
        if fit and isinstance(error, fit.Stopped):
            code = 128 + error.number  # pyright: ignore
            sys.exit(_say(name, f"{error}: {shlex.join(sys.orig_argv)}", code))
        if fit and isinstance(error, fit.Diverged):
            sys.exit(_say(name, error, 1))
        if memory_is_full(error):
            need = re.search(r"allocat\w+ ([\d.]+ ?\w*i?B|\d+ bytes)", str(error))
            need = f" ({need[1]} more were needed)" if need else ""
            helps = [f"--{flag.replace('_', '-')}" for flag in SMALLER if flag in set(flags)]
            fix = f"use a smaller {listed(helps)}" if helps else "use a device that has more"
            sys.exit(_say(name, f"the device's memory is full{need}; {fix}", 2))
        raise


def _open_streams() -> None:
    """Streams that were closed lead nowhere, and no encoding ends a command: what it lacks is
    written as \\u2022."""
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:  # or a checkpoint would be file 2
        os.set_inheritable(free, True)
    os.close(free)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _interrupts_are_heard():
    """Ctrl-C that Python drops, as it comes amidst a callback (JAX has one), comes once more."""
    usual = sys.unraisablehook

    def hook(dropped):
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            main = threading.main_thread().ident
            threading.Timer(0.05, signal.pthread_kill, [main, signal.SIGINT]).start()
        else:
            usual(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = usual


@contextlib.contextmanager
def _no_complaints():
    """Output that nobody reads any more causes no complaint when Python flushes it at its end."""
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except ValueError:  # it is closed
                continue
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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


def signed(
    function: Callable[..., Any], parameters: Sequence[inspect.Parameter], like: Any
) -> Callable[..., Any]:
    """The function as if it were written with these parameters and the docstring of `like`, a
    function or a dataclass.  Their help is told in whole lines, not in those of the source."""
    import docstring_parser

    said = {
        found.arg_name: " ".join(found.description.split())
        for kind in reversed(getattr(like, "__mro__", (like,)))
        if kind is not object
        for found in docstring_parser.parse_from_object(kind).params
        if found.description
    }

    def told(x):
        if x.name not in said:
            return x
        return x.replace(annotation=Annotated[x.annotation, tyro.conf.arg(help=said[x.name])])

    parameters = [told(x) for x in parameters]
    function.__annotations__ = {x.name: x.annotation for x in parameters}
    function.__dict__["__signature__"] = inspect.Signature(parameters)
    doc = like.__doc__ or ""
    if doc.startswith(f"{like.__name__}("):  # the one that a dataclass makes
        doc = ""
    text = inspect.cleandoc(doc).partition("\nArgs:")[0]
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    function.__name__, function.__doc__ = like.__name__, "\n\n".join(paragraphs)
    return function


@contextlib.contextmanager
def writing(
    path: Path, mend: str = "name another place by --out", folder: bool = False
) -> Iterator[None]:
    """What the disk refuses as one line, around code that makes the file `path` (a `folder`: that
    with files in it); what is known before the code begins is told before."""
    try:
        place = next(place for place in (path, *path.parents) if place.exists())
        if place == path and path.is_dir() and not folder:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if place == path and not path.is_dir():
            open(path, "ab").close()
            place = path.parent
        tempfile.TemporaryFile(dir=place).close()
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path} cannot be written ({reason}); {mend}") from error


def listed(names: Sequence[str], last: str = "or") -> str:
    """a, b or c."""
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _say(name, what, code):
    from jaxgen.progress import say

    say(f"{name}: {what}")
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
    (
        r"Error parsing (\S+): no type matching \{None\}\|INT could .* \['(.*)'\]",
        "{} is a whole number, not {}".format,
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
