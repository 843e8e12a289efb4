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

from jaxgen import progress
from jaxgen.data.source import Data, to_program
from jaxgen.errors import UserError
from jaxgen.train import devices, health, nets
from jaxgen.train.checkpoints import Checkpoints
from jaxgen.train.game import Sweep, System
from jaxgen.train.metric_logger import Diverged, MetricLogger
from jaxgen.train.prefetch import Prefetcher, schedule
from jaxgen.train.program import compile_rounds

Result = TypeVar("Result")
PICTURES = 64  # images in the grid that `show` is given to work with
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")  # a system may lack some
PIPE = getattr(signal, "SIGPIPE", 13)
COUNTED = 100_000  # rounds whose steps are counted; the later ones are taken to be alike


class Stopped(Exception):
    """The run was asked to stop, has saved, and can go on.

    number: of the signal that asked; SIGPIPE where the reader of what is said has left.
    """

    def __init__(self, line: str, number: int):
        super().__init__(line)
        self.number = number


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
    seeds: int = 1,
    sweep: Sweep | None = None,
    run=None,
    states=None,
    mesh=None,
    precision: str = "float32",
    accumulate: int = 1,
    remat: bool = False,
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
    from a checkpoint continues exactly as if it had never stopped; on another number of devices up
    to float rounding in each round.  A caller that breaks off leaves a checkpoint of the last
    round.

    batch_size: of all devices together; 0 is the whole data, or as much as they can share evenly.
    seeds: copies that are trained side by side in one program, spread over the devices.  Copy i has
      the weights and the noise of `seed` + i; the minibatches are those of `seed`.  The records
      have the means over the copies and their standard deviations; pictures and scores are of the
      first one.
    sweep: copies of one seed that differ in a number, in place of `seeds`, and of `system` but for
      the shapes of its states; the records have the metrics of each.
    run: a `jaxgen.train.run.Run`; None writes nothing.
    states: to start from, or a function that gives them; None starts afresh.  A checkpoint in the
      run's folder goes first.
    precision: "float32", or "bfloat16" to compute in it with float32 weights and losses.
    accumulate: parts in which a device plays each minibatch, one after another, for one step of the
      optimizers, so that a large batch needs little memory; batch statistics are those of a part.
    remat: keep less for the gradients, and compute it once more (`compile_rounds`).
    rounds_per_call: rounds that one program plays; a fast device then does not wait for the host.
    evaluate: (states, round) -> {name: value}, in every `evaluate_every`-th round and in the last;
      the values join that round's metrics.
    log: a function of each record, {"round": ..., "images": ..., "turn/metric": ...}.

    Raises Diverged where a loss stops being finite, Stopped where a signal has ended the run.
    """
    devices.check_float32()
    seeds = len(sweep.values) if sweep else seeds
    mesh = mesh or devices.make_mesh(copies=seeds)
    batch_size = batch_size or devices.whole(data.info.examples, mesh, accumulate)
    devices.share(batch_size, mesh, accumulate)
    key, split = nets.seeded(seed, seeds, sweep), lambda key: jax.random.split(key, 3)
    split = jax.vmap(split, out_axes=1) if key.ndim else split
    key_init, key_play, key_show = split(key)
    key_show = key_show[0] if key.ndim else key_show
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

    stop = _Stop()

    def tell(record):
        try:
            log(record)  # pyright: ignore
        except BrokenPipeError:  # such as that of `print`
            if run is None:
                raise
            stop.ask(PIPE)

    records: list[dict[str, Any]] = []
    sinks = [records.append, tell] if log else [records.append]
    logger = MetricLogger(log_every, [*sinks, run.log] if run and lead else sinks)
    checkpoints = Checkpoints(run.folder / "checkpoints", keep=keep) if run else None
    start = 0
    like = nets.placed(nets.shapes(system, data.info.zeros, seeds), mesh)
    if checkpoints and (found := checkpoints.restore(like)):
        start, states, position = found
        batches.set_state(position["data"])
        logger.resume(position["book"])
        run.rewind(start)
        if lead:
            more = f"round {start} of {rounds} is reached: nothing is left to train"
            progress.say(f"going on from round {start}" if start < rounds else more)
    else:
        states = states() if callable(states) else states
        if states is None:
            states = nets.init(system, key_init, examples_of, sweep)
        # A copy, for the program takes over the buffers: the caller keeps theirs.
        states = nets.place(jax.tree.map(jnp.copy, states), mesh)
        if run:
            run.rewind(0)
    if start >= rounds:
        if checkpoints:
            checkpoints.close()
        return states
    examples = data.examples(PICTURES) if run and lead else None
    if examples:
        image = lambda k, x: k in fields and fields[k].kind == "image" and x.shape[-1] in (1, 3, 4)
        run.examples({k: x for k, x in examples.items() if image(k, x)})

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
        pictures = jax.device_get(show(nets.local(states), examples))
        run.picture(round, pictures, system.legends)

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
        if run:
            stack.enter_context(_signals(stop))
        if checkpoints:
            stack.callback(checkpoints.close)
        stack.callback(batches.close)
        prefetcher = Prefetcher(batches, calls, mesh)
        stack.callback(prefetcher.close)
        bar = stack.enter_context(_bar(system, start, rounds, lead))
        logger.open(bar, prefetcher, rounds, run.name if run else None)
        for call, arrays, position in prefetcher:
            if call.plan not in programs:
                programs[call.plan] = compile_rounds(
                    system,
                    mesh,
                    call.plan,
                    fields=fields,
                    precision=precision,
                    augment=data.augment,
                    accumulate=accumulate,
                    remat=remat,
                    sweep=sweep,
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
                progress.leave_out(bar, seconds)
                progress.say(f"compiled {_said(system, call)} in {seconds:.1f} s")
            try:
                logger.add(call, metrics, batch_size, measure(call.last))
                due = lambda every: call.last % every == 0 or call.last == rounds  # noqa: B023
                if run and due(sample_every):
                    logger.settle()  # on every process, for all are to find what is not finite
                    if lead:
                        picture(call.last)
                if run and lead and progress.reader_left():
                    stop.ask(PIPE)
                if number := _agree(stop, at_log=due(log_every)):
                    save(call, position, wait=True)
                    raise Stopped(
                        f"saved at round {call.last}; the same command goes on from there", number
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
                how = " or in float32" if precision == "bfloat16" else ""
                mend = f"; train anew with a lower learning rate{how}"
                of = ""
                if key.ndim and not sweep and jax.process_count() == 1:
                    weights = [state.params for state in states.values()]  # pyright: ignore
                    lost = np.flatnonzero(~np.asarray(_finite_copies(weights)))
                    of = f" in seed {', '.join(str(seed + i) for i in lost)}" if lost.size else ""
                raise Diverged(f"{error}{of}{good}{mend}") from None
            except GeneratorExit:  # the caller breaks off
                if checkpoints:
                    save(call, position, wait=True)
                raise
        logger.settle()
    yield from records
    return states


@contextlib.contextmanager
def _signals(stop):
    """Signals ask to stop; Ctrl-C after one of them interrupts at once.

    One that is ignored (nohup) or that the caller handles is left alone.
    """

    def handle(number, frame):
        if stop.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.ask(number)
        progress.say("stopping after this round")

    usual = signal.SIG_DFL, signal.default_int_handler
    mine = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        mine = []
    old = {s: signal.getsignal(s) for s in mine}
    old = {s: handler for s, handler in old.items() if handler in usual}
    for number in old:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class _Stop:
    """The request to stop: the number of the first signal that asked, or 0."""

    number = 0

    def ask(self, number: int) -> None:
        self.number = self.number or int(number)


def _agree(stop, at_log) -> int:
    """The signal to stop for; several processes ask each other, at logged rounds only."""
    if jax.process_count() == 1:
        return stop.number
    if not at_log:
        return 0
    from jax.experimental import multihost_utils

    return int(multihost_utils.process_allgather(np.asarray(stop.number)).max())


def _bar(system, start, rounds, lead):
    """The progress in steps of the optimizers, as rounds may differ in length."""
    steps = [sum(system.plan(round)) for round in range(min(rounds, COUNTED))]
    later = sum(steps[-COUNTED // 10 :]) / len(steps[-COUNTED // 10 :])

    def until(n):
        return round(sum(steps[:n]) + later * max(0, n - COUNTED))

    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}, {rate_fmt}{postfix}"
    return progress.progress(
        total=until(rounds),
        initial=until(start),
        unit="step",
        disable=not lead,
        leave=True,
        smoothing=0.05,
        bar_format=form,
    )


def _said(system, call) -> str:
    """A call's rounds in words, such as 1 round of 100 x critic, 1 x generator."""
    turns = [f"{n} x {t.name}" for t, n in zip(system.turns, call.plan, strict=True) if n]
    return f"{call.rounds} round{'s' * (call.rounds > 1)} of {', '.join(turns)}"


@jax.jit
def _finite(weights):
    """{player: whether all its weights are finite}."""
    whole = lambda tree: [jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]
    return {name: jnp.all(jnp.array(whole(tree))) for name, tree in weights.items()}


@jax.jit
def _finite_copies(weights):
    """Whether all weights are finite, of each of several copies [n]."""
    each = [jnp.isfinite(x).reshape(len(x), -1).all(axis=1) for x in jax.tree.leaves(weights)]
    return jnp.stack(each).all(axis=0)
