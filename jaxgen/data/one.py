"""One example, as data for `fit`: all that a picture, a prior or an inversion is made after."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxgen.data.source import DataInfo, Field


class One:
    """Every minibatch is the example `arrays`, {name: [1, ...]}, which lives on the device.

    fields: what the arrays are; a value may be a dict of arrays in turn.  The shape that systems
      are told is that of `image`.
    For a batch size of 1, on one device.
    """

    augment = None
    spec, split = "one example", "train"

    def __init__(self, arrays: dict[str, Any], fields: Mapping[str, Field], fingerprint: str = ""):
        self.resident, self.fingerprint = arrays, fingerprint
        self.info = DataInfo(tuple(arrays["image"].shape[1:]), fields)

    def __len__(self) -> int:
        return 1

    def examples(self, n: int) -> dict[str, Any]:
        """The example, once, whatever n is."""
        return jax.device_get(self.resident)

    def take(self, chosen: Sequence[int]) -> dict[str, Any]:
        """The example, as often as it is asked for, where its entries are arrays."""
        alike = {k: x for k, x in self.examples(1).items() if not isinstance(x, dict)}
        return {name: np.repeat(x, len(chosen), axis=0) for name, x in alike.items()}

    @property
    def size(self) -> tuple[int, int]:
        height, width, _ = self.info.shape
        return height, width

    def batches(self, batch_size, seed, *, process=0, processes=1, indices=False):
        return Same({"index": np.zeros(1, np.int32)})


class Same:
    """The same batch again and again, with nothing to remember."""

    def __init__(self, batch: dict[str, np.ndarray]):
        self._batch = batch

    def __next__(self):
        return self._batch

    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def close(self):
        pass
