"""The training loop: rounds, logs, pictures, scores, checkpoints.  One for all systems."""

import collections
import contextlib
import math
import signal
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxgen.train import devices, game, health
from jaxgen.train.checkpoints import Checkpoints
from jaxgen.train.feed import Feed, schedule
from jaxgen.train.program import compile_rounds

PICTURES = 64  # images in the grid that `show` is given to work with


class Diverged(Exception):
    """A loss became NaN or infinite."""


class Stopped(Exception):
    """The run was asked to stop (SIGTERM, Ctrl-C), has saved, and can go on."""


def fit(
    system: game.System,
    data,
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
    show_every: int = 1000,
    save_every: int = 1000,
    keep: int = 3,
    evaluate=None,
    evaluate_every: int = 0,
):
    """Plays `rounds` rounds and returns the players' states.

    Randomness is a function of (seed, round, turn, minibatch, example, call), so a run that goes on
    from a checkpoint continues exactly as if it had never stopped, on any number of devices up to
    float rounding.

    data: a `jaxgen.data.pipeline.Data` (or anything with its `batches`, `examples`, `resident` and
      `augment`).
    batch_size: of all devices together.
    run: a `jaxgen.train.run.Run`; None writes nothing.
    states: of earlier stages; None starts afresh.  A checkpoint in the run's folder goes first.
    precision: "float32", or "bfloat16" to compute in it with float32 weights and losses.
    rounds_per_call: rounds that one program plays; a fast device then does not wait for the host.
    evaluate: (run folder, system, data, states, round) -> {name: value}, in every
      `evaluate_every`-th round and in the last; the values join that round's metrics.

    Raises Diverged where a loss stops being finite, Stopped where a signal has ended the run.
    """
    mesh = mesh or devices.make_mesh()
    devices.share(batch_size, mesh)
    key_init, key_play, key_show = jax.random.split(jax.random.key(seed), 3)
    if states is None:
        states = game.init(system, key_init)
    # A copy, for the program takes over the buffers: the caller keeps theirs, and none is shared.
    states = game.place(jax.tree.map(jnp.copy, states), mesh)
    batches = data.batches(
        batch_size,
        seed,
        process=jax.process_index(),
        processes=jax.process_count(),
        indices=data.resident is not None,
    )
    everywhere = devices.sharding(mesh)
    store = data.resident and {k: devices.put(x, everywhere) for k, x in data.resident.items()}
    lead = jax.process_index() == 0
    examples = data.examples(PICTURES) if run and lead else None

    book = _Book(log_every, run if lead else None)
    checkpoints = Checkpoints(run.folder / "checkpoints", keep=keep) if run else None
    start = 0
    if checkpoints and (found := checkpoints.restore(states)):
        start, states, position = found
        batches.set_state(position["data"])
        book.resume(position["book"])
        run.rewind(start)
        if lead:
            more = f"round {start} of {rounds} is reached: nothing is left to train"
            tqdm.write(f"going on from round {start}" if start < rounds else more)
    elif run:
        run.rewind(0)
    if start >= rounds:
        if checkpoints:
            checkpoints.close()
        return states

    def save(call, position, wait=False):
        book.settle()
        for name, finite in _finite({name: s.params for name, s in states.items()}).items():
            if not finite:
                raise Diverged(f"round {call.last}: the weights of {name} are not finite")
        checkpoints.save(call.last, states, {"data": position, "book": book.state()}, wait=wait)

    @jax.jit
    def show(states, batch):
        return system.show(game.look(system, states, key_show), game.to_float(batch), key_show)

    def picture(round):
        run.picture(round, jax.device_get(show(game.local(states), examples)))

    if measuring := run is not None and lead:
        key_look = jax.random.fold_in(key_show, 1)
        look = health.make_look(system, data, key_look, batch_size)
        look_every = health.rounds_between(log_every, batch_size)

    def beside(round):
        """What is measured between rounds: health and scores."""
        found = {}
        if measuring and round % look_every == 0:
            found |= look(states)
        due = evaluate_every and (round % evaluate_every == 0 or round == rounds)
        if measuring and evaluate and due:
            mine = game.local(states)
            if all(_finite({name: s.params for name, s in mine.items()}).values()):
                found |= evaluate(run.folder, system, data, mine, round)
        return found

    programs, compiled = {}, set()
    boundaries = (log_every, show_every, save_every, evaluate_every or rounds)
    calls = schedule(system, start, rounds, rounds_per_call, boundaries)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_signals()) if run else threading.Event()
        if checkpoints:
            stack.callback(checkpoints.close)
        stack.callback(batches.close)
        feed = Feed(batches, calls, mesh)
        stack.callback(feed.close)
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
        book.open(bar, feed)
        for call, arrays, position in feed:
            if call.plan not in programs:
                programs[call.plan] = compile_rounds(
                    system, mesh, call.plan, precision=precision, augment=data.augment
                )
            numbers = np.arange(call.first, call.last, dtype=np.int32)
            began = time.perf_counter()
            states, metrics = programs[call.plan](states, arrays, numbers, key_play, store)
            feed.playing = metrics
            if lead and (call.plan, call.rounds) not in compiled:
                compiled.add((call.plan, call.rounds))
                seconds = time.perf_counter() - began
                steps = "+".join(map(str, call.plan))
                bar.write(f"compiled {call.rounds} x {steps} steps in {seconds:.1f} s")
            try:
                book.add(call, metrics, batch_size, beside(call.last))
                due = lambda every: call.last % every == 0 or call.last == rounds  # noqa: B023
                if run and due(show_every):
                    book.settle()  # on every process, for all are to find what is not finite
                    if lead:
                        picture(call.last)
                if _agree(stop, at_log=due(log_every)):
                    save(call, position, wait=True)
                    raise Stopped(
                        f"saved at round {call.last}; the same command goes on from there"
                    )
                if checkpoints and due(save_every):
                    save(call, position)
            except Diverged as error:
                if checkpoints:
                    checkpoints.wait()
                last = checkpoints and max(checkpoints.rounds(), default=None)
                good = "" if last is None else f"; the last good checkpoint is that of round {last}"
                raise Diverged(f"{error}{good}") from None
        book.settle()
    return states


