"""A system of an experiment at toy size, and some rounds of it on random images."""

import jax
import numpy as np

from jaxgen.data.source import DataInfo, Field, to_float
from jaxgen.train.nets import init, place
from jaxgen.train.program import compile_rounds
from tests.train.toy import mesh

SHAPE = (8, 8, 1)
FIELDS = {"image": Field("image", 1)}


def examples(n):
    """Random images, the same every time."""
    rng = np.random.default_rng(0)
    return {"image": rng.integers(0, 256, (n, *SHAPE), dtype=np.uint8)}


def as_seen(n):
    return to_float(examples(n))


def build(experiment, **flags):
    return experiment.system(experiment.Args(size=8, **flags), DataInfo(SHAPE, FIELDS))


def play(system, rounds=1, batch_size=8, plan=None, devices=1, scale=1.0):
    """scale: of the first weights."""
    where = mesh(devices)
    states = init(system, jax.random.key(0), as_seen)
    first = {
        k: s.replace(params=jax.tree.map(lambda w: w * scale, s.params)) for k, s in states.items()
    }
    states = place(first, where)
    plan = plan or system.plan(0)
    program = compile_rounds(system, where, plan, fields=FIELDS)
    image = examples(batch_size)["image"]
    batches = {"image": np.broadcast_to(image, (1, system.minibatches(plan), *image.shape))}
    history = []
    for r in range(rounds):
        states, metrics = program(states, batches, np.array([r], np.int32), jax.random.key(1))
        history.append({k: float(v[0]) for k, v in metrics.items()})
    return states, history
