"""The devices' supply of data."""

import itertools
import threading

import numpy as np
import pytest

from jaxgen.train.prefetch import Call, Prefetcher
from tests.train.toy import mesh


class Slow:
    """Minibatches that come when `gate` is open."""

    def __init__(self, gate):
        self.gate = gate

    def __next__(self):
        self.gate.wait()
        return {"x": np.zeros((2, 1), np.float32)}

    def get_state(self):
        return {}


class Device:
    """At work for as long as it takes until the data are there."""

    def __init__(self, gate):
        self.gate, self.asked = gate, False

    def block_until_ready(self):
        self.asked = True
        threading.Event().wait(0.4)
        self.gate.set()
        threading.Event().wait(0.4)


@pytest.mark.parametrize("busy", [True, False])
def test_waiting_is_what_the_devices_wait(busy):
    """Not the host, while they still play; all of it, when they have nothing to play."""
    gate = threading.Event()
    feed = Prefetcher(Slow(gate), (Call(n, 1, (1,), 1) for n in itertools.count()), mesh(1))
    if busy:
        feed.playing = Device(gate)
    else:
        threading.Timer(0.4, gate.set).start()
    next(iter(feed))
    feed.close()
    if busy:
        assert feed.playing.asked
        assert feed.waited < 0.3
    else:
        assert feed.waited > 0.3
