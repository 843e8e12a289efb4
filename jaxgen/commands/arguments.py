"""The flags of experiments: their defaults, under a recipe's values, under the command line's."""

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

import tyro

from jaxgen.commands.scores import LEAST, check_metrics
from jaxgen.commands.terminal import listed
from jaxgen.commands.terminal import parse as parse_flags
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Basic:
    """The flags that every experiment and every study has."""

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
    rounds: int = 10_000
    """How long to train. A round is one pass through the system's turns."""
    batch_size: int = 64
    """Examples of a minibatch, over all devices together."""
    seed: int = 0
    """Of the weights, the noise and the order of the data."""
    rounds_per_call: int = 1
    """Rounds that one program plays; more keep a fast device from waiting for the host."""
    log_every: int = 100
    """Rounds between lines of metrics.jsonl."""
    sample_every: int = 1000
    """Rounds between pictures."""
    save_every: int = 1000
    """Rounds between checkpoints."""

    may_be_zero: ClassVar[tuple[str, ...]] = ()
    """Which of `COUNTS` may be 0, too."""

    @property
    def rounds_matter(self) -> bool:
        """Whether a schedule depends on `rounds`, which then may not change when a run goes on."""
        return False

    @property
    def fingerprint(self) -> str | None:
        """Of what is in the files that the flags name, where a run is about them. UserError."""
        return None

    def check(self) -> None:
        """Raises UserError for values that do not fit each other."""

    @property
    def schedule(self) -> dict[str, Any]:
        """What `fit` takes of these by name."""
        names = ("batch_size", "seed", "rounds_per_call", "log_every", "sample_every", "save_every")
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class OnePicture(Basic):
    """The flags of experiments that make one picture, by a training on it alone."""

    batch_size: ClassVar[int] = 1
    out: Annotated[
        Path | None,
        tyro.conf.arg(metavar="FILE.png", help_behavior_hint="(default: picture.png in --workdir)"),
    ] = None
    """Where the finished picture goes; a .jpg, .webp or .tif will do, too."""

    def check(self) -> None:
        from jaxgen.data.images import SUFFIXES

        if self.out and self.out.suffix.lower() not in SUFFIXES:
            raise UserError(f"--out {self.out} ends in none of {', '.join(sorted(SUFFIXES))}")
        if self.out and not self.out.parent.is_dir():
            raise UserError(f"--out {self.out}: there is no folder {self.out.parent}; make it")


@dataclasses.dataclass(frozen=True)
class Arguments(Basic):
    """The flags of experiments on images."""

    data: Annotated[str, tyro.conf.arg(metavar="SPEC")] = "mnist5k"
    """mnist5k, emoji, openmoji, emoji-lines, emoji-domains, photos, tfds:NAME[/CONFIG],
    folder:DIR (images; sub-folders are labels), pairs:DIR (A/ and B/, or side by side) or
    domains:DIR (trainA/ and trainB/); several with a plus, such as photos+emoji."""
    size: int = 32
    """Side of the images in pixels; others are resized."""
    channels: Literal[1, 3, 4] = 3
    """1 grey, 3 RGB, 4 RGBA."""
    crop: Literal["center", "stretch", "pad", "tiles"] = "center"
    """How an image that is not square becomes so. tiles does not resize: it cuts squares out of
    the image, side by side, each of which is an example (of a large folder, --resident yes decodes
    every image once)."""
    resample: Literal["lanczos", "bicubic", "bilinear", "area", "nearest"] = "lanczos"
    """The filter that resizes."""
    flip: bool = False
    """Mirror images at random, every second one on average."""
    random_crop: int = 0
    """Resize to this many pixels (tiles have as many) and cut the size out at random; 0 does
    not."""
    held_out: float = 0.0
    """Share, from 0 to 1, of a folder without test/ or val/ that is kept from training."""
    resident: Literal["auto", "yes", "no"] = "auto"
    """Keep the decoded data on the devices; auto does so up to 256 MiB."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What networks compute in; weights and losses stay float32."""
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
    """Join the processes of a cluster (jax.distributed); JAX_COORDINATOR_ADDRESS does so too."""

    needs: ClassVar[tuple[str, ...]] = ("image",)
    """What a batch must hold; "a" and "b" are a pair."""

    def tokenizer(self, captions: Callable[[], Iterable[str]]) -> Any | None:
        """From a caption to `text` int32 [L], where the system reads: `jaxgen.data.tokens.Tokens`.

        captions: gives those of the training data; a run that has begun has its vocabulary in its
          folder.  UserError.
        """
        return None

    @property
    def schedule(self) -> dict[str, Any]:
        names = ("precision", "keep", "evaluate_every")
        return super().schedule | {name: getattr(self, name) for name in names}

    def check(self) -> None:
        check_metrics(self.evaluate_metrics)
        for name, least in {"evaluate_every": 0, "evaluate_samples": LEAST}.items():
            if (value := getattr(self, name)) < least:
                raise UserError(f"--{_flag(name)} is at least {least}, not {value}")


# At least 1; a seed is what NumPy and JAX both take.
COUNTS = (
    *("size", "rounds", "batch_size", "rounds_per_call"),
    *("log_every", "sample_every", "save_every", "keep"),
    *("width", "units", "steps", "critic_steps", "critic_boost"),
    *("latent", "layers", "importance_samples"),
    *("pretrain_rounds", "blocks", "discriminator_width"),
    *("patch", "embedding", "heads", "text_width", "text_layers", "text_heads", "merges"),
    *("first_rounds", "stage_rounds", "fade_rounds", "base", "group"),
    *("ada_images", "ema_images"),
)
RATES = ("lr", "generator_lr", "critic_lr", "hasty_lr", "clip", "pretrain_lr")
SEEDS = 2**31


def parse(kind: type, name: str, argv: list[str]) -> Any:
    """The arguments: defaults, under the recipe's values, under the flags."""
    args = _flags(kind, name, argv)
    if args.recipe:
        args = _flags(kind, name, [*_recipe(kind, name, args.recipe), *argv])
    if args.workdir is None:
        args = dataclasses.replace(args, workdir=Path("runs") / name.rpartition(".")[2])
    for field in COUNTS:
        least = 0 if field in kind.may_be_zero else 1
        if (value := getattr(args, field, 1)) < least:
            raise UserError(f"--{_flag(field)} is at least {least}, not {value}")
    if not 0 <= args.seed < SEEDS:
        raise UserError(f"--seed is from 0 to {SEEDS - 1}, not {args.seed}")
    for field in RATES:
        if (value := getattr(args, field, 1)) <= 0:
            raise UserError(f"--{_flag(field)} is more than 0, not {value:g}")
    args.check()
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
