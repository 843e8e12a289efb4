"""Endless batches of one process, resumable at any batch."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxgen.data.order import Order

THREADS = 16
AHEAD = 2**28  # bytes that the reading threads may be ahead


class Batches(Iterator):
    """Iterator over batches whose state is the number of the next one."""

    def __init__(self, data, batch_size, seed, process, processes, indices, start):
        self._data, self._batch_size, self._indices = data, batch_size, indices
        self._share = batch_size // processes
        self._first = process * self._share
        self._orders = [
            Order(len(source), seed, stream, several)
            for stream, (source, several) in enumerate(zip(data.sources, data.several, strict=True))
        ]
        self._next = start
        self._reader = None

    def get_state(self) -> dict[str, int]:
        """JSON-able; `set_state` goes on from here exactly."""
        return {"batch": self._next}

    def set_state(self, state: dict[str, int]) -> None:
        self.close()
        self._next = state["batch"]

    def close(self) -> None:
        """Ends the reading threads; the next batch starts them again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __next__(self) -> dict[str, np.ndarray]:
        data, position = self._data, self._next * self._batch_size + self._first
        if self._indices or data.arrays is not None:
            chosen = [order.with_captions(position, self._share) for order in self._orders]
            if self._indices:
                batch = data.rows(0, *chosen[0])
            else:
                batch = {
                    k: x for n, side in enumerate(chosen) for k, x in data.at(n, *side).items()
                }
        else:
            if self._reader is None:
                self._reader = self._read()
            batch = next(self._reader)
        self._next += 1
        return batch

    def _read(self):
        """Grain's iterator over decoded batches from the next one on."""
        import grain

        position = self._next * self._batch_size + self._first
        examples = _Share(self._data, self._orders, position, self._batch_size, self._share)
        ahead = min(512, max(THREADS, AHEAD // self._data.example_bytes))
        options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=ahead)
        dataset = grain.MapDataset.source(examples).to_iter_dataset(options)
        return iter(dataset.batch(self._share, batch_fn=stack))


@dataclasses.dataclass(frozen=True)
class _Share:
    """One process's rows of the global batches, one after the other, as a source for grain."""

    data: Any  # a jaxgen.data.pipeline.Data
    orders: list[Order]
    position: int  # of the first row
    batch_size: int
    share: int

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, i: int) -> dict[str, Any]:
        batch, row = divmod(int(i), self.share)
        position = self.position + batch * self.batch_size + row
        example = {}
        for source, order in zip(self.data.sources, self.orders, strict=True):
            index, drawn = order.with_captions(position, 1)[:, 0].tolist()
            raw = source[index]
            if source.captions:
                raw = raw | {"caption": source.captions(index)[drawn]}
            example |= self.data.process(raw, source.fields)
        return example


def stack(examples: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Stacks what is not a string."""
    kept = [k for k, value in examples[0].items() if not isinstance(value, str)]
    return {k: np.stack([example[k] for example in examples]) for k in kept}
