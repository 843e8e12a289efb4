"""A player in use: its state, the call of its network, fresh states, and how they lie on a mesh."""

import dataclasses
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.training import train_state
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxgen.errors import UserError
from jaxgen.parallel import AXIS, COPIES
from jaxgen.train import devices
from jaxgen.train.game import Sweep, System

MEMORY = (jax.tree_util.GetAttrKey("collections"), jax.tree_util.DictKey("memory"))


class PlayerState(train_state.TrainState):
    """Flax's `TrainState`, plus the variables that are not learned and the averaged weights.

    collections: Flax collections by name (batch_stats, spectral, memory, ...).
    ema: {"params": ..., "batch_stats": ...} or None.
    """

    collections: Mapping[str, Any]
    ema: Any = None


class Net:
    """A player during one turn: call it like a function.

    What its calls change (batch statistics, replay memory) is in `collections` afterwards.
    copies: `params` once more, as each device's own: what calls compute with, if given.
    """

    def __init__(self, state: PlayerState, key, params=None, dtype=None, copies=None):
        self.step = state.step
        self.params = state.params if params is None else params
        self.collections = dict(state.collections)
        self._apply, self._key, self._calls = state.apply_fn, key, 0
        self._dtype = dtype if state.params else None  # what only keeps numbers keeps them exactly
        self._copies = copies

    def __call__(self, *args, **kwargs):
        self._calls += 1
        key = jax.random.fold_in(self._key, self._calls)
        params = self.params if self._copies is None else self._copies
        params, args = _cast((params, args), self._dtype)
        out, changed = self._apply(
            {"params": params, **self.collections},
            *args,
            mutable=list(self.collections),
            rngs={"dropout": key},
            **kwargs,
        )
        # Collections keep their types, whatever the network computes in.
        old = self.collections
        old.update({k: jax.tree.map(_as, v, old[k]) for k, v in changed.items() if v})
        return _cast(out, self._dtype and jnp.float32)

    def still(self, *args, params=None, collections=None, **kwargs):
        """A call that leaves no trace: for use inside `jax.grad`, `vmap` or `scan`.

        Its dropout is that of the next call.  `params` and `collections` stand in for its own
        weights and for some of its other collections.
        """
        probe = Net.__new__(Net)
        own = {**self.collections, **(collections or {})}
        probe.__dict__.update(self.__dict__, collections=own)
        if params is not None:
            probe.params, probe._copies = params, None
        return probe(*args, **kwargs)


def loaded(system: System) -> System:
    """The system with the variables of its players loaded, where these are functions."""
    players = {
        name: dataclasses.replace(p, variables=p.variables()) if callable(p.variables) else p
        for name, p in system.players.items()
    }
    return dataclasses.replace(system, players=players)


def seeded(seed: int, copies: int = 1, sweep: Sweep | None = None) -> jax.Array:
    """The key of a seed; or those [copies] of this seed and of the ones that follow; of a sweep's
    copies all the same."""
    if copies == 1:
        return jax.random.key(seed)
    return jnp.stack([jax.random.key(seed + (0 if sweep else i)) for i in range(copies)])


def init(
    system: System,
    key: jax.Array,
    examples: Callable[[int], Any] | None = None,
    sweep: Sweep | None = None,
) -> dict[str, PlayerState]:
    """Fresh states, one a player, on one device.

    key: or several [n], for n copies: all arrays of the states have a first axis of that length.
    examples: n -> n examples as losses see them, for players with a data-dependent start.
    sweep: of which the copies are, each with a system of its own.
    """
    if sweep:
        copies = [init(sweep.system(i), k, examples) for i, k in enumerate(key)]
        sweep.check_alike([form(copy) for copy in copies])
        stacked = map(jnp.stack, zip(*map(jax.tree.leaves, copies), strict=True))
        return jax.tree.unflatten(jax.tree.structure(copies[0]), stacked)
    system = loaded(system)
    given = {name: player.variables for name, player in system.players.items()}
    inputs = {name: _inputs(player, examples) for name, player in system.players.items()}
    create = lambda key, given, inputs: _create(system, key, given, inputs)
    if key.ndim:
        create = jax.vmap(create, in_axes=(0, None, None))
    # The copies keep donated buffers apart: the first average equals the weights, and XLA may
    # return one buffer for two equal outputs.
    return jax.tree.map(lambda x: jnp.array(x, copy=True), jax.jit(create)(key, given, inputs))


