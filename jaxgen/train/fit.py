"""The training loop: rounds, logs, pictures, scores, checkpoints.  One for all systems."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import ScopeParamShapeError
from tqdm import tqdm

from jaxgen.data.source import Data, to_program
from jaxgen.errors import UserError
from jaxgen.train import devices, health, nets
from jaxgen.train.checkpoints import Checkpoints
from jaxgen.train.game import System
from jaxgen.train.metric_logger import Diverged, MetricLogger
from jaxgen.train.prefetch import Prefetcher, schedule
from jaxgen.train.program import compile_rounds

Result = TypeVar("Result")
PICTURES = 64  # images in the grid that `show` is given to work with


class Stopped(Exception):
    """The run was asked to stop (SIGTERM, Ctrl-C), has saved, and can go on."""


def fit(system: System, data: Data, rounds: int, **options) -> dict[str, nets.PlayerState]:
    """Plays `rounds` rounds and returns the players' states; for the options see `iterate`."""
    return drain(iterate(system, data, rounds, **options))


def drain(training: Generator[Any, None, Result]) -> Result:
    """What the generator returns at its end."""
    while True:
        try:
            next(training)
        except StopIteration as end:
            return end.value


def iterate(
    system: System,
    data: Data,
    rounds: int,
    *,
    batch_size: int,
    seed: int = 0,
    run=None,
    states=None,
    mesh=None,
    precision: str = "float32",
    rounds_per_call: int = 1,
    log_every: int = 100,
    sample_every: int = 1000,
    save_every: int = 1000,
    keep: int = 3,
    evaluate: Callable[[dict, int], dict[str, float]] | None = None,
    evaluate_every: int = 0,
    log: Callable[[dict[str, Any]], Any] | None = None,
) -> Generator[dict[str, Any], None, dict[str, nets.PlayerState]]:
    """Plays `rounds` rounds; yields each record of metrics, and returns the players' states.

    Randomness is a function of (seed, round, turn, minibatch, example, call), so a run that goes on
    from a checkpoint continues exactly as if it had never stopped; on another number of devices
    each round does so up to float rounding.  A caller that breaks off leaves a checkpoint of the
    last round.

    batch_size: of all devices together.
    run: a `jaxgen.train.run.Run`; None writes nothing.
    states: to start from, or a function that gives them; None starts afresh.  A checkpoint in the
      run's folder goes first.
    precision: "float32", or "bfloat16" to compute in it with float32 weights and losses.
    rounds_per_call: rounds that one program plays; a fast device then does not wait for the host.
    evaluate: (states, round) -> {name: value}, in every `evaluate_every`-th round and in the last;
      the values join that round's metrics.
    log: a function of each record, {"round": ..., "images": ..., "turn/metric": ...}.

    Raises Diverged where a loss stops being finite, Stopped where a signal has ended the run.
    """
    mesh = mesh or devices.make_mesh()
    devices.share(batch_size, mesh)
    key_init, key_play, key_show = jax.random.split(jax.random.key(seed), 3)
    batches = data.batches(
        batch_size,
        seed,
        process=jax.process_index(),
        processes=jax.process_count(),
        indices=data.resident is not None,
    )
    fields = data.info.fields
    examples_of = lambda n: to_program(data.examples(n), fields)
    everywhere = devices.sharding(mesh)
    store = data.resident and {k: devices.put(x, everywhere) for k, x in data.resident.items()}
    lead = jax.process_index() == 0

    records: list[dict[str, Any]] = []
    sinks = [records.append, log] if log else [records.append]
    logger = MetricLogger(log_every, [*sinks, run.log] if run and lead else sinks)
    checkpoints = Checkpoints(run.folder / "checkpoints", keep=keep) if run else None
    start = 0
    like = nets.placed(nets.shapes(system, data.info.zeros), mesh)
    if checkpoints and (found := checkpoints.restore(like)):
        start, states, position = found
        batches.set_state(position["data"])
        logger.resume(position["book"])
        run.rewind(start)
        if lead:
            more = f"round {start} of {rounds} is reached: nothing is left to train"
            tqdm.write(f"going on from round {start}" if start < rounds else more)
    else:
        states = states() if callable(states) else states
        if states is None:
            states = nets.init(system, key_init, examples_of)
        # A copy, for the program takes over the buffers: the caller keeps theirs.
        states = nets.place(jax.tree.map(jnp.copy, states), mesh)
        if run:
            run.rewind(0)
    if start >= rounds:
        if checkpoints:
            checkpoints.close()
        return states
    examples = data.examples(PICTURES) if run and lead else None

    def save(call, position, wait=False):
        logger.settle()
        weights = {name: state.params for name, state in states.items()}  # pyright: ignore
        for name, finite in _finite(weights).items():
            if not finite:
                raise Diverged(f"round {call.last}: the weights of {name} are not finite")
        checkpoints.save(call.last, states, {"data": position, "book": logger.state()}, wait=wait)

    @jax.jit
    def show(states, batch):
        pictures: Any = system.show
        return pictures(nets.bind(states, key_show), to_program(batch, fields), key_show)

    def picture(round):
        run.picture(round, jax.device_get(show(nets.local(states), examples)))

    if measuring := run is not None and lead:
        key_look = jax.random.fold_in(key_show, 1)
        look = health.make_look(system, data, key_look, batch_size)
        look_every = health.rounds_between(log_every, batch_size)

    def measure(round):
        """What is measured between rounds: health and scores."""
        found = {}
        if measuring and round % look_every == 0:
            found |= look(states)
        due = evaluate_every and (round % evaluate_every == 0 or round == rounds)
        if measuring and evaluate and due:
            mine = nets.local(states)
            if all(_finite({name: s.params for name, s in mine.items()}).values()):
                found |= evaluate(mine, round)
        return found

    programs, compiled = {}, set()
    boundaries = (log_every, sample_every, save_every, evaluate_every or rounds)
    calls = schedule(system, start, rounds, rounds_per_call, boundaries)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_signals()) if run else threading.Event()
        if checkpoints:
            stack.callback(checkpoints.close)
        stack.callback(batches.close)
        prefetcher = Prefetcher(batches, calls, mesh)
        stack.callback(prefetcher.close)
        bar = stack.enter_context(
            tqdm(
                desc=run.name if run else None,
                total=rounds,
                initial=start,
                unit="round",
                disable=not lead,
                smoothing=0.05,
            )
        )
        logger.open(bar, prefetcher)
        for call, arrays, position in prefetcher:
            if call.plan not in programs:
                programs[call.plan] = compile_rounds(
                    system,
                    mesh,
                    call.plan,
                    fields=fields,
                    precision=precision,
                    augment=data.augment,
                )
            numbers = np.arange(call.first, call.last, dtype=np.int32)
            began = time.perf_counter()
            try:
                states, metrics = programs[call.plan](states, arrays, numbers, key_play, store)
            except ScopeParamShapeError as error:
                raise UserError(
                    f"examples of {data.info.shape} do not fit the players' inputs ({error}); make "
                    "the system for the data's shape"
                ) from None
            prefetcher.playing = metrics
            if lead and (call.plan, call.rounds) not in compiled:
                compiled.add((call.plan, call.rounds))
                seconds = time.perf_counter() - began
                steps = "+".join(map(str, call.plan))
                bar.write(f"compiled {call.rounds} x {steps} steps in {seconds:.1f} s")
            try:
                logger.add(call, metrics, batch_size, measure(call.last))
                due = lambda every: call.last % every == 0 or call.last == rounds  # noqa: B023
                if run and due(sample_every):
                    logger.settle()  # on every process, for all are to find what is not finite
                    if lead:
                        picture(call.last)
                if _agree(stop, at_log=due(log_every)):
                    save(call, position, wait=True)
                    raise Stopped(
                        f"saved at round {call.last}; the same command goes on from there"
                    )
                if checkpoints and due(save_every):
                    save(call, position)
                while records:
                    yield records.pop(0)
            except Diverged as error:
                if checkpoints:
                    checkpoints.wait()
                last = checkpoints and max(checkpoints.rounds(), default=None)
                good = "" if last is None else f"; the last good checkpoint is that of round {last}"
                raise Diverged(f"{error}{good}") from None
            except GeneratorExit:  # the caller breaks off
                if checkpoints:
                    save(call, position, wait=True)
                raise
        logger.settle()
    yield from records
    return states


@contextlib.contextmanager
def _signals():
    """An event that SIGTERM and Ctrl-C set; a second one interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number, frame):
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        tqdm.write("stopping after this round")

    old = {s: signal.signal(s, handle) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _agree(stop, at_log):
    """Whether to stop; several processes ask each other, at logged rounds only."""
    if jax.process_count() == 1:
        return stop.is_set()
    if not at_log:
        return False
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.asarray(stop.is_set())).any())


@jax.jit
def _finite(weights):
    """{player: whether all its weights are finite}."""
    whole = lambda tree: [jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]
    return {name: jnp.all(jnp.array(whole(tree))) for name, tree in weights.items()}
