"""Training in stages: progressive growing, StackGAN, VQGAN then its transformer."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxgen.train.fit import fit
from jaxgen.train.game import PlayerState, System, init

States = Mapping[str, PlayerState]


def inherit(old: States, new: States) -> dict[str, PlayerState]:
    """Fresh states with every weight that the old networks have too, by name and shape.

    Collections (batch statistics, memory) and averaged weights are carried likewise; optimizers
    start anew, as the papers' codes do.
    """

    def carry(was, fresh):
        known = dict(jax.tree_util.tree_leaves_with_path(was))
        keep = lambda path, x: known[path] if path in known and known[path].shape == x.shape else x
        return jax.tree_util.tree_map_with_path(keep, fresh)

    def carried(name, state):
        if name not in old:
            return state
        was = old[name]
        now = {"params": was.params, "batch_stats": was.extra.get("batch_stats", {})}
        ema = state.ema and carry(was.ema or now, state.ema)
        return state.replace(
            params=carry(was.params, state.params), extra=carry(was.extra, state.extra), ema=ema
        )

    return {name: carried(name, state) for name, state in new.items()}


@dataclasses.dataclass(frozen=True)
class Stage:
    """A system, its data, its rounds, and what it takes over from the stage before.

    carry: (old states, fresh states) -> states.  LAPGAN's levels start afresh, with
      `lambda old, new: new`.
    """

    name: str
    system: System
    data: Any
    rounds: int
    batch_size: int
    carry: Callable[[States, States], States] = inherit


def folders(stages: list[Stage]) -> list[str]:
    """Their folders in the run's, in order."""
    return [f"{i}-{stage.name}" for i, stage in enumerate(stages)]


def fit_stages(stages: list[Stage], *, seed: int = 0, run=None, **options) -> States:
    """Plays the stages in order and returns the last one's states.

    Each trains in its folder, with the seed after that of the one before; one that is done is not
    trained again. `options` are those of `fit`.
    """
    states: States = {}
    for i, (stage, folder) in enumerate(zip(stages, folders(stages), strict=True)):
        fresh = init(stage.system, jax.random.fold_in(jax.random.key(seed), i))
        states = fit(
            stage.system,
            stage.data,
            stage.rounds,
            batch_size=stage.batch_size,
            seed=seed + i,
            run=run and run.stage(folder),
            states=stage.carry(states, fresh),
            **options,
        )
    return states