class _Book:
    """The metrics: fetched two calls late so that the devices never wait, checked, logged."""

    def __init__(self, log_every, run):
        self.log_every, self.run = log_every, run
        self.latest, self.images, self.seconds = {}, 0, 0.0
        self.open_calls = collections.deque()
        self.watch = health.Watch()

    def resume(self, state):
        self.latest, self.images, self.seconds = state["latest"], state["images"], state["seconds"]

    def state(self):
        return {
            "latest": self.latest,
            "images": self.images,
            "seconds": self.seconds + time.perf_counter() - self.began,
        }

    def open(self, bar, feed):
        self.bar, self.feed = bar, feed
        self.began = self.logged_at = time.perf_counter()
        self.logged_images, self.logged_wait = self.images, 0.0

    def add(self, call, metrics, batch_size, beside):
        images = call.rounds * call.minibatches * batch_size
        self.open_calls.append((call, metrics, images, beside))
        while len(self.open_calls) > 2:
            self._close_call()

    def settle(self):
        """Waits for every round that was played."""
        while self.open_calls:
            self._close_call()

    def _close_call(self):
        call, metrics, images, beside = self.open_calls.popleft()
        metrics, beside = jax.device_get((metrics, beside))
        for name, values in metrics.items():
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                player, _, metric = name.rpartition("/")
                value = values[bad[0]]
                raise Diverged(f"round {call.first + bad[0] + 1}: {metric} of {player} is {value}")
        # The shortest decimal that is this float32, so that lines look the same after a resume.
        last = lambda values: float(str(np.ravel(values)[-1]))
        self.latest |= {name: last(values) for name, values in metrics.items()}
        beside = {name: last(value) for name, value in beside.items() if np.isfinite(value)}
        if beside:  # the measures of health, scores or both
            for line in self.watch(beside):
                self.bar.write(f"round {call.last}: {line}")
        self.images += images
        self.bar.update(call.rounds)
        if call.last % self.log_every == 0 or call.last == self.bar.total or beside:
            self._log(call.last, beside)

    def _log(self, round, beside):
        now = time.perf_counter()
        elapsed = max(now - self.logged_at, 1e-9)
        record = {
            "round": round,
            "images": self.images,
            "seconds": round_to(self.seconds + now - self.began),
            "images_per_second": round_to((self.images - self.logged_images) / elapsed),
            "data_wait": round_to((self.feed.waited - self.logged_wait) / elapsed),
        }
        self.logged_at, self.logged_images = now, self.images
        self.logged_wait = self.feed.waited
        losses = {k: f"{v:.3g}" for k, v in self.latest.items() if k.endswith("/loss")}
        self.bar.set_postfix(losses, refresh=False)
        if self.run:
            self.run.log(record | self.latest | beside)


def round_to(x: float, digits: int = 4) -> float:
    """`x` to so many significant digits."""
    return float(f"{x:.{digits}g}") if math.isfinite(x) else x


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
