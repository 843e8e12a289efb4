"""Players, turns and systems: what is learned, in which order, and what it is good for.

A system is a small game.  Each `Player` is a Flax module with an optimizer and a `TrainState` of
its own.  In each `Turn` some players, the learners, descend a loss while the others hold still.
One round plays every turn once, in order:

    autoencoder   one player,   one turn
    GAN           two players,  two turns (k discriminator minibatches, then one of the generator)
    CycleGAN      four players, two turns (both generators, then both discriminators)

`program` compiles a round, or several, into one program.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import jax
import optax
from flax import linen as nn
from jax.core import Tracer

from jaxgen.errors import UserError
from jaxgen.train.abilities import Sampler

Metrics = dict[str, jax.Array]
Loss = Callable[[Any, Any, jax.Array], tuple[jax.Array, Metrics]]
Ability = TypeVar("Ability")


def counts(weight: Any) -> bool:
    """Whether what has this weight is there: not if it is 0, but always if JAX traces it, as it
    does the number of a `Sweep`."""
    return isinstance(weight, Tracer) or weight != 0


@dataclasses.dataclass(frozen=True)
class Player:
    """A network and how it learns.

    inputs: example arguments of the module, as shapes (float32) or arrays; where the module keeps a
      `memory`, their first axis is the global batch, a lane a position.  A function gets `examples`
      (n -> the first n examples as losses see them) and returns them: a data-dependent start.
    optimizer: None freezes the player (VGG, CLIP, a finished stage).
    ema: decay of the averaged weights, by round where it is a function; batch statistics are
      averaged with them.  Pictures and commands use the averaged weights.  0 or None: there are
      none.
    variables: published or trained weights to start from, instead of the module's initialisation;
      or a function that loads them, which is called only when training starts afresh.
    """

    module: nn.Module
    inputs: Sequence[Any] | Callable[[Callable[[int], Any]], Sequence[Any]]
    optimizer: optax.GradientTransformation | None = None
    ema: float | Callable[[jax.Array], Any] | None = None
    variables: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None

    def __post_init__(self):
        if not counts(self.ema):
            object.__setattr__(self, "ema", None)


@dataclasses.dataclass(frozen=True)
class Turn:
    """The learners take one optimizer step on `loss(nets, batch, key)` for each minibatch.

    The loss is that of one device's share of the batch; the step follows its mean over devices.
    times: minibatches a round, from few distinct values where it is a function of the round.
    every: the turn is played in every n-th round, from round 0 (lazy regularisation).
    skip: metrics -> True leaves the learners as they were (3D-GAN's rule).
    reuse: what the turn takes over from the turn before: nothing, its (last) minibatch, or its
      minibatch and its noise (DCGAN's generator learns from the fakes that its discriminator has
      just judged: one pass, so that its running statistics move in one of the turns; the other
      calls `still`).
    name: under which the metrics are logged; the learners' names by default.
    """

    learners: tuple[str, ...]
    loss: Loss
    times: int | Callable[[int], int] = 1
    every: int = 1
    skip: Callable[[Metrics], jax.Array] | None = None
    reuse: Literal["none", "batch", "batch+noise"] = "none"
    name: str = ""

    def __post_init__(self):
        object.__setattr__(self, "name", self.name or "+".join(self.learners))
        if self.reuse not in ("none", "batch", "batch+noise"):
            raise ValueError(f'turn {self.name!r}: reuse is "none", "batch" or "batch+noise"')

    def minibatches(self, round: int) -> int:
        """How many minibatches the turn plays in `round`; UserError where it would play none."""
        if round % self.every:
            return 0
        times = self.times(round) if callable(self.times) else self.times
        if times < 1:
            raise UserError(f"the {self.name} takes {times} steps a round; it must take 1 or more")
        return times


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A number that differs between copies of a system, which are trained side by side.

    name: of the number.  values: of each copy.
    build: value -> the copy's system; in the program it gets a value that JAX traces, so that the
      number may be a factor, such as a learning rate or the weight of a loss, but not decide how
      the system is built.
    """

    name: str
    values: tuple[float, ...]
    build: Callable[[Any], Any]

    def __post_init__(self):
        labels = {self.label(i) for i in range(len(self.values))}
        if len(labels) < max(2, len(self.values)):
            raise UserError(
                f"a sweep has two or more values of {self.name}, which differ in six digits"
            )

    def system(self, copy: int) -> Any:
        return self.build(self.values[copy])

    def stage(self, i: int) -> "Sweep":
        """That of the i-th stage, where `build` gives stages."""
        return Sweep(self.name, self.values, lambda value: self.build(value)[i].system)

    def label(self, copy: int) -> str:
        return f"{self.name}={self.values[copy]:g}"

    def check_alike(self, forms: Sequence[Any]) -> None:
        """UserError unless what is told of each copy is the same."""
        for i, form in enumerate(forms):
            if form != forms[0]:
                raise UserError(
                    f"{self.label(0)} and {self.label(i)} make different systems, which cannot "
                    "share a program; train them one after another"
                )

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Inside, what decides by a traced value is a UserError."""
        try:
            yield
        except (
            jax.errors.ConcretizationTypeError,
            jax.errors.TracerArrayConversionError,
            jax.errors.TracerIntegerConversionError,
        ) as error:
            raise UserError(
                f"{self.name} decides how the system is built, so that its values cannot share a "
                "program; train them one after another"
            ) from error


@dataclasses.dataclass(frozen=True)
class System:
    """Players, their turns in order, and what a trained one is good for.

    show: (nets, batch, key) -> {name: images [n, H, W, C]}, the pictures of a training; by default
      the sampler's images.
    legends: what a picture of `show` shows, by its name, such as the order of what is put beside
      each other; the report says it below the picture.
    abilities: records of `jaxgen.train.abilities`.
    """

    players: Mapping[str, Player]
    turns: tuple[Turn, ...]
    show: Callable[[Any, Any, jax.Array], dict[str, jax.Array]] | None = None
    abilities: tuple[Any, ...] = ()
    legends: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.show is None:
            if self.ability(Sampler) is None:
                raise ValueError("a system without a Sampler needs a `show`")
            object.__setattr__(self, "show", self._samples)
        if self.turns[0].reuse != "none":
            raise ValueError("the first turn has no turn before it whose batch it could reuse")
        for turn in self.turns:
            if turn.reuse != "none" and turn.times != 1:
                raise ValueError(f"turn {turn.name!r} reuses one minibatch: it plays one")
            if turn.reuse != "none" and self.turns[0].every not in (1, turn.every):
                raise ValueError(
                    f"turn {turn.name!r} reuses a batch: the first turn must be played"
                )
            for name in turn.learners:
                if name not in self.players:
                    raise ValueError(f"turn {turn.name!r} trains {name!r}, which is no player")
                if self.players[name].optimizer is None:
                    raise ValueError(f"turn {turn.name!r} trains {name!r}, which has no optimizer")

    def ability(self, kind: type[Ability]) -> Ability | None:
        """The system's first ability of that type; None if it has none."""
        return next((x for x in self.abilities if isinstance(x, kind)), None)

    def all_of(self, kind: type[Ability]) -> list[Ability]:
        """The system's abilities of that type, such as the two translators of CycleGAN."""
        return [x for x in self.abilities if isinstance(x, kind)]

    def plan(self, round: int) -> tuple[int, ...]:
        """The minibatches of each turn in `round`; rounds of one plan share a program."""
        return tuple(turn.minibatches(round) for turn in self.turns)

    def minibatches(self, plan: tuple[int, ...]) -> int:
        """How many minibatches of data a round of this plan takes."""
        pairs = zip(self.turns, plan, strict=True)
        return sum(n for turn, n in pairs if turn.reuse == "none")

    def _samples(self, nets, batch, key):
        sampler = self.ability(Sampler)
        n = len(jax.tree.leaves(batch)[0])
        condition = {name: batch[name] for name in sampler.condition}
        return {"samples": sampler.generate(nets, sampler.prior(key, n), condition, key)}
