"""The flags of experiments: their defaults, under a recipe's values, under the command line's."""

import dataclasses
import difflib
import inspect
import json
import tomllib
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

import tyro

from jaxgen.commands.flags import (
    Count,
    CountOrZero,
    Range,
    Seed,
    ShareBelowOne,
    Size,
    Spec,
    check_idle,
    check_ranges,
)
from jaxgen.commands.terminal import parse as parse_flags
from jaxgen.commands.terminal import signed
from jaxgen.errors import UserError

CAPTIONS = 50_000  # of which a vocabulary is learned, at most


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
    rounds: Count = 10_000
    """Length of the training. A round is one pass through the system's turns."""
    batch_size: Count = 64
    """Examples of a minibatch, over all devices together."""
    seed: Seed = 0
    """Seed of the weights, the noise and the order of the data."""
    rounds_per_call: Count = 1
    """Rounds that one program plays; more keep a fast device from waiting for the host."""
    log_every: Count = 100
    """Rounds between lines of metrics.jsonl."""
    sample_every: Count = 1000
    """Rounds between pictures."""
    save_every: Count = 1000
    """Rounds between checkpoints."""

    one_device: ClassVar[bool] = False
    """Whether the training takes one device only, as its batch is one example."""
    places: ClassVar[frozenset[str]] = frozenset({"data"})
    """Arguments that say where the data lies; a run goes on with others where the data is the
    same."""

    @property
    def rounds_matter(self) -> bool:
        """Whether a schedule depends on `rounds`, which then may not change when a run goes on."""
        return False

    def check(self) -> None:
        """Raises UserError for values that do not fit each other."""

    def copies(self) -> list[Any]:
        """The arguments of each copy of a sweep; without one these alone.  UserError."""
        return [self]

    @property
    def schedule(self) -> dict[str, Any]:
        """What `fit` takes of these by name."""
        names = ("batch_size", "seed", "rounds_per_call", "log_every", "sample_every", "save_every")
        return {name: getattr(self, name) for name in names}

    def finish(self, run: Any) -> dict[str, Path]:
        """Writes what a finished run (a TrainedRun) is wanted for; {what: where}."""
        return {}


