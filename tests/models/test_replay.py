"""The pool of older images."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from jaxgen import parallel
from jaxgen.nn.replay import ImagePool, exchange
from jaxgen.train import devices

GOLDEN = Path(__file__).parents[1] / "golden/b/image_pool.npz"


def images(first, n):
    """Images [n, 2, 1, 1] of one grey each: first, first + 1, ..."""
    return (first + jnp.arange(n, dtype=jnp.float32))[:, None, None, None] * jnp.ones((1, 2, 1, 1))


def ask(module, variables, x, key):
    y, changed = module.apply(variables, x, rngs={"dropout": key}, mutable=["memory"])
    return y, {**variables, **changed}


def test_exchange_as_in_the_reference():
    """Its random numbers are drawn only where they are needed; ids stand for images."""
    golden = np.load(GOLDEN)
    chances, slots = iter(golden["in_p_draws"]), iter(golden["in_randint_draws"])
    pool, filled, given, after = np.full(3, -1), 0, [], []
    for image in golden["in_ids"]:
        swap = next(chances) > 0.5 if filled == 3 else False
        slot = next(slots) if swap else 0
        old, pool, filled = exchange(image, jnp.asarray(pool), jnp.asarray(filled), swap, slot)
        given.append(int(old))
        after.append(np.asarray(pool))
    assert given == golden["out_returned_ids"].tolist()
    ends = np.cumsum(golden["in_batch_sizes"]) - 1
    np.testing.assert_array_equal(np.array(after)[ends], golden["out_pool_after_each_query"])


def test_gives_back_what_is_new_until_it_is_full_then_old_ones_half_of_the_time():
    pool, lanes, slots, rounds = ImagePool(64), 16, 4, 60
    x = images(0, lanes)
    variables = pool.init(jax.random.key(0), x)
    assert variables["memory"]["lanes"].shape == (lanes, slots, 2, 1, 1)
    assert not variables["memory"]["filled"].any()  # making it keeps nothing
    step = jax.jit(lambda variables, x, key: ask(pool, variables, x, key))
    new = []
    for r in range(rounds):
        x = images(lanes * r, lanes)
        y, variables = step(variables, x, jax.random.key(r))
        repeated = pool.apply(variables)
        np.testing.assert_array_equal(repeated, y)
        assert ((y % lanes) == (x % lanes)).all()  # every lane to itself
        assert (y <= x).all()
        new.append((y == x)[:, 0, 0, 0])
    assert np.all(new[:slots])
    # 896 draws of a fair coin: standard deviation 0.017
    assert abs(np.mean(new[slots:]) - 0.5) < 0.07
    assert (variables["memory"]["filled"] == slots).all()
    kept = np.asarray(variables["memory"]["lanes"])[:, :, 0, 0, 0]
    assert all(len(set(lane)) == slots for lane in kept)


def test_a_pool_of_none_gives_back_what_it_is_given():
    x = images(3, 2)
    variables = ImagePool(0).init(jax.random.key(0), x)
    y, variables = ask(ImagePool(0), variables, x, jax.random.key(1))
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(ImagePool(0).apply(variables), x)


def test_the_share_of_a_position_is_rounded_up():
    lanes = lambda size, n: ImagePool(size).init(jax.random.key(0), images(0, n))["memory"]["lanes"]
    assert lanes(50, 1).shape[:2] == (1, 50)
    assert lanes(50, 8).shape[:2] == (8, 7)


def test_devices_do_not_matter():
    pool = ImagePool(16)
    alone = many = pool.init(jax.random.key(0), images(0, 8))
    step = lambda memory, x, key: ask(pool, memory, x, key)
    split = jax.shard_map(
        step,
        mesh=devices.make_mesh(jax.devices()[:4]),
        in_specs=(P(parallel.AXIS), P(parallel.AXIS), P()),
        out_specs=P(parallel.AXIS),
    )
    one, four = jax.jit(step), jax.jit(split)
    for r in range(8):
        x, key = images(8 * r, 8), jax.random.key(r)
        (y, alone), (z, many) = one(alone, x, key), four(many, x, key)
        np.testing.assert_array_equal(y, z)
        jax.tree.map(np.testing.assert_array_equal, alone, many)
