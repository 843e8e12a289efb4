"""What makes conditional GANs themselves: both players know the label."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.experiments import cgan as experiment
from jaxgen.latents import lerp, uniform
from jaxgen.runs.trained import TrainedRun
from jaxgen.systems.gan.cgan import cgan
from jaxgen.train.abilities import Sampler
from jaxgen.train.nets import bind, init
from tests.quick import quick_to_compile  # noqa: F401

SHAPE = (8, 8, 1)
INFO = DataInfo(SHAPE, {"image": Field("image", 1), "label": Field("label")}, tuple("0123"))
LABEL = jnp.array([3, 0, 2, 3])


class Flat(nn.Module):
    """Images as bright as their label."""

    @nn.compact
    def __call__(self, z, label, *, train: bool = True):
        bias = self.param("bias", nn.initializers.zeros, ())
        return jnp.broadcast_to(label[:, None, None, None] + bias, (len(z), *SHAPE))


class Beside(nn.Module):
    """By how much an image is brighter than its label."""

    @nn.compact
    def __call__(self, x, label, *, train: bool = True):
        return x.mean((1, 2, 3)) - label + self.param("bias", nn.initializers.zeros, ())


class Reads(nn.Module):
    """Logits of 0; as to the class, the brighter the likelier is the last of four."""

    @nn.compact
    def __call__(self, x, *, train: bool = True):
        rest = self.param("bias", nn.initializers.zeros, ()) + jnp.zeros((len(x), 3))
        brightness = x.mean((1, 2, 3))
        return 0 * brightness, jnp.concatenate([rest, brightness[:, None]], axis=1)


def losses(discriminator, reads):
    """D's and G's on grey images, of brightness 0, with `LABEL`."""
    prior, optimizers = uniform(100), [optax.sgd(0.1)] * 2
    system = cgan(Flat(), discriminator, SHAPE, 4, prior, lerp, optimizers, reads=reads)
    nets = bind(init(system, jax.random.key(0)), jax.random.key(1))
    batch = {"image": jnp.zeros((4, *SHAPE)), "label": LABEL}
    return [float(turn.loss(nets, batch, jax.random.key(2))[0]) for turn in system.turns]


def test_a_sample_is_judged_by_the_label_that_it_was_made_from():
    """Every sample is as bright as its label, every image 3, 0, 2 and 3 darker than its own."""
    of_discriminator, of_generator = losses(Beside(), reads=False)
    real = np.log1p(np.exp([3, 0, 2, 3])).mean()
    assert math.isclose(of_discriminator, real + math.log(2), rel_tol=1e-5)
    assert math.isclose(of_generator, math.log(2), rel_tol=1e-5)


def test_ac_gan_reads_the_label_of_data_and_of_samples():
    """On grey images every class has 1/4; samples of class 3 are read as it with e^3 / (3 + e^3),
    those of 0 and 2 with 1 / (3 + e^0) and 1 / (3 + e^2)."""
    of_discriminator, of_generator = losses(Reads(), reads=True)
    fake = np.mean([np.log(3 + np.exp(3)) - 3] * 2 + [np.log(4), np.log(3 + np.exp(2))])
    assert math.isclose(of_discriminator, math.log(4) + fake + 2 * math.log(2), rel_tol=1e-5)
    assert math.isclose(of_generator, math.log(2) + fake, rel_tol=1e-5)


def build(conditioning):
    args = experiment.Args(size=8, width=4, units=24, conditioning=conditioning)
    return experiment.system(args, INFO)


@pytest.mark.parametrize("conditioning", ["maxout", "concat", "projection", "acgan"])
def test_both_players_are_told_the_label(conditioning):
    """With weights away from their start, where tables of classes have equal rows."""

    @jax.jit
    def images_and_scores():
        system = build(conditioning)
        states = init(system, jax.random.key(0))
        moved = lambda state: jax.tree.map(
            lambda w: w + jax.random.normal(jax.random.key(1), w.shape) / 10, state.params
        )
        states = {k: s.replace(params=moved(s), ema=None) for k, s in states.items()}
        nets, z = bind(states, jax.random.key(0)), jnp.ones((2, 100))
        images = nets.generator(z, jnp.array([0, 1]), train=False)
        if conditioning == "acgan":
            return images, nets.discriminator(images)[1]
        same = images[:1].repeat(2, axis=0)
        return images, nets.discriminator(same, jnp.array([0, 1]), train=False)

    images, scores = images_and_scores()
    assert abs(images[0] - images[1]).max() > 1e-3
    if conditioning == "acgan":
        assert scores.shape == (2, 4)
    else:
        assert abs(scores[0] - scores[1]) > 1e-3


@pytest.fixture(scope="module")
def run():
    system = build("concat")
    return TrainedRun(system, init(system, jax.random.key(0)), INFO, 0, "cgan")


def test_samples_of_a_class(run):
    """The latents are the same, whichever class is asked for."""
    threes = run.sample(16, label=3)
    assert threes.shape == (16, *SHAPE)
    np.testing.assert_array_equal(run.sample(16, label="3"), threes)
    in_turn = run.sample(16)
    np.testing.assert_array_equal(in_turn[3::4], threes[3::4])
    assert (in_turn[::4] != threes[::4]).any()
    with pytest.raises(UserError, match="^label is from 0 to 3, not 4$"):
        run.sample(16, label=4)
    with pytest.raises(UserError, match="^label 'cat' is not known; there are 0, 1, 2, 3$"):
        run.sample(16, label="cat")


def test_pictures_of_training_have_a_row_a_class(run):
    """Two images of the batch, four classes: four rows, with the same four latents."""
    batch, key = {"label": LABEL[:2]}, jax.random.key(0)
    (sheet,) = jax.jit(lambda: run.system.show(run.nets(), batch, key)["samples"])()
    assert sheet.shape == (4 * 8, 4 * 8, 1)
    z = run.system.ability(Sampler).prior(key, 4)
    twos = jax.jit(lambda: run.nets().generator(z, jnp.full(4, 2), train=False))()
    np.testing.assert_allclose(sheet[16:24, 8:16], twos[1], atol=1e-5)


def test_sizes_of_the_residual_networks():
    with pytest.raises(UserError, match="^--size is 8, 16, .* --conditioning acgan, not 20$"):
        experiment.Args(size=(20, 20)).check()


def test_data_without_labels():
    with pytest.raises(UserError, match="^mnist5k has no labels; name other data$"):
        experiment.system(experiment.Args(), DataInfo(SHAPE, {"image": Field("image", 1)}))
