"""The types of flags: a range, how a value is written, and what help calls it.

A field of an `Args` dataclass has one of these types, such as `width: Count = 16`; `check_ranges`
holds a parsed dataclass against them.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Range:
    """From `low` to `high`; `above`, `below`: without the end itself."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        low = value > self.low if self.above else value >= self.low
        return low and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        if math.isinf(self.low):
            return "a finite number"
        if math.isinf(self.high):
            return f"more than {self.low:g}" if self.above else f"at least {self.low:g}"
        first, last = f"{self.low:.15g}", f"{self.high:.15g}"
        if self.above:
            return f"between {first} and {last}"
        return f"from {first} up to below {last}" if self.below else f"from {first} to {last}"


def _parse_size(words: list[str]) -> tuple[int, int]:
    from jaxgen.data.images import parse_size

    try:
        return parse_size(words[0])
    except UserError as error:
        raise ValueError(str(error)) from None


def size_text(size: tuple[int, int]) -> str:
    """64 for a square, else 48x96."""
    return f"{size[0]}" if size[0] == size[1] else f"{size[0]}x{size[1]}"


_size = PrimitiveConstructorSpec(
    nargs=1,
    metavar="N or HxW",
    instance_from_str=_parse_size,
    is_instance=lambda x: isinstance(x, tuple) and len(x) == 2,
    str_from_instance=lambda x: [size_text(x)],
)

SEEDS = Range(0, 2**31 - 1)  # what NumPy and JAX both take

Count = Annotated[int, Range(1)]
CountOrZero = Annotated[int, Range(0)]
Seed = Annotated[int, SEEDS]
Rate = Annotated[float, Range(0, above=True)]
Weight = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
ShareBelowOne = Annotated[float, Range(0, 1, below=True)]
Size = Annotated[tuple[int, int], _size]
Spec = Annotated[str, arg(metavar="SPEC")]
File = Annotated[Path | None, arg(metavar="FILE")]


def check_ranges(args: Any) -> None:
    """UserError that names the first flag whose value is out of the range of its type."""
    check_values(get_type_hints(type(args), include_extras=True), vars(args))


def check_values(hints: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """`check_ranges` of values by name, and of each value of several; None is in every range."""
    for name, hint in hints.items():
        several = get_origin(hint) is tuple
        each = get_args(hint)[0] if several else hint
        found = values.get(name) if several else [values.get(name)]
        for limits in get_args(each)[1:]:
            for value in found or ():
                if isinstance(limits, Range) and value is not None and value not in limits:
                    flag = name.replace("_", "-")
                    raise UserError(f"--{flag} is {limits}, not {value:.15g}")


def check_idle(args: Any, names: Sequence[str], needed: str) -> None:
    """UserError for the first of these flags that is not at its default, where the flag that is
    `needed` is lacking: it would change nothing."""
    for name in names:
        if getattr(args, name) != getattr(type(args), name):
            raise UserError(f"--{name.replace('_', '-')} goes with {needed}")


def check_fades(args: Any, grows: bool, has_middle: bool) -> None:
    """UserError where a stage of a growing network ends before it has faded in.

    grows: whether there is a stage after the first.  has_middle: whether there are others between.
    """
    stages = ["stage_rounds"] * has_middle + ["last_rounds"] * grows
    for name in stages:
        if args.fade_rounds > (rounds := getattr(args, name)):
            raise UserError(
                f"--fade-rounds {args.fade_rounds} are more than --{name.replace('_', '-')} "
                f"{rounds}; a stage must end grown"
            )
