"""Commands that open a run, and the flags that a run itself brings along.

A command is a function; its parameters are its flags.  With `**choices: OfSampler` it has, besides
these, the flags of the run that it opens: the sampler's conditions and options, so that a system
with a new option changes no command.
"""

import dataclasses
import functools
import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_type_hints

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from jaxgen.commands.flags import Count, Range, check_values
from jaxgen.commands.terminal import parse, signed
from jaxgen.errors import UserError

if TYPE_CHECKING:
    from jaxgen.runs.trained import TrainedRun

Run = Annotated[
    Positional[Path],
    arg(metavar="RUN", help="Run folder, such as runs/wgan; it may still be training."),
]
Round = Annotated[
    int | None,
    arg(metavar="R", help="Round of the checkpoint.", help_behavior_hint="(default: the newest)"),
]
Copy = Annotated[
    int | None,
    Range(0),
    arg(
        metavar="N",
        help="Which of a run's seeds, or of a sweep's values, is used, from 0.",
        help_behavior_hint="(default: the first; of scores the mean over all seeds)",
    ),
]
System = Annotated[
    str | None,
    arg(
        metavar="MODULE:NAME",
        help="System of a run that was made from Python: a System, or a function of the DataInfo "
        "that gives one. The module may lie in the current folder.",
        help_behavior_hint="(default: the experiment's)",
    ),
]
Batch = Annotated[Count, arg(help="Images at a time; fewer need less memory.")]
Out = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: in RUN/use/)")]
CONFIG = (FlagCreatePairsOff,)


@dataclasses.dataclass(frozen=True)
class Flag:
    """A flag of a run: its type and default, and what the library is given for its value."""

    kind: Any
    default: Any
    read: Callable[[Any], Any] = lambda value: value


def of_conditions(trained: "TrainedRun", several: str = "several are taken in turn"):
    """The conditions of the run's sampler, for images one after the other."""
    names = [name for way in _samplers(trained) for name in way.condition]
    return {name: _condition(trained.info, name, several) for name in names}


def of_condition(trained: "TrainedRun") -> dict[str, Flag]:
    """The conditions of the run's sampler, for one image."""
    return of_conditions(trained, "")


def of_sampler_options(trained: "TrainedRun") -> dict[str, Flag]:
    """The options of the run's sampler."""
    return {k: _option(x) for way in _samplers(trained) for k, x in way.options.items()}


def of_sampler(trained: "TrainedRun") -> dict[str, Flag]:
    """The conditions and options of the run's sampler."""
    every = of_conditions(trained, "several are taken in turn, by default all")
    return every | of_sampler_options(trained)


def of_translators(trained: "TrainedRun") -> dict[str, Flag]:
    """The further inputs and the options of the run's translators."""
    info, ways = trained.info, _translators(trained)
    inputs = {name: _condition(info, name, "") for way in ways for name in way.inputs[1:]}
    return inputs | {name: _option(x) for way in ways for name, x in way.options.items()}


def of_options(trained: "TrainedRun") -> dict[str, Flag]:
    """The options of the run's sampler and of its translators."""
    ways = [*_samplers(trained), *_translators(trained)]
    return {k: _option(x) for way in ways for k, x in way.options.items()}


def of_scored(trained: "TrainedRun") -> dict[str, Flag]:
    """The conditions of the run's sampler, and the options of it and of its translators."""
    return of_sampler(trained) | of_options(trained)


def _samplers(trained):
    from jaxgen.train.abilities import Sampler

    return trained.system.all_of(Sampler)[:1]


def _translators(trained):
    from jaxgen.train.abilities import Translator

    return trained.system.all_of(Translator)


OfCondition = Annotated[Any, of_condition]
OfConditions = Annotated[Any, of_conditions]
OfMixer = Annotated[Any, of_sampler_options]
OfSampler = Annotated[Any, of_sampler]
OfTranslators = Annotated[Any, of_translators]
OfOptions = Annotated[Any, of_options]
OfScored = Annotated[Any, of_scored]


def _option(option):
    kind = float | None if option.default is None else type(option.default)
    kind = Literal[option.choices] if option.choices else kind
    hint = {"help_behavior_hint": "(default: none)"} if option.default is None else {}
    numbers = (float, float | None, int, int | None)
    bounds = (Range(option.low, option.high),) if kind in numbers else ()
    return Flag(Annotated[(kind, *bounds, arg(help=f"{option.help}.", **hint))], option.default)


def _condition(info, name, several):
    def words(metavar, help, of_several="several are taken in turn"):
        if not several:
            about = arg(metavar=metavar, help=f"{help}.", help_behavior_hint="")
            return Flag(Annotated[str | None, about], None)
        about = arg(metavar=f"{metavar} ...", help=f"{help}; {of_several}.", help_behavior_hint="")
        return Flag(Annotated[tuple[str, ...], about], ())

    from jaxgen.runs.choices import kind

    match kind(info, name):
        case "label":
            known = ", ".join(info.label_names[:20]) + ", ..." * (len(info.label_names) > 20)
            return words("CLASS", f"Class, by number or name ({known})", several)
        case "text":
            return words("TEXT", f"What {'images show' if several else 'the image shows'}")
        case "attributes" | "set":
            which = "and their new values" if name == "set" else "that are not 0"
            help = f"Attributes {which}, of {', '.join(info.attribute_names)}."
            about = arg(metavar="NAME=VALUE ...", help=help, help_behavior_hint="")
            return Flag(Annotated[tuple[str, ...], about], (), functools.partial(_attributes, name))
        case _:
            file = Annotated[Path | None, arg(metavar="FILE", help="Image file.")]
            return Flag(file, None, _image)


