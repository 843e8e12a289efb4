"""What makes WGAN-GP itself."""

import math

import jax
import numpy as np

from jaxgen.experiments import wgan_gp as experiment
from jaxgen.train.program import compile_rounds
from tests.systems.small import FIELDS, SHAPE, build, examples, play
from tests.train.toy import mesh


def test_pulls_the_slope_to_one():
    """The penalty falls from that of a random critic, and the critic has no batch statistics."""
    system = build(experiment, width=4, critic_steps=1, lr=5e-3)
    states, history = play(system, 60)
    assert "batch_stats" not in states["critic"].collections
    assert history[-1]["critic/penalty"] < 0.5 * history[0]["critic/penalty"]
    line = history[-1]
    loss = -line["critic/distance"] + 10 * line["critic/penalty"]
    assert math.isclose(line["critic/loss"], loss, rel_tol=1e-4, abs_tol=1e-5)


def test_rate_falls_to_zero():
    rate = 1e-3
    system = build(experiment, width=4, critic_steps=2, lr=rate, decay=True, rounds=3)
    states, _ = play(system, 3)
    before = jax.device_get(states["critic"].params)
    program = compile_rounds(system, mesh(1), (2, 1), fields=FIELDS)
    image = np.broadcast_to(examples(8)["image"], (1, 2, 8, *SHAPE))
    states, _ = program(states, {"image": image}, np.array([3], np.int32), jax.random.key(1))
    # 1 - 6 / 6, of which XLA may make 1 - 6 * (1 / 6): a rounding of the first rate is left.
    for a, b in zip(jax.tree.leaves(states["critic"].params), jax.tree.leaves(before)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * rate)
