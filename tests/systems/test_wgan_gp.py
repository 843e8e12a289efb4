"""What makes WGAN-GP itself."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.experiments import wgan_gp as experiment
from jaxgen.systems.gan.wgan_gp import wgan_gp
from jaxgen.train.abilities import Sampler
from jaxgen.train.nets import bind, init
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


class Flat(nn.Module):
    """Images as bright as their label."""

    @nn.compact
    def __call__(self, z, label, *, train: bool = True):
        bias = self.param("bias", nn.initializers.zeros, ())
        return jnp.broadcast_to(label[:, None, None, None] + bias, (len(z), *SHAPE))


class Reads(nn.Module):
    """The brightness x of an image; x is also the logit of the last of four classes."""

    @nn.compact
    def __call__(self, x, *, train: bool = True):
        rest = self.param("bias", nn.initializers.zeros, ()) + jnp.zeros((len(x), 3))
        brightness = x.mean((1, 2, 3))
        return brightness, jnp.concatenate([rest, brightness[:, None]], axis=1)


def test_supervised_critic_reads_the_label_of_data_and_the_generator_is_read():
    """Grey images, whose classes have 1/4 each; samples of class 3 are read as it with
    e^3 / (3 + e^3), those of 0 and 2 with 1 / (3 + e^0) and 1 / (3 + e^2). The weights 1 and 0.1
    are those of the code."""
    sgd = optax.sgd(0.1)
    system = wgan_gp(Flat(), Reads(), SHAPE, sgd, sgd, labels=True)
    nets = bind(init(system, jax.random.key(0)), jax.random.key(1))
    label = jnp.array([3, 0, 2, 3])
    batch = {"image": jnp.zeros((4, *SHAPE)), "label": label}
    first, second = (turn.loss(nets, batch, jax.random.key(2))[0] for turn in system.turns)
    penalty = 10 * (1 / math.sqrt(64) - 1) ** 2  # a mean of 64 pixels
    read = np.mean([np.log(3 + np.exp(3)) - 3] * 2 + [np.log(4), np.log(3 + np.exp(2))])
    assert math.isclose(first, 2 - 0 + penalty + math.log(4), rel_tol=1e-5)
    assert math.isclose(second, -2 + 0.1 * read, rel_tol=1e-5)
    sampler = system.ability(Sampler)
    made = sampler.generate(nets, jnp.zeros((4, 128)), {"label": label}, jax.random.key(0))
    np.testing.assert_array_equal(made.mean((1, 2, 3)), label)


def test_labels_that_there_are_not():
    args = experiment.Args(labels=True, net="cifar-resnet")
    with pytest.raises(UserError, match="^mnist5k has no labels; leave --labels out"):
        experiment.system(args, DataInfo(SHAPE, {"image": Field("image", 1)}))
    with pytest.raises(UserError, match="^--net dcgan knows no labels; use --net cifar-resnet$"):
        experiment.Args(labels=True).check()