def _attributes(flag, words):
    given = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            number = float(value)
        except ValueError:
            line = f"{flag} takes NAME=NUMBER, such as smiling=1, not {word!r}"
            raise UserError(line) from None
        if name in given:
            raise UserError(f"{flag} has {name} twice; give it once")
        given[name] = number
    return given


def _image(file):
    from jaxgen.data.images import decode

    if not file.is_file():
        raise UserError(f"there is no {file}; name an image file")
    return decode(file)


@functools.lru_cache(maxsize=1)
def open_run(
    run: Path, system: str | None = None, round: int | None = None, copy: int | None = None
) -> "TrainedRun":
    """The run in a folder, with JAX started.  UserError."""
    from jaxgen.train.run import read_run

    read_run(run)  # before JAX starts, which takes a while
    from jaxgen.commands.start import start_jax

    start_jax()
    from jaxgen.runs.load import load

    return load(run, system and _named(system), round=round, copy=copy)


def _named(name):
    """The object that MODULE:NAME names."""
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise UserError(f"--system is MODULE:NAME, such as mine:gan, not {name}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise UserError(f"--system {name} cannot be imported: {error}; check the name") from error
    except AttributeError:
        raise UserError(f"--system {name}: {module} has no {attribute}; check the name") from None


def call(command: Callable, argv: Sequence[str], prog: str) -> Any:
    """Parses the flags of `command`, twice where there may be flags of its run, and calls it.

    `--help` lists the flags of the run, too, if it can be opened.  UserError that names the flag.
    """
    open_run.cache_clear()
    hints = get_type_hints(command, include_extras=True)
    find = get_args(hints["choices"])[1] if "choices" in hints else None
    words = [word for word in argv if word not in ("-h", "--help")]
    helps, own, trained = len(words) < len(argv), {}, None
    opened = lambda given: open_run(*(given[k] for k in ("run", "system", "round", "copy")))
    if find:
        try:
            given, others = parse(cli(command, return_unknown_args=True), words, prog)
            if (others or helps) and given["run"]:
                trained = opened(given)
                own = find(trained)
        except UserError:
            if not helps:
                raise
    try:
        given = parse(cli(command, own), ["--help"] if helps else argv, prog)
    except UserError as error:
        if trained is None or not str(error).startswith("there is no flag"):
            raise
        known = ", ".join(map(_flag, own)) or "none"
        line = f"{error} (flags of {trained.name} itself: {known}){trained.unfinished}"
        raise UserError(line) from None
    _check_lists(given, argv)
    check_values(hints | {name: flag.kind for name, flag in own.items()}, given)
    chosen = {k: given.pop(k) for k in own}
    try:
        read = {k: own[k].read(x) for k, x in chosen.items() if x != own[k].default}
        return command(**given, **read)
    except UserError as error:  # the library speaks of arguments
        if find and open_run.cache_info().currsize:
            own = find(opened(given))
        name, _, rest = str(error).partition(" ")
        if name in given or name in own:
            raise UserError(f"{_flag(name)} {rest}") from error
        raise


def _check_lists(given, argv):
    """UserError for a flag of several values that is given twice, of which the last would count, or
    without any."""
    words = [word.partition("=")[0] for word in argv]
    for name, value in given.items():
        times = words.count(_flag(name)) if isinstance(value, tuple) else 0
        if times > 1:
            raise UserError(f"{_flag(name)} is given {times} times; write all its values after one")
        if times and not value:
            raise UserError(f"{_flag(name)} has no value; give it one, or leave it out")


def cli(command: Callable, own: Mapping[str, Flag] = MappingProxyType({}), **options) -> Callable:
    """`tyro.cli` for the flags of the command and those of its run, which it returns by name."""
    return functools.partial(tyro.cli, returning(command, own), config=CONFIG, **options)


def returning(command: Callable, own: Mapping[str, Flag] = MappingProxyType({})) -> Callable:
    """A function with the parameters of `command` and its run, which returns what it is given."""

    def flags(**given):
        return given

    parameters = inspect.signature(command).parameters.values()
    parameters = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    flag = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    parameters += [flag(k, default=x.default, annotation=x.kind) for k, x in own.items()]
    return signed(flags, parameters, command)


def _flag(name):
    return f"--{name.replace('_', '-')}"


def by(choices: Mapping[str, Any], copy: int | None = None) -> str:
    """What choices, and which seed's copy, add to a file's name, such as _truncation_0.7."""
    if copy is not None:
        choices = {"copy": copy, **choices}

    def text(x):
        if isinstance(x, Mapping):
            return "-".join(f"{k}-{v:g}" for k, v in x.items())
        return "-".join(map(str, x)) if isinstance(x, tuple) else f"{x}"

    words = [f"_{name}_{text(x)}" for name, x in choices.items() if not hasattr(x, "shape")]
    whole = "".join(words)
    name = re.sub(r"[^\w.-]+", "-", whole)
    if len(name.encode()) <= 100 and name == whole.replace(" ", "-"):
        return name  # nothing is lost by which two choices differ
    start = name.encode()[:91].decode(errors="ignore")
    return f"{start}_{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
