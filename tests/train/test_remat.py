"""Less is kept for the gradients, and computed once more."""

import importlib
from typing import Any

import jax
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.planning.flops import flops
from jaxgen.train.fit import fit
from jaxgen.train.nets import placed, shapes
from jaxgen.train.program import compile_rounds
from tests.quick import quick_to_compile  # noqa: F401
from tests.train.toy import mesh

SMALL = {"size": 16, "channels": 1, "batch_size": 8, "width": 4}


def built(name):
    module = importlib.import_module(f"jaxgen.experiments.{name}")
    args = module.Args(**SMALL)
    data = jg.load_data("mnist5k", size=16, channels=1)
    return module.system(args, data.info), data


@pytest.mark.parametrize(
    ("name", "n", "parts"), [("dcgan", 1, 1), ("dcgan", 2, 2), ("wgan_gp", 2, 1)]
)
def test_the_training_is_the_same(name, n, parts):
    """Also where a loss has gradients in it."""
    system, data = built(name)
    options: Any = {"batch_size": 8, "accumulate": parts, "mesh": mesh(n)}
    whole, mine = (fit(system, data, 3, remat=remat, **options) for remat in (False, True))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(mine), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_convolutions_and_products_are_not_computed_again():
    """But all else is: norms and activations stand in what is computed once more."""
    system, data = built("dcgan")
    work, marked = [], []
    for remat in (False, True):
        where = mesh(1)
        program = compile_rounds(
            system, where, system.plan(0), fields=data.info.fields, remat=remat
        )
        states = placed(shapes(system, data.info.zeros), where)
        batch = next(data.batches(8, 0))
        minibatches = {k: np.stack([x])[None] for k, x in batch.items()}
        traced = program.trace(states, minibatches, np.zeros(1, np.int32), jax.random.key(0))
        work.append(sum(flops(traced.jaxpr, "cpu").values()))
        marked.append(str(traced.jaxpr).count("rsqrt"))
    assert work[0] == pytest.approx(work[1], rel=1e-3)
    assert marked[1] > marked[0]
