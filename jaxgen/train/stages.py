"""Training in stages: progressive growing, StackGAN, VQGAN then its transformer."""

import dataclasses
import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxgen.data.source import Data, to_program
from jaxgen.train import devices, nets
from jaxgen.train.checkpoints import saved_rounds
from jaxgen.train.fit import drain, iterate
from jaxgen.train.game import Sweep, System
from jaxgen.train.nets import PlayerState, averaged, init, loaded, seeded
from jaxgen.train.program import compile_rounds

States = Mapping[str, PlayerState]


def inherit(old: States, new: States, frozen: Sequence[str] = ()) -> dict[str, PlayerState]:
    """Fresh states with every weight that the old networks have too, by name and shape.

    Collections (batch statistics, memory) and averaged weights are carried likewise; optimizers
    start anew, as the papers' codes do.  The players that are `frozen` now take the averaged
    weights for their own, where there are any.
    """

    def carry(was, fresh):
        known = dict(jax.tree_util.tree_leaves_with_path(was))
        keep = lambda path, x: known[path] if path in known and known[path].shape == x.shape else x
        return jax.tree_util.tree_map_with_path(keep, fresh)

    def carried(name, state):
        if name not in old:
            return state
        was = averaged(old[name]) if name in frozen else old[name]
        now = {"params": was.params, "batch_stats": was.collections.get("batch_stats", {})}
        return state.replace(
            params=carry(was.params, state.params),
            collections=carry(was.collections, state.collections),
            ema=state.ema and carry(was.ema or now, state.ema),
        )

    return {name: carried(name, state) for name, state in new.items()}


@dataclasses.dataclass(frozen=True)
class Stage:
    """A system, its data, its rounds, and what it takes over from the stage before.

    rounds: of this stage, or its share of the run's; see `share_out`.
    data: None is the run's data; or data of its own, or a function that makes them from the states
      of the stage before (codes encoded once, for a prior).
    batch_size: None is the run's.
    carry: (old states, fresh states) -> states; by default `inherit`.  LAPGAN's levels start
      afresh, with `lambda old, new: new`.
    """

    name: str
    system: System
    rounds: int
    data: Data | Callable[[States], Data] | None = None
    batch_size: int | None = None
    carry: Callable[[States, States], States] | None = None


def check_sweep(sweep: Sweep, examples: Callable[[int], Any], batch_size: int) -> None:
    """UserError where the values of a sweep of systems, or of stages, cannot share a program.  It
    traces a round, and computes nothing.  What is wrong with a stage of data that the one before
    makes is found when it begins.

    examples: n -> n examples of the data as losses see them.
    """
    first = sweep.system(0)
    if not isinstance(first, list):
        return _check_sweep(sweep, examples, batch_size)
    for i, stage in enumerate(first):
        if callable(stage.data):
            continue
        own = _examples(stage.data) if stage.data else examples
        _check_sweep(sweep.stage(i), own, stage.batch_size or batch_size)


def _check_sweep(sweep, examples, batch_size):
    systems = [sweep.system(i) for i in range(len(sweep.values))]
    turns = [[(t.name, t.learners, t.every, t.reuse) for t in x.turns] for x in systems]
    forms = [nets.form(nets.shapes(system, examples)) for system in systems]
    sweep.check_alike(list(zip(turns, forms, strict=True)))
    system, mesh = systems[0], devices.make_mesh(jax.local_devices()[:1])
    plan = system.plan(0)
    states = nets.placed(nets.shapes(system, examples, len(systems)), mesh)
    several = (1, system.minibatches(plan), batch_size)
    one = jax.eval_shape(lambda: examples(1))
    batches = jax.tree.map(lambda x: jax.ShapeDtypeStruct(several + x.shape[1:], x.dtype), one)
    program = compile_rounds(system, mesh, plan, sweep=sweep)
    program.trace(states, batches, np.zeros(1, np.int32), nets.seeded(0, len(systems), sweep))


def _examples(data):
    return lambda n: to_program(data.examples(n), data.info.fields)


def folders(stages: list[Stage]) -> list[str]:
    """Their folders in the run's, in order."""
    return [f"{i}-{stage.name}" for i, stage in enumerate(stages)]


def share_out(rounds: int, proportions: Sequence[int]) -> list[int]:
    """`rounds` shared out in these proportions, each share at least 1 (so their sum may be more
    than `rounds` where that is less than the number of shares)."""
    total, shares, done = sum(proportions), [], 0
    for i in range(len(proportions)):
        until = round(rounds * sum(proportions[: i + 1]) / total)
        shares.append(max(1, until - done))
        done += shares[-1]
    return shares


def fit_stages(stages: list[Stage], data: Data, **options) -> States:
    """Plays the stages in order and returns the last one's states; see `iterate_stages`."""
    return drain(iterate_stages(stages, data, **options))


def iterate_stages(
    stages: list[Stage],
    data: Data,
    *,
    batch_size: int,
    seed: int = 0,
    seeds: int = 1,
    sweep: Sweep | None = None,
    run=None,
    evaluate=None,
    **options,
) -> Generator[dict[str, Any], None, States]:
    """Plays the stages in order; yields each record of metrics and returns the last one's states.

    Each trains in its folder, with the seed after that of the one before; one that is done is not
    trained again.  Published weights are loaded before the first stage begins, so that one that is
    missing is found at once.  `evaluate` is called with the stage's own system, data and
    folder, too; `options` are those of `jaxgen.train.fit.iterate`.
    """
    begun = lambda folder: bool(run and saved_rounds(run.folder / folder / "checkpoints"))
    stages = [
        stage if begun(folder) else dataclasses.replace(stage, system=loaded(stage.system))
        for stage, folder in zip(stages, folders(stages), strict=True)
    ]
    states: States = {}
    for i, (stage, folder) in enumerate(zip(stages, folders(stages), strict=True)):
        own = stage.data(states) if callable(stage.data) else stage.data or data
        mine = sweep and sweep.stage(i)

        def start(i=i, stage=stage, old=states, own=own, mine=mine):
            fold = lambda key: jax.random.fold_in(key, i)
            key = seeded(seed, len(mine.values) if mine else seeds, mine)
            key = (jax.vmap(fold) if key.ndim else fold)(key)
            fresh = init(stage.system, key, _examples(own), mine)
            if stage.carry:
                return stage.carry(old, fresh)
            players = stage.system.players
            return inherit(old, fresh, [n for n, p in players.items() if p.optimizer is None])

        states = yield from iterate(
            stage.system,
            own,
            stage.rounds,
            batch_size=stage.batch_size or batch_size,
            seed=seed + i,
            seeds=seeds,
            sweep=mine,
            run=run and run.stage(folder),
            states=start,
            evaluate=evaluate
            and functools.partial(evaluate, system=stage.system, data=own, stage=folder),
            **options,
        )
    return states
