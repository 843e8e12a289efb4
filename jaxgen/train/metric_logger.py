"""The metrics of a training: fetched late so that devices never wait, checked, logged."""

import collections
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxgen import progress
from jaxgen.train import health


class Diverged(Exception):
    """A loss became NaN or infinite."""


class MetricLogger:
    """Takes the metrics of each call, fetches them two calls later, and logs every `log_every`
    rounds.

    log: functions of a record {"round": ..., name: number}.  NaN and infinity raise Diverged.
    """

    def __init__(self, log_every: int, log: list[Callable[[dict[str, Any]], Any]]):
        self.log_every, self._log_to = log_every, log
        self.latest, self.images, self.seconds = {}, 0, 0.0
        self.open_calls = collections.deque()
        self.watch = health.Watch()

    def resume(self, state: dict[str, Any]) -> None:
        self.latest, self.images, self.seconds = state["latest"], state["images"], state["seconds"]

    def state(self) -> dict[str, Any]:
        return {
            "latest": self.latest,
            "images": self.images,
            "seconds": self.seconds + time.perf_counter() - self.began,
        }

    def open(self, bar, prefetcher, rounds: int, name: str | None) -> None:
        """Begins to count, on a bar of the optimizers' steps."""
        self.bar, self.prefetcher, self.rounds = bar, prefetcher, rounds
        self.named = f"{name}, " if name else ""
        self.began = self.logged_at = time.perf_counter()
        self.logged_images, self.logged_wait = self.images, 0.0

    def add(self, call, metrics, batch_size, measured) -> None:
        """The metrics of a call, and what was measured after it (health, scores)."""
        images = call.rounds * call.minibatches * batch_size
        self.open_calls.append((call, metrics, images, measured))
        while len(self.open_calls) > 2:
            self._close_call()

    def settle(self) -> None:
        """Waits for every round that was played."""
        while self.open_calls:
            self._close_call()

    def _close_call(self):
        call, metrics, images, measured = self.open_calls.popleft()
        metrics, measured = jax.device_get((metrics, measured))
        for name, values in metrics.items():
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                player, _, metric = name.rpartition("/")
                value = values[bad[0]]
                raise Diverged(f"round {call.first + bad[0] + 1}: {metric} of {player} is {value}")
        # The shortest decimal that is this float32, so that lines look the same after a resume.
        last = lambda values: float(str(np.ravel(values)[-1]))
        self.latest |= {name: last(values) for name, values in metrics.items()}
        measured = {name: last(value) for name, value in measured.items() if np.isfinite(value)}
        if measured:  # the measures of health, scores or both
            for line in self.watch(measured):
                progress.say(f"round {call.last}: {line}")
        self.images += images
        where = f"{self.named}round {call.last:,} of {self.rounds:,}"
        self.bar.set_description_str(where, refresh=False)
        self.bar.update(call.rounds * sum(call.plan))
        if call.last % self.log_every == 0 or call.last == self.rounds or measured:
            self._log(call.last, measured)

    def _log(self, round, measured):
        now = time.perf_counter()
        elapsed = max(now - self.logged_at, 1e-9)
        record = {
            "round": round,
            "images": self.images,
            "seconds": round_to(self.seconds + now - self.began),
            "images_per_second": round_to((self.images - self.logged_images) / elapsed),
            "data_wait": round_to((self.prefetcher.waited - self.logged_wait) / elapsed),
        }
        self.logged_at, self.logged_images = now, self.images
        self.logged_wait = self.prefetcher.waited
        is_loss = lambda name: name.partition(" ")[0].endswith(
            "/loss"
        )  # of a sweep: "d/loss lr=0.1"
        losses = {k: f"{v:.3g}" for k, v in self.latest.items() if is_loss(k)}
        self.bar.set_postfix(losses, refresh=False)
        for log in self._log_to:
            log(record | self.latest | measured)


def round_to(x: float, digits: int = 4) -> float:
    """`x` to so many significant digits."""
    return float(f"{x:.{digits}g}") if math.isfinite(x) else x
