"""A data set and players small enough to reason about."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxgen import draw
from jaxgen.data.source import DataInfo, Field
from jaxgen.train import devices, game
from jaxgen.train.nets import init, place
from jaxgen.train.prefetch import Prefetcher, schedule
from jaxgen.train.program import compile_rounds

KINDS = {"x": "array", "label": "label", "image": "image"}


class Points:
    """Points in the plane as a data set: row i of the global batch b is example b * B + i."""

    augment = None
    fields: ClassVar = {name: Field(kind) for name, kind in KINDS.items()}
    info = DataInfo((4, 4, 1), fields)

    def __init__(self, n=240, resident=False, images=False):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(n, 2)).astype(np.float32)
        self.arrays = {"x": x, "label": np.arange(n, dtype=np.int32)}
        if images:
            self.arrays["image"] = rng.integers(0, 256, (n, 4, 4, 1), dtype=np.uint8)
        self.resident = self.arrays if resident else None

    def examples(self, n):
        return {k: v[:n] for k, v in self.arrays.items()}

    def batches(self, batch_size, seed, *, process=0, processes=1, indices=False):
        return _Batches(self, batch_size, process, processes, indices)


class _Batches:
    def __init__(self, data, batch_size, process, processes, indices):
        self.data, self.size, self.indices = data, batch_size, indices
        self.share, self.process, self.next = batch_size // processes, process, 0

    def __next__(self):
        first = self.next * self.size + self.process * self.share
        rows = (first + np.arange(self.share, dtype=np.int32)) % len(self.data.arrays["x"])
        self.next += 1
        if self.indices:
            return {"index": rows}
        return {k: v[rows] for k, v in self.data.arrays.items()}

    def close(self):
        pass

    def get_state(self):
        return {"next": self.next}

    def set_state(self, state):
        self.next = state["next"]


class Dense(nn.Module):
    """A layer, or two with a hidden one."""

    features: int = 1
    hidden: int = 0

    @nn.compact
    def __call__(self, x):
        if self.hidden:
            x = nn.tanh(nn.Dense(self.hidden)(x))
        return nn.Dense(self.features)(x)


def real_loss(nets, batch, key):
    z = draw.normal(key, len(batch["x"]), (2,))
    distance = nets.d(batch["x"]).mean() - nets.d(nets.g(z)).mean()
    return -distance, {"distance": distance}


def fake_loss(nets, batch, key):
    z = draw.normal(key, len(batch["x"]), (2,))
    return -nets.d(nets.g(z)).mean(), {}


def show(nets, batch, key):
    return {"samples": jnp.tanh(nets.g(draw.normal(key, 4, (48,))[:, :2])).reshape(4, 1, 2, 1)}


def gan(optimizer, critic=None, turns=None, **player):
    """A linear GAN in the plane."""
    return game.System(
        players={
            "g": game.Player(Dense(2, 8), [(1, 2)], optimizer, **player),
            "d": game.Player(Dense(1, 8), [(1, 2)], critic or optimizer),
        },
        turns=turns or (game.Turn(("d",), real_loss), game.Turn(("g",), fake_loss)),
        show=show,
    )


def mesh(n):
    return devices.make_mesh(jax.devices()[:n])


def play(system, rounds=1, n_devices=1, batch_size=8, data=None, per_call=1, states=None, seed=0):
    """Plays without `fit`: (states, metrics of every round)."""
    where, data = mesh(n_devices), data or Points()
    k_init, k_play = jax.random.split(jax.random.key(seed))
    states = place(states or init(system, k_init), where)
    batches = data.batches(batch_size, seed, indices=data.resident is not None)
    prefetcher = Prefetcher(batches, schedule(system, 0, rounds, per_call, ()), where)
    programs, history = {}, []
    for call, arrays, _ in prefetcher:
        if call.plan not in programs:
            programs[call.plan] = compile_rounds(
                system, where, call.plan, fields=data.info.fields, augment=data.augment
            )
        numbers = np.arange(call.first, call.last, dtype=np.int32)
        states, metrics = programs[call.plan](states, arrays, numbers, k_play, data.resident)
        history += [{k: float(v[i]) for k, v in metrics.items()} for i in range(call.rounds)]
    prefetcher.close()
    return states, history