def shapes(
    system: System, examples: Callable[[int], Any] | None = None, copies: int = 1
) -> dict[str, PlayerState]:
    """`init` as shapes: nothing is computed or loaded."""

    def create(key):
        given = {
            name: None if callable(player.variables) else player.variables
            for name, player in system.players.items()
        }
        inputs = {name: _inputs(player, examples) for name, player in system.players.items()}
        return _create(system, key, given, inputs)

    key = seeded(0, copies)
    return jax.eval_shape(jax.vmap(create) if key.ndim else create, key)


def form(states: Mapping[str, PlayerState]) -> dict[Any, tuple[int, ...]]:
    """The shapes of the states' arrays, by their paths."""
    return {path: x.shape for path, x in jax.tree_util.tree_leaves_with_path(states)}


def _inputs(player, examples):
    def example(x):
        is_shape = isinstance(x, tuple) and all(isinstance(n, int) for n in x)
        return jnp.zeros(x) if is_shape else x

    inputs = player.inputs(examples) if callable(player.inputs) else player.inputs
    return tuple(map(example, inputs))


def _create(system, key, given, inputs):
    states = {}
    for i, (name, player) in enumerate(system.players.items()):
        variables = given[name]
        if variables is None:
            k1, k2 = jax.random.split(jax.random.fold_in(key, i))
            variables = player.module.init({"params": k1, "dropout": k2}, *inputs[name])
        if any(0 in x.shape for x in jax.tree.leaves(variables)):
            raise UserError(f"the {name} has a layer of width 0; make it 1 or wider")
        collections = {k: v for k, v in variables.items() if k != "params"}
        params = variables.get("params", {})
        averaged = {"params": params, "batch_stats": collections.get("batch_stats", {})}
        tx = player.optimizer or optax.set_to_zero()
        states[name] = PlayerState(
            step=jnp.zeros((), jnp.int32),
            apply_fn=player.module.apply,
            params=params,
            tx=tx,
            opt_state=tx.init(params),
            collections=collections,
            ema=None if player.ema is None else averaged,
        )
    return states


def averaged(state: PlayerState) -> PlayerState:
    """The state with its averaged weights and statistics for its own, where it has any."""
    if state.ema is None:
        return state
    statistics = {k: v for k, v in state.ema.items() if k != "params" and v}
    return state.replace(
        params=state.ema["params"], collections={**state.collections, **statistics}
    )


def bind(states: Mapping[str, PlayerState], key: jax.Array) -> SimpleNamespace:
    """The players in use, on one device: averaged weights where there are any."""
    return SimpleNamespace(
        **{
            name: Net(averaged(state), jax.random.fold_in(key, i))
            for i, (name, state) in enumerate(states.items())
        }
    )


def layout(states):
    """How states lie on the mesh: replay memory in lanes, a share a device; all else copied.  Of
    several copies of a training each device has its share."""

    def lie(state):
        copies = [COPIES] * state.step.ndim
        where = lambda path, _: P(*copies, AXIS) if path[:2] == MEMORY else P(*copies)
        return jax.tree_util.tree_map_with_path(where, state)

    return {name: lie(state) for name, state in states.items()}


def place(states, mesh: Mesh):
    """Puts states on the mesh, as the program and the checkpoints expect them."""

    def put(x, spec):
        where = devices.sharding(mesh, *spec)
        return x if x.sharding == where else devices.put(x, where)

    return jax.tree.map(put, states, layout(states))


def placed(shapes, mesh: Mesh):
    """Shapes of states, with the shardings that `place` gives."""

    def at(x, spec):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=devices.sharding(mesh, *spec))

    return jax.tree.map(at, shapes, layout(shapes))


def local(states, copy: int = 0):
    """The states as they lie on this process's first device, without replay memory; of several
    copies one."""

    def alone(state):
        kept = {k: v for k, v in state.collections.items() if k != "memory"}
        pick = _copy if state.step.ndim else lambda x, _: x.addressable_data(0)
        return jax.tree.map(lambda x: pick(x, copy), state.replace(collections=kept))

    return {name: alone(state) for name, state in states.items()}


def _copy(x, i):
    """The i-th along the first axis, on this process's first device."""
    for shard in x.addressable_shards:
        start, stop, _ = shard.index[0].indices(len(x))
        if start <= i < stop:
            return jax.device_put(shard.data[i - start], x.addressable_data(0).device)
    raise ValueError(f"copy {i} is on another process")


def _cast(tree, dtype):
    if dtype is None:
        return tree
    is_float = lambda x: hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)
    return jax.tree.map(lambda x: x.astype(dtype) if is_float(x) else x, tree)


def _as(new, old):
    return jnp.asarray(new, old.dtype)
