"""Players, turns and systems: what is learned, in which order, and how it is used.

A system is a small game.  Each `Player` is a Flax module with an optimizer and a `TrainState` of
its own.  In each `Turn` some players, the learners, descend a loss while the others hold still.
One round plays every turn once, in order:

    autoencoder   one player,   one turn
    GAN           two players,  two turns (k discriminator minibatches, then one of the generator)
    CycleGAN      four players, two turns (both generators, then both discriminators)

`program` compiles a round, or several, into one program.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training import train_state
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxgen.errors import UserError
from jaxgen.sample.interpolation import slerp
from jaxgen.train import devices
from jaxgen.train.devices import AXIS

MEMORY = (jax.tree_util.GetAttrKey("extra"), jax.tree_util.DictKey("memory"))

Metrics = dict[str, jax.Array]
Loss = Callable[[Any, Any, jax.Array], tuple[jax.Array, Metrics]]


@dataclasses.dataclass(frozen=True)
class Player:
    """A network and how it learns.

    inputs: example arguments of the module, as shapes (float32) or arrays; where the module keeps a
      `memory`, their first axis is the global batch, a lane a position.
    optimizer: None freezes the player (VGG, CLIP, a finished stage).
    ema: decay of the averaged weights, by round where it is a function; batch statistics are
      averaged with them.  Pictures and commands use the averaged weights.
    variables: published or trained weights to start from, instead of the module's initialisation.
    """

    module: nn.Module
    inputs: Sequence[Any]
    optimizer: optax.GradientTransformation | None = None
    ema: float | Callable[[jax.Array], Any] | None = None
    variables: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Turn:
    """The learners take one optimizer step on `loss(nets, batch, key)` for each minibatch.

    The loss is that of one device's share of the batch; the step follows its mean over devices.
    times: minibatches a round, from few distinct values where it is a function of the round.
    every: the turn is played in every n-th round, from round 0 (lazy regularisation).
    skip: metrics -> True leaves the learners as they were (3D-GAN's rule).
    fresh: False plays on the minibatch and the noise of the turn before (DCGAN's generator learns
      from the fakes that its discriminator has just judged).
    own_noise: where it is not fresh: on that minibatch, but with noise of its own.
    name: under which the metrics are logged; the learners' names by default.
    """

    learners: tuple[str, ...]
    loss: Loss
    times: int | Callable[[int], int] = 1
    every: int = 1
    skip: Callable[[Metrics], jax.Array] | None = None
    fresh: bool = True
    own_noise: bool = False
    name: str = ""

    def __post_init__(self):
        object.__setattr__(self, "name", self.name or "+".join(self.learners))
        if self.own_noise and self.fresh:
            raise ValueError(f"turn {self.name!r} is fresh: its noise is its own as it is")

    def minibatches(self, round: int) -> int:
        """How many minibatches the turn plays in `round`; UserError where it would play none."""
        if round % self.every:
            return 0
        times = self.times(round) if callable(self.times) else self.times
        if times < 1:
            raise UserError(f"the {self.name} takes {times} steps a round; it must take 1 or more")
        return times


@dataclasses.dataclass(frozen=True)
class Space:
    """Where a person's image is searched for (`project`), if not among the latents.

    points: (nets, key, n) -> [n, ...]; the search starts from their mean.
    generate: (nets, points, maps) -> images [n, H, W, C], about in [-1, 1].
    maps: nets -> maps of noise [h, w], a tree of them; they are searched for as well.
    """

    points: Callable[[Any, jax.Array, int], jax.Array]
    generate: Callable[[Any, jax.Array, Any], jax.Array]
    maps: Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Use:
    """How a trained system answers a person: from noise to images.

    latent: (key, n) -> what `generate` starts from, n of them.
    generate: (nets, latent) -> images [n, H, W, C] in [-1, 1].
    between: (a, b, t) -> the latent at t in [0, 1] on the path from a to b.
    truncated: (nets, latent, psi) -> images nearer to the mean, psi 1 being `generate`'s.
    mixed: (nets, a, b, layer, psi) -> images with the styles of b from that layer on, before it
      those of a; truncated by psi.
    layers: how many layers there are to mix.
    space: where images are searched for.
    """

    latent: Callable[[jax.Array, int], jax.Array]
    generate: Callable[[Any, jax.Array], jax.Array]
    between: Callable[[jax.Array, jax.Array, Any], jax.Array] = slerp
    truncated: Callable[[Any, jax.Array, Any], jax.Array] | None = None
    mixed: Callable[[Any, jax.Array, jax.Array, Any, Any], jax.Array] | None = None
    layers: int = 0
    space: Space | None = None


@dataclasses.dataclass(frozen=True)
class Apply:
    """How a trained system answers a person: from an image to an image.

    apply: (nets, images [n, H, W, C], key) -> images [n, scale * H, scale * W, C'] in [-1, 1].
    pair: batch -> (images, what they should become), by which held-out examples are scored.
    multiple: the sides of an input are multiples of it.
    any_size: whether inputs may be larger or smaller than the images that it was trained on.
    """

    apply: Callable[[Any, jax.Array, jax.Array], jax.Array]
    pair: Callable[[Any], tuple[jax.Array, jax.Array]]
    multiple: int = 1
    scale: int = 1
    any_size: bool = True


@dataclasses.dataclass(frozen=True)
class Embed:
    """What a trained system makes of examples, by which they are compared.

    features: (nets, batch) -> [b, d], what a linear probe reads.
    image, text: (nets, batch) -> [b, k], in one space, where cosines tell what belongs together.
    scale: nets -> what a cosine is multiplied by to be the logarithm of a chance, up to a constant.
    prompts: texts with {} for the name of a class, which then is their mean.
    """

    features: Callable[[Any, Any], jax.Array]
    image: Callable[[Any, Any], jax.Array] | None = None
    text: Callable[[Any, Any], jax.Array] | None = None
    scale: Callable[[Any], jax.Array] = lambda nets: jnp.float32(1)
    prompts: tuple[str, ...] = ("{}",)


@dataclasses.dataclass(frozen=True)
class Judge:
    """Who tells real from made, where a system has such a player: its health can then be watched.

    scores: (nets, batch, key) -> (scores of the batch's real images, scores of made ones), each
      [b, ...], higher for what looks more real; computed as in the player's own turn.
    log_odds: whether a score is the logarithm of the odds that an image is real, and so can be all
      too certain; a Wasserstein critic's is not.
    """

    scores: Callable[[Any, Any, jax.Array], tuple[jax.Array, jax.Array]]
    log_odds: bool = True


@dataclasses.dataclass(frozen=True)
class System:
    """Players, their turns in order, and `show(nets, batch, key) -> {name: images}`.

    use: from noise to images (`sample`, `interpolate`, `evaluate`).
    apply: from images to images (`apply`, `evaluate`), by direction; the first is the usual one.
    measures: {metric: (nets, batch, key) -> [b]}, what else `evaluate` tells of held-out examples.
    judge: who tells real from made.
    embed: by what examples are compared, over all held-out ones (`evaluate`).
    """

    players: Mapping[str, Player]
    turns: tuple[Turn, ...]
    show: Callable[[Any, Any, jax.Array], dict[str, jax.Array]]
    use: Use | None = None
    apply: Mapping[str, Apply] = dataclasses.field(default_factory=dict)
    measures: Mapping[str, Callable[[Any, Any, jax.Array], jax.Array]] = dataclasses.field(
        default_factory=dict
    )
    judge: Judge | None = None
    embed: Embed | None = None

    def __post_init__(self):
        if not self.turns[0].fresh:
            raise ValueError("the first turn has no turn before it; let it be fresh")
        for turn in self.turns:
            if not turn.fresh and turn.times != 1:
                raise ValueError(f"turn {turn.name!r} is not fresh: it plays one minibatch, again")
            if not turn.fresh and self.turns[0].every not in (1, turn.every):
                raise ValueError(
                    f"turn {turn.name!r} is not fresh: the first turn must be played too"
                )
            for name in turn.learners:
                if name not in self.players:
                    raise ValueError(f"turn {turn.name!r} trains {name!r}, which is no player")
                if self.players[name].optimizer is None:
                    raise ValueError(f"turn {turn.name!r} trains {name!r}, which has no optimizer")

    def plan(self, round: int) -> tuple[int, ...]:
        """The minibatches of each turn in `round`; rounds of one plan share a program."""
        return tuple(turn.minibatches(round) for turn in self.turns)

    def minibatches(self, plan: tuple[int, ...]) -> int:
        """How many minibatches of data a round of this plan takes."""
        return sum(n for turn, n in zip(self.turns, plan, strict=True) if turn.fresh)


class PlayerState(train_state.TrainState):
    """Flax's `TrainState`, plus the variables that are not learned and the averaged weights.

    extra: collections by name (batch_stats, spectral, memory, ...).
    ema: {"params": ..., "batch_stats": ...} or None.
    """

    extra: Mapping[str, Any]
    ema: Any = None


class Net:
    """A player during one turn: call it like a function.

    What its calls change (batch statistics, replay memory) is in `extra` afterwards.
    copies: `params` once more, as each device's own: what calls compute with, if given.
    """

    def __init__(self, state: PlayerState, key, params=None, dtype=None, copies=None):
        self.step = state.step
        self.params = state.params if params is None else params
        self.extra = dict(state.extra)
        self._apply, self._key, self._calls = state.apply_fn, key, 0
        self._dtype = dtype if state.params else None  # what only keeps numbers keeps them exactly
        self._copies = copies

    def __call__(self, *args, **kwargs):
        self._calls += 1
        key = jax.random.fold_in(self._key, self._calls)
        params = self.params if self._copies is None else self._copies
        params, args = _cast((params, args), self._dtype)
        out, changed = self._apply(
            {"params": params, **self.extra},
            *args,
            mutable=list(self.extra),
            rngs={"dropout": key},
            **kwargs,
        )
        # Collections keep their types, whatever the network computes in.
        self.extra.update({k: jax.tree.map(_as, v, self.extra[k]) for k, v in changed.items() if v})
        return _cast(out, self._dtype and jnp.float32)

    def still(self, *args, params=None, extra=None, **kwargs):
        """A call that leaves no trace: for use inside `jax.grad`, `vmap` or `scan`.

        Its dropout is that of the next call.  `params` and `extra` stand in for its own weights and
        for some of its other collections.
        """
        probe = Net.__new__(Net)
        probe.__dict__.update(self.__dict__, extra={**self.extra, **(extra or {})})
        if params is not None:
            probe.params, probe._copies = params, None
        return probe(*args, **kwargs)


def init(system: System, key: jax.Array) -> dict[str, PlayerState]:
    """Fresh states, one a player, on one device."""

    def example(x):
        is_shape = isinstance(x, tuple) and all(isinstance(n, int) for n in x)
        return jnp.zeros(x) if is_shape else x

    given = {name: player.variables for name, player in system.players.items()}

    def create(key, given):
        states = {}
        for i, (name, player) in enumerate(system.players.items()):
            variables = given[name]
            if variables is None:
                k1, k2 = jax.random.split(jax.random.fold_in(key, i))
                variables = player.module.init(
                    {"params": k1, "dropout": k2}, *map(example, player.inputs)
                )
            if any(0 in x.shape for x in jax.tree.leaves(variables)):
                raise UserError(f"the {name} has a layer of width 0; make it 1 or wider")
            extra = {k: v for k, v in variables.items() if k != "params"}
            params = variables.get("params", {})
            averaged = {"params": params, "batch_stats": extra.get("batch_stats", {})}
            tx = player.optimizer or optax.set_to_zero()
            states[name] = PlayerState(
                step=jnp.zeros((), jnp.int32),
                apply_fn=player.module.apply,
                params=params,
                tx=tx,
                opt_state=tx.init(params),
                extra=extra,
                ema=None if player.ema is None else averaged,
            )
        return states

    # The copies keep donated buffers apart: the first average equals the weights, and XLA may
    # return one buffer for two equal outputs.
    return jax.tree.map(lambda x: jnp.array(x, copy=True), jax.jit(create)(key, given))


def look(system: System, states: Mapping[str, PlayerState], key: jax.Array) -> SimpleNamespace:
    """The players as a person uses them: averaged weights where there are any, on one device."""

    def averaged(state):
        if state.ema is None:
            return state
        extra = {**state.extra, **{k: v for k, v in state.ema.items() if k != "params" and v}}
        return state.replace(params=state.ema["params"], extra=extra)

    return SimpleNamespace(
        **{
            name: Net(averaged(state), jax.random.fold_in(key, i))
            for i, (name, state) in enumerate(states.items())
        }
    )


def to_float(batch):
    """A batch as losses see it: every uint8 array is an image and becomes float32 in [-1, 1]."""
    convert = lambda x: jnp.float32(x) / 127.5 - 1 if x.dtype == jnp.uint8 else x
    return jax.tree.map(convert, batch)


def layout(states):
    """How states lie on the mesh: replay memory in lanes, a share a device; all else copied."""
    return {
        name: jax.tree_util.tree_map_with_path(
            lambda path, _: P(AXIS) if path[:2] == MEMORY else P(), state
        )
        for name, state in states.items()
    }


def place(states, mesh: Mesh):
    """Puts states on the mesh, as the program and the checkpoints expect them."""

    def put(x, spec):
        where = devices.sharding(mesh, *spec)
        return x if x.sharding == where else devices.put(x, where)

    return jax.tree.map(put, states, layout(states))


def local(states):
    """The copy of the states that lies on this process's first device, without replay memory."""
    first = lambda x: x.addressable_data(0)
    return {
        name: jax.tree.map(
            first, s.replace(extra={k: v for k, v in s.extra.items() if k != "memory"})
        )
        for name, s in states.items()
    }


def _cast(tree, dtype):
    if dtype is None:
        return tree
    is_float = lambda x: hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)
    return jax.tree.map(lambda x: x.astype(dtype) if is_float(x) else x, tree)


def _as(new, old):
    return jnp.asarray(new, old.dtype)
