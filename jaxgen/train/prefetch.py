"""Minibatches on the devices, some calls ahead of the program that takes them."""

import dataclasses
import queue
import threading
import time
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh

from jaxgen.parallel import AXIS
from jaxgen.train import devices


@dataclasses.dataclass(frozen=True)
class Call:
    """Rounds [first, first + rounds) that one program plays; each takes `minibatches` of data."""

    first: int
    rounds: int
    plan: tuple[int, ...]
    minibatches: int

    @property
    def last(self) -> int:
        return self.first + self.rounds


def schedule(system, start: int, stop: int, per_call: int, boundaries) -> Iterator[Call]:
    """Rounds start..stop in calls of one plan each.

    Calls end at multiples of `per_call` and of each of `boundaries`, counted from round 0, so that
    a run that was stopped and resumed makes the same calls.
    """
    while start < stop:
        plan = system.plan(start)
        end = min(stop, *(start - start % n + n for n in (per_call, *boundaries)))
        n = 1
        while start + n < end and system.plan(start + n) == plan:
            n += 1
        yield Call(start, n, plan, system.minibatches(plan))
        start += n


class Prefetcher:
    """Loads, stacks and places the data of each call in a thread, `ahead` calls early.

    Iterating gives (call, arrays [K, M, B, ...] on the mesh, position): `position` is the state of
    the data's iterator right after this call's minibatches, which is what a checkpoint saves.
    """

    def __init__(self, batches, calls: Iterator[Call], mesh: Mesh, ahead: int = 2):
        self._batches, self._calls, self._mesh = batches, calls, mesh
        self._queue: queue.Queue = queue.Queue(maxsize=ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.playing = None  # what the devices are at work on, as far as the game tells
        self.waited = 0.0  # seconds that the devices have waited for data
        self._thread.start()

    def __iter__(self):
        while True:
            if self._queue.empty():
                jax.block_until_ready(self.playing)
            start = time.perf_counter()
            item = self._queue.get()
            self.waited += time.perf_counter() - start
            if isinstance(item, BaseException):
                raise item
            if item is None:
                return
            yield item

    def close(self):
        self._stop.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._thread.join()

    def _put(self, item):
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue

    def _work(self):
        try:
            for call in self._calls:
                if self._stop.is_set():
                    return
                arrays = self._load(call)
                self._put((call, arrays, self._batches.get_state()))
            self._put(None)
        except BaseException as error:  # handed to the game, which raises it
            self._put(error)

    def _load(self, call):
        minibatches = [next(self._batches) for _ in range(call.rounds * call.minibatches)]
        where = devices.sharding(self._mesh, None, None, AXIS)

        def place(*xs):
            x = np.stack(xs).reshape(call.rounds, call.minibatches, *xs[0].shape)
            return jax.make_array_from_process_local_data(where, x)

        return jax.tree.map(place, *minibatches)
