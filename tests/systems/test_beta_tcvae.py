"""beta-TCVAE, beta-VAE and VAE: one loss with three weightings, of the whole batch."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.data.source import DataInfo, to_float
from jaxgen.errors import UserError
from jaxgen.experiments import beta_tcvae as experiment
from jaxgen.experiments.beta_tcvae import Args
from jaxgen.models import beta_tcvae as conv
from jaxgen.models import vae as mlp
from jaxgen.systems.likelihood.beta_tcvae import STEPS, beta_tcvae
from jaxgen.train import nets
from jaxgen.train.abilities import Autoencoder
from tests.quick import quick_to_compile  # noqa: F401
from tests.systems.small import FIELDS, SHAPE, examples

SMALL = {"size": 8, "batch_size": 8, "units": 6, "latent": 3, "importance_samples": 2}


def build(examples=50, **flags):
    return experiment.system(Args(**SMALL | flags), DataInfo(SHAPE, FIELDS, examples=examples))


@pytest.fixture(scope="module")
def states():
    return nets.init(build(), jax.random.key(0))


def test_the_objectives_weigh_the_parts(states):
    """By hand from the metrics, at equal weights and noise."""
    systems = {
        "vae": build(objective="vae", beta=7.0),
        "beta-vae": build(objective="beta-vae", beta=4.0),
        "beta-tcvae": build(beta=6.0),
        "beta 1": build(beta=1.0, estimator="mss"),
    }
    players, batch = nets.bind(states, jax.random.key(1)), to_float(examples(8))

    @jax.jit
    def losses(key):
        return {name: system.turns[0].loss(players, batch, key) for name, system in systems.items()}

    found = losses(jax.random.key(2))
    m = {k: float(x) for k, x in found["vae"][1].items()}
    for name in ("beta-vae", "beta-tcvae"):
        assert found[name][1] == pytest.approx(m)
    information, correlation, alone = (
        m[k] for k in ("mutual_information", "total_correlation", "dimension_wise_kl")
    )
    expected = {
        "vae": m["kl"],
        "beta-vae": 4 * m["kl"],
        "beta-tcvae": information + 6 * correlation + alone,
        # the parts' sum, log q(z|x) - log p(z), whatever the estimator
        "beta 1": information + correlation + alone,
    }
    for name, penalty in expected.items():
        assert found[name][0] == pytest.approx(penalty - m["log_likelihood"], rel=1e-5)
    assert information + correlation + alone == pytest.approx(m["kl"], abs=1.5)  # of one sample


def count(module, *shape):
    made = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, *shape)))["params"]
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(made))


def test_the_networks_are_the_references():
    assert count(mlp.Encoder(10, (1200, 1200)), 64, 64, 1) == 6_381_620
    assert count(mlp.BernoulliDecoder((64, 64, 1), (1200,) * 3), 10) == 7_814_896
    assert count(conv.ConvEncoder(10), 64, 64, 1) == 651_860
    assert count(conv.ConvDecoder((64, 64, 1)), 10) == 646_721


def test_the_conv_nets_take_sides_that_can_be_halved_four_times():
    decoder = conv.ConvDecoder((16, 32, 3))
    made = jax.eval_shape(
        lambda z: decoder.init_with_output(jax.random.key(0), z)[0], jnp.zeros((2, 4))
    )
    assert made.shape == (2, 16, 32, 3)
    with pytest.raises(UserError, match="28 x 28 do not allow; use 32 x 32"):
        count(conv.ConvEncoder(), 28, 28, 1)


def test_a_traversal_moves_one_latent_of_an_images_code(states):
    system = build()
    players, batch = nets.bind(states, jax.random.key(1)), to_float(examples(4))
    made = jax.jit(partial(system.show, players))(batch, jax.random.key(0))["traversals"]
    cells = np.asarray(made)[0].reshape(3, 10, STEPS, 10).swapaxes(1, 2)[:, :, :8, :8]
    coder = system.ability(Autoencoder)
    code = np.asarray(coder.encode(players, batch["image"][:1]))[0]
    for j, step, value in ((0, 0, -2), (1, STEPS // 2, 0), (2, STEPS - 1, 2)):
        moved = code.copy()
        moved[j] = value
        expected = coder.decode(players, jnp.asarray(moved[None]))[0, :, :, 0]
        np.testing.assert_allclose(cells[j, step], expected, atol=1e-5)


def test_stratified_sampling_needs_the_size_of_the_data():
    with pytest.raises(UserError, match="at most 50, all images"):
        build(estimator="mss", batch_size=64)
    with pytest.raises(UserError, match="--batch-size of 2 or more"):
        Args(estimator="mss", batch_size=1).check()
    with pytest.raises(UserError, match="needs the number of images, which mnist5k does not tell"):
        build(examples=0, estimator="mss", data="mnist5k")
    build(examples=0)


def test_stratified_sampling_from_python(states):
    """What the flags' checks do not see: before the first round."""
    nets_of = mlp.Encoder(3, (6, 6)), mlp.BernoulliDecoder(SHAPE, (6, 6))
    make = partial(beta_tcvae, *nets_of, SHAPE, 3, optax.sgd(0.1), estimator="mss")
    with pytest.raises(UserError, match="mss needs the number of training images"):
        make(examples=0)
    players, batch = nets.bind(states, jax.random.key(1)), to_float(examples(8))
    for system, n in ((build(examples=8, estimator="mss"), 1), (make(examples=7), 8)):
        play = partial(system.turns[0].loss, players, {k: x[:n] for k, x in batch.items()})
        with pytest.raises(UserError, match="estimator mss takes a batch of 2 up to [78], all"):
            jax.eval_shape(play, jax.random.key(0))
