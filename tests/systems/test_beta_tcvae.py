"""beta-TCVAE, beta-VAE and VAE: one loss with three weightings, of the whole batch."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.data.source import DataInfo, to_float
from jaxgen.errors import UserError
from jaxgen.experiments import beta_tcvae as experiment
from jaxgen.experiments.beta_tcvae import Args
from jaxgen.models import beta_tcvae as conv
from jaxgen.models import vae as mlp
from jaxgen.systems.likelihood.beta_tcvae import STEPS
from jaxgen.train import nets
from jaxgen.train.abilities import Autoencoder
from tests.quick import quick_to_compile  # noqa: F401
from tests.systems.small import FIELDS, SHAPE, examples, play

SMALL = {"size": 8, "batch_size": 8, "units": 6, "latent": 3, "importance_samples": 2}


def build(**flags):
    return experiment.system(Args(**SMALL | flags), DataInfo(SHAPE, FIELDS, examples=50))


def loss(system, states, batch=8):
    players = nets.bind(states, jax.random.key(1))
    call = jax.jit(partial(system.turns[0].loss, players))
    value, metrics = call(to_float(examples(batch)), jax.random.key(2))
    return float(value), {k: float(x) for k, x in metrics.items()}


@pytest.fixture(scope="module")
def states():
    return nets.init(build(), jax.random.key(0))


@pytest.mark.parametrize("estimator", ["mws", "mss"])
def test_the_objectives_weigh_the_parts(states, estimator):
    """By hand from the metrics, at equal weights and noise."""
    found = {
        name: loss(build(objective=name, beta=beta, estimator=estimator), states)
        for name, beta in (("vae", 7.0), ("beta-vae", 4.0), ("beta-tcvae", 6.0))
    }
    _, m = found["vae"]
    assert all(metrics == pytest.approx(m) for _, metrics in found.values())
    information, correlation, alone = (
        m[k] for k in ("mutual_information", "total_correlation", "dimension_wise_kl")
    )
    expected = {
        "vae": m["kl"],
        "beta-vae": 4 * m["kl"],
        "beta-tcvae": information + 6 * correlation + alone,
    }
    for name, penalty in expected.items():
        assert found[name][0] == pytest.approx(penalty - m["log_likelihood"], rel=1e-5)
    sampled, _ = loss(build(beta=1.0, estimator=estimator), states)
    # with beta 1 the KL term of the VAE, sampled (8 images, 3 latents)
    assert sampled + m["log_likelihood"] == pytest.approx(m["kl"], abs=1.5)


@pytest.mark.parametrize("estimator", ["mws", "mss"])
def test_devices_share_one_distribution_of_codes(estimator):
    system = build(estimator=estimator, seeds=1)
    one, four = (play(system, devices=n)[1][0] for n in (1, 4))
    assert one == pytest.approx(four, rel=1e-5, abs=1e-6)


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
