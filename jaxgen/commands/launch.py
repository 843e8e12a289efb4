"""From a command line to a finished run: `python -m jaxgen.experiments.NAME [flags]`.

An experiment is a module with a dataclass `Args` (its flags; their docstrings are the help) and a
function `system(args, shape)`.  Nothing here imports JAX before the flags are known to be right.
"""

import contextlib
import dataclasses
import difflib
import importlib
import io
import os
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The flags that every experiment has."""

    workdir: Path | None = None
    """The run folder; runs/<experiment> by default. The same command again goes on with it."""
    recipe: Path | None = None
    """A TOML file of flags, such as experiments/wgan/paper.toml; flags given here go first."""
    data: str = "mnist5k"
    """mnist5k, emoji, openmoji, emoji-lines, emoji-domains, photos, tfds:NAME[/CONFIG],
    folder:DIR, pairs:DIR or domains:DIR."""
    size: int = 32
    """Side of the images in pixels; others are resized."""
    channels: Literal[1, 3, 4] = 3
    """1 grey, 3 RGB, 4 RGBA."""
    crop: Literal["center", "stretch", "pad"] = "center"
    """How an image that is not square becomes so."""
    resample: Literal["lanczos", "bicubic", "bilinear", "area", "nearest"] = "lanczos"
    """The filter that resizes."""
    flip: bool = False
    """Mirror every second image at random."""
    random_crop: int = 0
    """Resize to this many pixels and cut the size out at random; 0 does not."""
    held_out: float = 0.0
    """Share of a folder without test/ or val/ that is kept from training."""
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
    """Checkpoints that stay, the newest."""
    multihost: bool = False
    """Join the other processes of a cluster (jax.distributed)."""

    rounds_matter: ClassVar[bool] = False
    """Whether a schedule depends on `rounds`, which then may not change when a run goes on."""


def launch(system: Callable[[Any, tuple[int, int, int]], Any]) -> None:
    """Runs the experiment whose module defines `system`, as a command: ends the process."""
    name = module_name(system)
    with _one_line(name):
        args = parse(importlib.import_module(system.__module__).Args, name, sys.argv[1:])
        train(name, system, args)


def module_name(system: Callable) -> str:
    """The experiment's importable name, also where it runs as `__main__`."""
    if system.__module__ != "__main__":
        return system.__module__
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else Path(sys.argv[0]).stem


@contextlib.contextmanager
def _one_line(name: str):
    """Turns the errors that are the user's to fix into a line and an exit code."""
    prefix = name.rpartition(".")[2]
    try:
        yield
    except UserError as error:
        sys.exit(_say(prefix, error, 2))
    except Exception as error:
        # The training loop's own two ends; imported late, like all that needs JAX.
        fit = sys.modules.get("jaxgen.train.fit")
        if fit and isinstance(error, fit.Stopped):
            sys.exit(_say(prefix, error, 0))
        if fit and isinstance(error, fit.Diverged):
            sys.exit(_say(prefix, error, 1))
        raise


def _say(prefix, error, code):
    print(f"{prefix}: {error}", file=sys.stderr, flush=True)
    return code


def parse(kind: type, name: str, argv: list[str]) -> Any:
    """The arguments: defaults, under the recipe's values, under the flags."""
    args = _flags(kind, argv)
    if args.recipe:
        args = _flags(kind, [*_recipe(kind, args.recipe), *argv])
    if args.workdir is None:
        args = dataclasses.replace(args, workdir=Path("runs") / name.rpartition(".")[2])
    for field in ("size", "rounds", "batch_size", "rounds_per_call", "log_every", "show_every"):
        if getattr(args, field) < 1:
            raise UserError(f"--{field.replace('_', '-')} must be at least 1")
    return args


def _flags(kind, argv):
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=argv)
    except SystemExit as end:
        if not end.code:
            raise
        text = [line.strip("│╭╰╮╯─ ") for line in said.getvalue().splitlines()[1:]]
        problem = " ".join(text[: text.index("")] if "" in text else text)
        options = [f"--{f.name.replace('_', '-')}" for f in dataclasses.fields(kind)]
        wrong = [word.split("=")[0] for word in argv if word.startswith("--")]
        near = [difflib.get_close_matches(w, options, 1) for w in wrong if w not in options]
        hint = f"; did you mean {near[0][0]}?" if near and near[0] else "; --help lists the flags"
        raise UserError(re.sub(r"\s+", " ", problem).rstrip(".") + hint) from None


def _recipe(kind, path):
    """A recipe as the flags that it stands for."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"recipe {path} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"recipe {path} is not TOML: {error}") from None
    fields = {field.name for field in dataclasses.fields(kind)} - {"recipe"}
    argv = []
    for name, value in values.items():
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; it may set {', '.join(sorted(fields))}"
            raise UserError(f"recipe {path}: there is no argument {name!r}{hint}")
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            argv.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            argv += [f"--{flag}", *map(str, value if isinstance(value, list) else [value])]
    try:
        _flags(kind, argv)
    except UserError as error:
        raise UserError(f"recipe {path}: {error}") from None
    return argv


def train(name: str, system: Callable, args: Any) -> None:
    """Trains with parsed arguments in `args.workdir`, to the end or to where a signal stops it."""
    start_jax(args.multihost)
    import jax

    from jaxgen.train.fit import fit
    from jaxgen.train.run import FREE, Run, environment
    from jaxgen.train.stages import Stage, fit_stages

    data = load_data(args)
    built = system(args, data.shape)
    written = {"experiment": name, **dataclasses.asdict(args)}
    free = FREE if args.rounds_matter else FREE | {"rounds"}
    options = {
        field: getattr(args, field)
        for field in (
            *("seed", "precision", "rounds_per_call"),
            *("log_every", "show_every", "save_every", "keep"),
        )
    }
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
    """Imports JAX with a persistent compilation cache, and joins the cluster if asked to."""
    import jax

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        from jaxgen.data.emoji import cache_folder

        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    if multihost:
        from jaxgen.train.devices import start_processes

        start_processes()
