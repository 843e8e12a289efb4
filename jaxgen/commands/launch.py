"""From a command line to a finished run: `python -m jaxgen.experiments.NAME [flags]`.

An experiment is a module with a dataclass `Args` (its flags; their docstrings are the help) and a
function `system(args, data)`: a System, or a list of Stages; it may look at `data.shape` and
`data.examples(n)`.  Nothing here imports JAX before the arguments and the data are right.
"""

import dataclasses
import difflib
import importlib
import json
import os
import sys
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

import tyro

from jaxgen.commands.scores import LEAST, check_metrics
from jaxgen.commands.terminal import listed, one_line
from jaxgen.commands.terminal import parse as parse_flags
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The flags that every experiment has."""

    workdir: Annotated[
        Path | None,
        tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: runs/NAME of the experiment)"),
    ] = None
    """The run folder. The same command again goes on with the run in it."""
    recipe: Annotated[
        Path | None, tyro.conf.arg(metavar="FILE.toml", help_behavior_hint="(default: none)")
    ] = None
    """Values for these flags, such as experiments/wgan/paper.toml has; a flag that is given on the
    command line wins."""
    data: Annotated[str, tyro.conf.arg(metavar="SPEC")] = "mnist5k"
    """mnist5k, emoji, openmoji, emoji-lines, emoji-domains, photos, tfds:NAME[/CONFIG],
    folder:DIR (images; sub-folders are labels), pairs:DIR (A/ and B/, or side by side) or
    domains:DIR (trainA/ and trainB/)."""
    size: int = 32
    """Side of the images in pixels; others are resized."""
    channels: Literal[1, 3, 4] = 3
    """1 grey, 3 RGB, 4 RGBA."""
    crop: Literal["center", "stretch", "pad"] = "center"
    """How an image that is not square becomes so."""
    resample: Literal["lanczos", "bicubic", "bilinear", "area", "nearest"] = "lanczos"
    """The filter that resizes."""
    flip: bool = False
    """Mirror images at random, every second one on average."""
    random_crop: int = 0
    """Resize to this many pixels and cut the size out at random; 0 does not."""
    held_out: float = 0.0
    """Share, from 0 to 1, of a folder without test/ or val/ that is kept from training."""
    resident: Literal["auto", "yes", "no"] = "auto"
    """Keep the decoded data on the devices; auto does so up to 256 MiB."""
    rounds: int = 10_000
    """How long to train. A round is one pass through the system's turns."""
    batch_size: int = 64
    """Images of a minibatch, over all devices together."""
    seed: int = 0
    """Of the weights, the noise and the order of the data."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What networks compute in; weights and losses stay float32."""
    rounds_per_call: int = 1
    """Rounds that one program plays; more keep a fast device from waiting for the host."""
    log_every: int = 100
    """Rounds between lines of metrics.jsonl."""
    show_every: int = 1000
    """Rounds between pictures."""
    save_every: int = 1000
    """Rounds between checkpoints."""
    keep: int = 3
    """How many checkpoints stay, the newest ones."""
    evaluate_every: int = 0
    """Rounds between scores of the samples against the training images (scores.jsonl); 0 never."""
    evaluate_metrics: tuple[str, ...] = ("fid", "kid")
    """What is scored: fid, kid, is, precision, recall, density, coverage or swd, with SqueezeNet's
    features; `python -m jaxgen evaluate` has others."""
    evaluate_samples: int = 1000
    """How many samples are scored."""
    multihost: bool = False
    """Join the other processes of a cluster (jax.distributed)."""

    rounds_matter: ClassVar[bool] = False
    """Whether a schedule depends on `rounds`, which then may not change when a run goes on."""


# At least 1; a seed is what NumPy and JAX both take.
COUNTS = (
    *("size", "rounds", "batch_size", "rounds_per_call"),
    *("log_every", "show_every", "save_every", "keep"),
)
SEEDS = 2**31


def launch(system: Callable[[Any, Any], Any]) -> None:
    """Runs the experiment whose module defines `system`, as a command: ends the process."""
    name = module_name(system)
    with one_line(name.rpartition(".")[2]):
        args = parse(importlib.import_module(system.__module__).Args, name, sys.argv[1:])
        train(name, system, args)


def module_name(system: Callable) -> str:
    """The experiment's importable name, also where it runs as `__main__`."""
    if system.__module__ != "__main__":
        return system.__module__
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else Path(sys.argv[0]).stem


