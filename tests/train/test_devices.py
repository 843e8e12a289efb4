"""How arrays lie on devices."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.layout import Format, Layout

from jaxgen.train import devices
from tests.train.toy import mesh


def add(states, batch, more=None):
    """The batch's sum to every state; `more` is added, too."""
    rise = batch.sum() + (0 if more is None else more)
    return jax.tree.map(lambda x: x + rise, states), rise


def states(where):
    put = lambda x: jax.device_put(x, devices.sharding(where))
    return {"kernel": put(jnp.arange(6.0).reshape(2, 3)), "step": put(jnp.zeros(()))}


def test_states_come_in_any_layout():
    """Those of a checkpoint, those that another program has left, and those that were turned."""
    for n in (1, 4):
        where = mesh(n)
        program = devices.AutoLayout(add, where)
        turned = states(where)
        layout = Format(Layout((1, 0)), devices.sharding(where))
        turned["kernel"] = jax.device_put(turned["kernel"], layout)
        assert turned["kernel"].format.layout.major_to_minor == (1, 0)
        for at in (states(where), turned):
            for batch in (np.ones(2, np.float32), np.ones(2, np.float32), np.ones(3, np.float32)):
                before = jax.device_get(at)
                at, rise = program(at, batch)
                assert rise == len(batch)
                for name, x in at.items():
                    np.testing.assert_array_equal(x, before[name] + len(batch))


def test_a_program_takes_over_its_states():
    program = devices.AutoLayout(add, mesh(1))
    first = states(mesh(1))
    program(first, np.ones(2, np.float32))
    assert first["kernel"].is_deleted()


def test_a_program_is_traced_from_arrays_or_shapes():
    program = devices.AutoLayout(add, mesh(1))
    at = states(mesh(1))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), at)
    for given in (at, shapes):
        after, rise = program.trace(given, np.ones(2, np.float32)).out_info
        assert (after["kernel"].shape, rise.shape) == ((2, 3), ())
    _, rise = program(at, np.ones(2, np.float32), np.float32(3))
    assert rise == 5
