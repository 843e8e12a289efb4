"""Persistent chains: what they start from, what they keep, and that devices do not matter."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from jaxgen import parallel
from jaxgen.nn.chains import Chains
from jaxgen.train import devices


def images(values):
    """Images [n, 2, 1, 1] of one grey each."""
    return jnp.asarray(values, jnp.float32)[:, None, None, None] * jnp.ones((1, 2, 1, 1))


def ask(chains, variables, x, key, *label, keep=False):
    options = {"rngs": {"dropout": key}, "mutable": ["memory"]}
    y, changed = chains.apply(variables, x, *label, keep=keep, **options)
    return y, {**variables, **changed}


def test_starts_are_kept_ends_but_for_a_share_from_noise():
    """A position starts from its own ends alone, in bytes with noise below a byte's step; the
    oldest end makes room."""
    n, slots = 200, 3
    chains, fresh = Chains(n * slots, 0.05), images(np.full(n, -1.0))
    variables = chains.init(jax.random.key(0), fresh)
    lanes = np.asarray(variables["memory"]["lanes"])
    assert (lanes.shape, lanes.dtype) == ((n, slots, 2, 1, 1), np.uint8)
    y, variables = ask(chains, variables, fresh, jax.random.key(1))
    np.testing.assert_array_equal(y, fresh)  # nothing is kept yet
    level = lambda r: (np.arange(n) + 10 * r) % 256
    for r in range(5):
        ends = images((level(r) + 0.5) / 256)
        _, variables = ask(chains, variables, ends, jax.random.key(2), keep=True)
    starts = []
    for r in range(50):
        y, variables = ask(chains, variables, fresh, jax.random.key(10 + r))
        starts.append(np.asarray(y))
    new = np.array(starts)[:, :, 0, 0, 0] < 0
    assert abs(new.mean() - 0.05) < 0.01  # of 10,000: a standard deviation is 0.002
    old = np.array(starts)[~new][..., 0, 0]
    kept = np.floor(old * 256)
    assert (kept[:, 0] == kept[:, 1]).all()
    assert (old[:, 0] != old[:, 1]).mean() > 0.99
    whose = np.broadcast_to(np.arange(n), new.shape)[~new]
    ages = ((kept[:, 0] - whose) % 256) / 10
    assert sorted(set(ages)) == [2, 3, 4]  # the newest three
    assert abs(np.bincount(ages.astype(int))[2:] / len(ages) - 1 / 3).max() < 0.02


def test_chains_keep_their_labels():
    """Kept images are as bright as their label is high; what starts from noise has a new one."""
    n = 200
    chains, fresh = Chains(3 * n, 0.3), images(np.full(n, -1.0))
    variables = chains.init(jax.random.key(0), fresh, jnp.zeros(n, jnp.int32))
    for r in range(5):
        label = (jnp.arange(n) + r) % 10
        _, variables = ask(
            chains, variables, images(label / 10), jax.random.key(r), label, keep=True
        )
    anew = jnp.full(n, 77)
    (starts, labels), _ = ask(chains, variables, fresh, jax.random.key(9), anew)
    starts, labels = np.asarray(starts)[:, 0, 0, 0], np.asarray(labels)
    new = starts < 0
    assert 0.2 < new.mean() < 0.4
    assert (labels[new] == 77).all()
    np.testing.assert_array_equal(np.round(10 * starts[~new]), labels[~new])
    assert len(set(labels[~new].tolist())) == 10


def test_without_a_memory_all_start_anew():
    fresh = images(np.arange(4.0))
    chains = Chains(0, 1.0)
    variables = chains.init(jax.random.key(0), fresh)
    _, variables = ask(chains, variables, fresh / 8, jax.random.key(1), keep=True)
    y, _ = ask(chains, variables, fresh, jax.random.key(2))
    np.testing.assert_array_equal(y, fresh)


def test_devices_do_not_matter():
    chains = Chains(16, 0.3)
    alone = many = chains.init(jax.random.key(0), images(np.zeros(8)))

    def step(memory, x, key):
        y, memory = ask(chains, memory, x, key)
        return y, ask(chains, memory, (x + y) / 2, key, keep=True)[1]

    split = jax.shard_map(
        step,
        mesh=devices.make_mesh(jax.devices()[:4]),
        in_specs=(P(parallel.AXIS), P(parallel.AXIS), P()),
        out_specs=P(parallel.AXIS),
    )
    one, four = jax.jit(step), jax.jit(split)
    for r in range(6):
        x, key = images(np.linspace(0, 0.9, 8)), jax.random.key(r)
        (y, alone), (z, many) = one(alone, x, key), four(many, x, key)
        np.testing.assert_array_equal(y, z)
        jax.tree.map(np.testing.assert_array_equal, alone, many)