def parse(kind: type, name: str, argv: list[str]) -> Any:
    """The arguments: defaults, under the recipe's values, under the flags."""
    args = _flags(kind, name, argv)
    if args.recipe:
        args = _flags(kind, name, [*_recipe(kind, name, args.recipe), *argv])
    if args.workdir is None:
        args = dataclasses.replace(args, workdir=Path("runs") / name.rpartition(".")[2])
    for field in COUNTS:
        if (value := getattr(args, field)) < 1:
            raise UserError(f"--{_flag(field)} is at least 1, not {value}")
    if not 0 <= args.seed < SEEDS:
        raise UserError(f"--seed is from 0 to {SEEDS - 1}, not {args.seed}")
    check_metrics(args.evaluate_metrics)
    for field, least in {"evaluate_every": 0, "evaluate_samples": LEAST}.items():
        if (value := getattr(args, field)) < least:
            raise UserError(f"--{_flag(field)} is at least {least}, not {value}")
    return args


def _flags(kind: type, name: str, argv: list[str]):
    return parse_flags(partial(tyro.cli, kind), argv, f"python -m {name}")


def _flag(field: str) -> str:
    return field.replace("_", "-")


def _recipe(kind: type, name: str, path: Path) -> list[str]:
    """A recipe as the flags that it stands for."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"recipe {path} cannot be read: {error.strerror}; check --recipe") from None
    except ValueError as error:  # not TOML, or not text
        raise UserError(f"recipe {path} is not TOML: {error}; mend it") from None
    fields = sorted({field.name for field in dataclasses.fields(kind)} - {"recipe"})
    hints, flags = get_type_hints(kind), {}
    for field, value in values.items():
        if field not in fields:
            near = difflib.get_close_matches(field, fields, 1)
            hint = f"did you mean {near[0]}?" if near else f"it may set {listed(fields, 'and')}"
            raise UserError(f"recipe {path}: there is no argument {field!r}; {hint}")
        if (hints[field] is bool) != isinstance(value, bool):
            kind_of = "is true or false" if hints[field] is bool else "takes a value"
            raise UserError(
                f"recipe {path}: {field} {kind_of}, not {json.dumps(value, default=str)}"
            )
        if isinstance(value, bool):
            flags[field] = [f"--{_flag(field)}" if value else f"--no-{_flag(field)}"]
        else:
            several = value if isinstance(value, list) else [value]
            flags[field] = [f"--{_flag(field)}", *map(str, several)]
    try:
        _flags(kind, name, together := [word for argv in flags.values() for word in argv])
    except UserError:
        for field, argv in flags.items():  # which one is it?
            try:
                _flags(kind, name, argv)
            except UserError as error:
                value = json.dumps(values[field], default=str)
                raise UserError(f"recipe {path}, {field} = {value}: {error}") from None
        raise
    return together


def train(name: str, system: Callable, args: Any) -> None:
    """Trains with parsed arguments in `args.workdir`, to the end or to where a signal stops it."""
    data = load_data(args)
    start_jax(args.multihost)
    import jax

    from jaxgen.train.fit import fit
    from jaxgen.train.run import FREE, Run, environment
    from jaxgen.train.stages import Stage, fit_stages

    built = system(args, data)
    written = {"experiment": name, **dataclasses.asdict(args)}
    free = FREE if args.rounds_matter else FREE | {"rounds"}
    options = {
        field: getattr(args, field)
        for field in (
            *("seed", "precision", "rounds_per_call"),
            *("log_every", "show_every", "save_every", "keep", "evaluate_every"),
        )
    }
    if args.evaluate_every:
        from jaxgen.commands.evaluate import in_training

        options["evaluate"] = in_training(args.evaluate_metrics, args.evaluate_samples)
    lead = jax.process_index() == 0
    with Run(args.workdir, written, environment(data.fingerprint), lead, free) as run:
        if isinstance(built, list) and isinstance(built[0], Stage):
            fit_stages(built, run=run, **options)
        else:
            fit(built, data, args.rounds, batch_size=args.batch_size, run=run, **options)
    if lead:
        from jaxgen.commands.report import report

        page = report(args.workdir)
        print(f"pictures     {args.workdir / 'samples'}")
        print(f"metrics      {args.workdir / 'metrics.jsonl'}")
        print(f"checkpoints  {args.workdir / 'checkpoints'}")
        print(f"report       {page}")


def load_data(args, split: str = "train"):
    """The data that the arguments name."""
    from jaxgen.data.pipeline import load

    return load(
        args.data,
        size=args.size,
        channels=args.channels,
        split=split,
        crop=args.crop,
        resample=args.resample,
        flip=args.flip,
        random_crop=args.random_crop,
        held_out=args.held_out,
        resident=args.resident,
    )


def start_jax(multihost: bool = False) -> None:
    """Imports JAX with a persistent compilation cache, and joins the cluster if asked to.

    No usable device is a UserError.
    """
    import jax

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        from jaxgen.files import cache_folder

        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    if multihost:
        from jaxgen.train.devices import start_processes

        start_processes()
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # a platform that is missing, or none left
        reason = str(error).split("\n")[0] or f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS')}"
        raise UserError(f"JAX has no device to run on ({reason}); check JAX_PLATFORMS") from error
