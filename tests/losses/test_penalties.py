"""Penalties against torch's autograd (golden files), first and second order, and by hand."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxgen import draw, parallel
from jaxgen.losses import penalties
from jaxgen.nn.conv import conv
from jaxgen.train import devices

GOLDEN = Path(__file__).parents[1] / "golden"
SECOND_ORDER = {"rtol": 1e-4, "atol": 2e-5}


def nhwc(x):
    return jnp.asarray(np.moveaxis(x, 1, -1))


def hwio(w):
    return jnp.asarray(w.transpose(2, 3, 1, 0))


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "a/grad_penalties.npz"))


@pytest.fixture(scope="module")
def weights(golden):
    return {
        "c1_w": hwio(golden["param_c1_w"]),
        "c1_b": jnp.asarray(golden["param_c1_b"]),
        "c2_w": hwio(golden["param_c2_w"]),
        "c2_b": jnp.asarray(golden["param_c2_b"]),
        # the reference flattens channels first
        "fc_w": jnp.asarray(golden["param_fc_w"]).reshape(16, 2, 2).transpose(1, 2, 0).ravel(),
        "fc_b": jnp.asarray(golden["param_fc_b"]),
    }


def critic(w, x):
    leaky = lambda x: jax.nn.leaky_relu(x, 0.2)
    with jax.default_matmul_precision("highest"):
        x = leaky(conv(x, w["c1_w"], 2, 1) + w["c1_b"])
        x = leaky(conv(x, w["c2_w"], 2, 1) + w["c2_b"])
        return x.reshape(len(x), -1) @ w["fc_w"] + w["fc_b"]


def check_gradients(golden, prefix, got):
    for name in ("c1_w", "c2_w"):
        want = hwio(golden[f"{prefix}_{name}"])
        np.testing.assert_allclose(got[name], want, **SECOND_ORDER)
    fc = golden[f"{prefix}_fc_w"].reshape(16, 2, 2).transpose(1, 2, 0).ravel()
    np.testing.assert_allclose(got["fc_w"], fc, **SECOND_ORDER)
    for name in ("c1_b", "c2_b", "fc_b"):
        np.testing.assert_allclose(got[name], golden[f"{prefix}_{name}"], **SECOND_ORDER)


def test_r1(golden, weights):
    real = nhwc(golden["in_x_real"])
    f = lambda x: critic(weights, x)
    np.testing.assert_allclose(f(real), golden["out_logits_real"], rtol=1e-5, atol=2e-5)
    gradient = jax.grad(lambda x: f(x).sum())(real)
    np.testing.assert_allclose(gradient, nhwc(golden["out_r1_input_grad"]), rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(
        penalties.squared_gradient_norms(f, real), golden["out_r1_penalty_per_sample"], rtol=1e-4
    )
    value, got = jax.jit(
        jax.value_and_grad(lambda w: penalties.r1(lambda x: critic(w, x), real, 10.0))
    )(weights)
    np.testing.assert_allclose(value, golden["out_r1_loss_gamma10"], rtol=1e-4)
    check_gradients(golden, "out_r1_dparam", got)


def test_r2_is_r1_on_samples():
    f = lambda x: (x**2).sum((1, 2, 3))
    x = jnp.full((2, 2, 2, 1), 0.5)  # gradient 1 at each of 4 pixels
    np.testing.assert_allclose(penalties.r2(f, x, 10.0), 5 * 4.0)


def test_gradient_penalty(golden, weights, monkeypatch):
    real, fake = nhwc(golden["in_x_real"]), nhwc(golden["in_x_fake"])
    alpha = jnp.asarray(golden["in_alpha"])
    monkeypatch.setattr(draw, "uniform", lambda key, n, shape: alpha)
    key = jax.random.key(0)
    between = penalties.interpolates(real, fake, key)
    np.testing.assert_allclose(between, nhwc(golden["out_gp_xhat"]), rtol=1e-5, atol=1e-6)
    f = lambda x: critic(weights, x)
    np.testing.assert_allclose(
        penalties.gradient_norms(f, between), golden["out_gp_slopes"], rtol=1e-4
    )

    def cost(w):
        f = lambda x: critic(w, x)
        penalty = penalties.wgan_gp(f, real, fake, key)
        return f(fake).mean() - f(real).mean() + 10 * penalty, penalty

    (value, penalty), got = jax.jit(jax.value_and_grad(cost, has_aux=True))(weights)
    np.testing.assert_allclose(penalty, golden["out_gp_penalty"], rtol=1e-4)
    np.testing.assert_allclose(value, golden["out_gp_disc_cost_lambda10"], rtol=1e-4)
    check_gradients(golden, "out_gp_dparam", got)
    np.testing.assert_allclose(
        0.001 * penalties.drift(f(real)), golden["out_pggan_drift_0p001"], rtol=1e-4
    )


def test_gradient_penalty_of_the_translation_code():
    """There the random weight multiplies the data, so ours is one minus it."""
    file = np.load(GOLDEN / "b/gan_losses.npz")
    real, fake = (jnp.asarray(file[k]) for k in ("in_gp_real", "in_gp_fake"))
    eps = 1 - jnp.asarray(file["in_gp_alpha"]).reshape(3, 1, 1, 1)
    f = lambda x: jnp.tanh(x.reshape(3, -1) @ file["param_gp_w"])
    slopes = penalties.gradient_norms(f, real + eps * (fake - real))
    np.testing.assert_allclose(10 * ((slopes - 1) ** 2).mean(), file["out_gp_lambda10"], rtol=1e-5)


def test_linear_critic():
    """||w|| = 3 everywhere: (3 - 1)^2, whatever the points."""
    w = jnp.array([1.0, 2.0, 2.0])
    real, fake = jax.random.normal(jax.random.key(0), (2, 5, 1, 1, 3))
    penalty = penalties.wgan_gp(lambda x: x[:, 0, 0] @ w, real, fake, jax.random.key(1))
    np.testing.assert_allclose(penalty, 4.0, rtol=1e-6)
    half = penalties.wgan_gp(lambda x: x[:, 0, 0] @ w, real, fake, jax.random.key(1), target=0.5)
    np.testing.assert_allclose(half, 6.25, rtol=1e-6)


def test_flat_critic_has_a_finite_gradient():
    x = jnp.ones((2, 3))
    loss = lambda w: penalties.wgan_gp(lambda x: x @ w, x, -x, jax.random.key(0))
    value, gradient = jax.value_and_grad(loss)(jnp.zeros(3))
    assert value == 1
    np.testing.assert_array_equal(gradient, 0)


def test_points_lie_between_and_each_has_its_own_weight():
    real, fake = jnp.zeros((64, 2, 2, 1)), jnp.ones((64, 2, 2, 1))
    x = penalties.interpolates(real, fake, jax.random.key(0))
    assert (x.min() >= 0) & (x.max() <= 1)
    np.testing.assert_allclose(x.std((1, 2, 3)), 0, atol=1e-6)
    assert len(np.unique(x[:, 0, 0, 0])) == 64


def test_penalty_is_that_of_one_device():
    """Also through strided convolutions, whose derivatives are our own."""
    keys = jax.random.split(jax.random.key(0), 4)
    w = 0.3 * jax.random.normal(keys[0], (4, 4, 1, 3))
    real, fake = jax.random.normal(keys[1], (2, 8, 6, 6, 1))

    def loss(w, real, fake):
        f = lambda x: jnp.tanh(conv(x, w, 2, 1)).sum((1, 2, 3))
        return parallel.mean(penalties.wgan_gp(f, real, fake, keys[2]))

    step = jax.value_and_grad(loss)
    batch = P(parallel.AXIS)
    many = jax.shard_map(
        step, mesh=devices.make_mesh(), in_specs=(P(), batch, batch), out_specs=P()
    )
    want, got = jax.jit(step)(w, real, fake), jax.jit(many)(w, real, fake)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), want, got)
