"""Hinton & Salakhutdinov's machines and the autoencoder that they become."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.losses.boltzmann import contrastive_divergence
from jaxgen.models.autoencoder import ConvDecoder, ConvEncoder, Decoder, Encoder, unrolled
from jaxgen.train import optim

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = {"weights": "W", "visible": "b_visible", "hidden": "b_hidden"}


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "d/rbm_momentum_unroll.npz")


def step(golden, params, tx, state, noise, linear):
    v = jnp.asarray(golden["in_v"])
    learn = jax.grad(contrastive_divergence, has_aux=True)
    grads, error = learn(params, v, jnp.asarray(noise), linear)
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state, error


def test_contrastive_divergence_with_momentum_and_cost(golden):
    params = {k: jnp.asarray(golden[f"param_{name}"]) for k, name in NAMES.items()}
    tx = optim.rbm(0.1, late=1)
    state = tx.init(params)
    for n in (1, 2):
        noise = golden["in_uniform"][n - 1]
        params, state, error = step(golden, params, tx, state, noise, False)
        np.testing.assert_allclose(error.sum(), golden[f"out_step{n}_squared_error_sum"], rtol=1e-6)
        for k, name in NAMES.items():
            np.testing.assert_allclose(params[k], golden[f"out_step{n}_{name}"], atol=1e-7)


def test_machine_with_linear_hidden_units(golden):
    params = {k: jnp.asarray(golden[f"param_lin_{name}"]) for k, name in NAMES.items()}
    tx = optim.rbm(0.001)
    after, *_ = step(golden, params, tx, tx.init(params), golden["in_normal"], True)
    for k, name in NAMES.items():
        np.testing.assert_allclose(after[k], golden[f"out_lin_{name}"], atol=1e-7)
        assert not np.array_equal(after[k], params[k])


def test_several_seeds_are_unrolled_each():
    rng = np.random.default_rng(0)
    machine = lambda: {
        "weights": rng.normal(size=(12, 5)).astype(np.float32),
        "hidden": np.zeros(5, np.float32),
        "visible": np.zeros(12, np.float32),
    }
    one, other = machine(), machine()
    both = {name: np.stack([one[name], other[name]]) for name in one}
    _, down = unrolled([both])
    np.testing.assert_array_equal(down["dense_0"]["kernel"][1], other["weights"].T)


def test_unrolled(golden):
    machines = [
        {
            "weights": jnp.asarray(golden[f"param_ae_W{i}"]),
            "visible": jnp.asarray(golden[f"param_ae_b_visible{i}"]),
            "hidden": jnp.asarray(golden[f"param_ae_b_hidden{i}"]),
        }
        for i in range(3)
    ]
    up, down = unrolled(machines)
    x = jnp.asarray(golden["in_v"]).reshape(10, 6, 1, 1)
    code = Encoder((5, 4, 2)).apply({"params": up}, x)
    again = jax.nn.sigmoid(Decoder((6, 1, 1), (4, 5)).apply({"params": down}, code))
    np.testing.assert_allclose(code, golden["out_ae_code"], atol=1e-6)
    np.testing.assert_allclose(again.reshape(10, 6), golden["out_ae_reconstruction"], atol=1e-6)
    error = ((again - x) ** 2).sum((1, 2, 3)).mean()
    np.testing.assert_allclose(error, golden["out_ae_squared_error_summed_mean"], rtol=1e-6)


def test_parameters():
    """784-1000-500-250-30 and back: 2,837,314, with two numbers of code 2,823,286."""
    count = lambda module, x: sum(
        w.size for w in jax.tree.leaves(jax.eval_shape(module.init, jax.random.key(0), x))
    )
    image = jnp.zeros((1, 28, 28, 1))
    for latent, expected in ((30, 2_837_314), (2, 2_823_286)):
        encoder, code = Encoder((1000, 500, 250, latent)), jnp.zeros((1, latent))
        assert count(encoder, image) + count(Decoder(), code) == expected
    codes, _ = ConvEncoder(5).init_with_output(jax.random.key(0), image)
    assert codes.shape == (1, 5)
    assert ConvDecoder().init_with_output(jax.random.key(0), codes)[0].shape == image.shape
