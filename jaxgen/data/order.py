"""The order of the examples: a function of (seed, position), so that any place can be gone to.

Epoch e is the permutation that sorts the raw 64-bit numbers of NumPy's Philox stream (seed, e).
Those numbers are the same on every platform and in every version of NumPy, unlike its shuffles.
Whole batches of indices come at once: for a batch of 64 out of 4,500 examples that took about 5
microseconds on two CPU cores, where grain's own shuffle, position by position, took 900.
"""

import functools
import threading

import numpy as np


class Order:
    """Endless shuffled passes over `length` examples; every epoch is shuffled anew."""

    def __init__(self, length: int, seed: int, stream: int = 0):
        self._length = length
        self._seed = seed
        self._stream = stream  # unpaired domains have an order each
        self._lock = threading.Lock()
        self._epoch = functools.lru_cache(maxsize=2)(self._permutation)

    def _permutation(self, epoch: int) -> np.ndarray:
        entropy = np.random.SeedSequence(self._seed, spawn_key=(self._stream, epoch))
        numbers = np.random.Philox(entropy).random_raw(self._length)
        return np.argsort(numbers, kind="stable").astype(np.int32)

    def __call__(self, start: int, count: int) -> np.ndarray:
        """Indices int32 [count] of the examples at positions start .. start + count - 1."""
        parts = []
        with self._lock:
            while count:
                epoch, offset = divmod(start, self._length)
                part = self._epoch(epoch)[offset : offset + count]
                parts.append(part)
                start, count = start + len(part), count - len(part)
        return np.concatenate(parts)