@dataclasses.dataclass(frozen=True)
class Arguments(Basic):
    """The flags of experiments on images."""

    data: Spec = "mnist5k"
    """A set that `python -m jaxgen list` names, such as mnist5k, emoji, photos, animals or sprites;
    tfds:NAME[/CONFIG], folder:DIR (images, films or voxels; sub-folders are labels), pairs:DIR (A/
    and B/, or side by side), domains:DIR (trainA/ and trainB/), wds:PATTERN (WebDataset shards) or
    hf:DIR (parquet files); several with a plus, such as photos+emoji."""
    size: Size = (32, 32)
    """Sides of the images in pixels: 64 for a square, 48x96 for 48 high and 96 wide. Other images
    are resized."""
    channels: Literal[1, 3, 4] = 3
    """1 grey, 3 RGB, 4 RGBA."""
    crop: Literal["center", "stretch", "pad", "tiles"] = "center"
    """How an image of other proportions is brought to the size. tiles does not resize: it cuts
    pieces of that size out of the image, side by side, each of which is an example (of a large
    folder, --resident yes decodes every image once)."""
    resample: Literal["lanczos", "bicubic", "bilinear", "area", "nearest"] = "lanczos"
    """The filter that resizes; label maps always take the nearest pixel."""
    flip: bool = False
    """Mirror images at random, every second one on average."""
    random_crop: CountOrZero = 0
    """Resize the shorter side to this many pixels (tiles have as many) and cut the size out at
    random; 0 does not."""
    frames: Count = 8
    """Frames of an example of films."""
    held_out: ShareBelowOne = 0.0
    """Share of your own images that is kept from training, where they have no test split."""
    resident: Literal["auto", "yes", "no"] = "auto"
    """Keep the decoded data on the devices; auto does so up to 256 MiB."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number format in which networks compute; weights and losses stay float32."""
    seeds: Count = 1
    """Copies that are trained side by side in one program: with --seed and the seeds that follow
    it, on the same minibatches. Metrics are their means, with their spread."""
    sweep: Annotated[str, tyro.conf.arg(metavar="FLAG=X,X,...")] = ""
    """Copies of --seed that are trained side by side in one program, each with one of these values
    of a flag that is a number, such as lr=1e-4,2e-4,4e-4. It may not decide how the networks are
    built."""
    accumulate: Count = 1
    """Parts in which each device plays a minibatch, one after another, for one step of the
    optimizers: a large batch then needs the memory of a small one. Batch statistics are those of a
    part."""
    remat: bool = False
    """Keep for the gradients only the results of convolutions and products, and compute norms and
    activations once more: less memory for a little more time."""
    keep: Count = 3
    """Checkpoints that stay, the newest ones."""
    evaluate_every: CountOrZero = 0
    """Rounds between scores in training (scores.jsonl), of several seeds or values of the first; 0
    never."""
    evaluate_metrics: tuple[str, ...] = ()
    """Metrics that are scored then, such as fid kid swd; by default those that suit the system.
    Features are SqueezeNet's; `python -m jaxgen evaluate` has others."""
    evaluate_samples: Annotated[int, Range(10)] = 1000
    """Samples, or held-out examples, that are scored."""
    multihost: bool = False
    """Join the processes of a cluster (jax.distributed); JAX_COORDINATOR_ADDRESS does so too."""
    plan: Annotated[
        tuple[str, ...] | None,
        tyro.conf.arg(metavar="[TARGET ...]", help_behavior_hint="(default: train)"),
    ] = None
    """Do not train: say what the training would take, on the devices at hand or, without running
    anything, on others: tpu:v5e:4x4 or gpu:h100:8, also several."""

    needs: ClassVar[tuple[str, ...]] = ("image",)
    """What a batch must hold; "a" and "b" are a pair."""

    def __post_init__(self):
        if isinstance(self.size, int):  # in Python a number stands for a square, too
            object.__setattr__(self, "size", (self.size, self.size))

    def check(self) -> None:
        super().check()
        if not self.evaluate_every:
            names = ("evaluate_metrics", "evaluate_samples")
            check_idle(self, names, "--evaluate-every, such as 1000")

    def copies(self) -> list[Any]:
        if not self.sweep:
            return [self]
        name, values = self.swept
        if self.seeds > 1:
            raise UserError("--sweep trains copies of one seed; add --seeds 1")
        if len({f"{value:g}" for value in values}) < max(2, len(values)):
            raise UserError(f"--sweep takes two or more values of {name} that differ in six digits")
        return [dataclasses.replace(self, sweep="", **{name: value}) for value in values]

    @classmethod
    def numbers(cls) -> list[str]:
        """The fields that --sweep may name."""
        own, shared = get_type_hints(cls), get_type_hints(Arguments)  # which are of the data
        return sorted(name for name, hint in own.items() if hint is float and name not in shared)

    @property
    def swept(self) -> tuple[str, tuple[float, ...]]:
        """The field that --sweep names, and its values; UserError."""
        from jaxgen.train.run import read_sweep

        numbers = self.numbers()
        try:
            name, values = read_sweep(self.sweep)
        except ValueError:
            raise UserError(f"--sweep is written as lr=1e-4,2e-4, not {self.sweep}") from None
        if name not in numbers:
            names = ", ".join(number.replace("_", "-") for number in numbers)
            raise UserError(f"--sweep takes one of {names or 'nothing here'}, not {name}")
        return name, values

    def tokenizer(self, captions: Callable[[], Iterable[str]]) -> Any | None:
        """The vocabulary (`jaxgen.data.tokens.Tokens`) of a system that reads, for a new run.

        captions: gives those of the training data.  UserError.
        """
        return None

    def load_data(
        self, split: str = "train", *, resident: str | None = None, data: str | None = None
    ):
        """The data that the flags name (`jaxgen.data.pipeline.Data`); `data` is another SPEC, of
        which the images are brought to the same form.  A run that has a checkpoint has its
        vocabulary in its folder."""
        from jaxgen.data.pipeline import load

        names = (
            "size",
            "channels",
            "crop",
            "resample",
            "flip",
            "random_crop",
            "held_out",
            "frames",
        )
        options = {name: getattr(self, name) for name in names}

        def captions():
            return load(self.data, split="train", resident="no", **options).all_captions(CAPTIONS)

        tokenize = self._kept_vocabulary() or self.tokenizer(captions)
        resident = resident or self.resident
        return load(data or self.data, split=split, resident=resident, tokenize=tokenize, **options)

    def _kept_vocabulary(self):
        from jaxgen.data.source import DataInfo
        from jaxgen.train.checkpoints import DIGESTS

        if not self.workdir or not any(self.workdir.rglob(DIGESTS)):
            return None
        try:
            kept = json.loads((self.workdir / "data.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return DataInfo.from_json(kept).vocabulary

    @property
    def schedule(self) -> dict[str, Any]:
        names = ("precision", "seeds", "accumulate", "remat", "keep")
        names += ("evaluate_every", "evaluate_samples")
        others = {name: getattr(self, name) for name in names}
        return super().schedule | others | {"evaluate": self.evaluate_metrics}


def parse(kind: type, name: str, argv: list[str]) -> Any:
    """The arguments: defaults, under the recipe's values, under the flags."""
    args = _flags(kind, name, argv)
    if args.recipe:
        args = _flags(kind, name, [*_recipe(kind, name, args.recipe), *argv])
    if args.workdir is None:
        args = dataclasses.replace(args, workdir=Path("runs") / name.rpartition(".")[2])
    for one in args.copies():
        check_ranges(one)
        one.check()
    return args


def _flags(kind: type, name: str, argv: list[str]):
    return parse_flags(partial(tyro.cli, _maker(kind)), argv, f"python -m {name}")


@cache
def _maker(kind: type) -> Callable:
    """A function of the fields that makes a `kind`."""
    hints = get_type_hints(kind, include_extras=True)
    flag = partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    parameters = [
        flag(x.name, default=_default(x), annotation=hints[x.name])
        for x in dataclasses.fields(kind)
        if x.init
    ]
    return signed(lambda **given: kind(**given), parameters, kind)


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    missing = field.default is dataclasses.MISSING
    return inspect.Parameter.empty if missing else field.default


def _flag(field: str) -> str:
    return field.replace("_", "-")


def _recipe(kind: type, name: str, path: Path) -> list[str]:
    """A recipe as the flags that it stands for."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"recipe {path} cannot be read: {error.strerror}; check --recipe") from None
    except ValueError as error:  # not TOML, or not text
        raise UserError(f"recipe {path} is not TOML: {error}; mend it") from None
    fields = sorted({field.name for field in dataclasses.fields(kind)} - {"recipe"})
    hints, flags = get_type_hints(kind), {}
    for field, value in values.items():
        if field not in fields:
            near = difflib.get_close_matches(field, fields, 1)
            hint = f"did you mean {near[0]}?" if near else "--help lists what it may set"
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
