"""Normalisation, spectral normalisation, dropout and maxout."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxgen import parallel
from jaxgen.nn.dropout import Dropout
from jaxgen.nn.maxout import maxout
from jaxgen.nn.norm import BatchNorm, ClassBatchNorm, LayerNorm
from jaxgen.nn.spectral import (
    SpectralConv,
    SpectralDense,
    SpectralEmbed,
    SpectralNorm,
    power_iteration,
)
from jaxgen.train import devices

GOLDEN = Path(__file__).parents[1] / "golden"
CLOSE = {"rtol": 1e-5, "atol": 2e-5}


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def nhwc(x):
    return jnp.asarray(np.moveaxis(x, 1, -1))


def test_batch_norm_like_torch():
    golden = np.load(GOLDEN / "a/dcgan_ops.npz")
    x = nhwc(golden["in_x_bn"])
    variables = BatchNorm().init(jax.random.key(0), x)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], 0)  # init is not a step
    y, after = BatchNorm().apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(y, nhwc(golden["out_bn_train_eps1e5"]), **CLOSE)
    running = after["batch_stats"]
    np.testing.assert_allclose(running["mean"], golden["out_bn_running_mean_m0p1"], **CLOSE)
    n = x.size // x.shape[-1]
    unbiased = 0.9 + (running["var"] - 0.9) * n / (n - 1)  # what torch keeps
    np.testing.assert_allclose(unbiased, golden["out_bn_running_var_m0p1"], **CLOSE)
    still = BatchNorm().apply({**variables, **after}, x, train=False)
    want = (x - running["mean"]) / np.sqrt(running["var"] + 1e-5)
    np.testing.assert_allclose(still, want, rtol=1e-5, atol=1e-5)


def test_batch_norm_without_running_averages_keeps_nothing():
    x = jax.random.normal(jax.random.key(0), (6, 3))
    norm = BatchNorm(running=False)
    variables = norm.init(jax.random.key(1), x)
    assert "batch_stats" not in variables
    y = norm.apply(variables, x, train=False)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-6)


def test_batch_norm_outside_of_a_mutable_collection_leaves_no_trace():
    x = jax.random.normal(jax.random.key(0), (6, 3))
    variables = BatchNorm().init(jax.random.key(1), x)
    y = BatchNorm().apply(variables, x)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-6)


def over_devices(f, *arguments):
    """f of arguments, the last of which is shared out."""
    *whole, _ = arguments
    specs = (*(P() for _ in whole), P(parallel.AXIS))
    return jax.jit(jax.shard_map(f, mesh=devices.make_mesh(), in_specs=specs, out_specs=P()))(
        *arguments
    )


@pytest.mark.parametrize("start", [0.0, -20.0])
def test_batch_norm_of_numbers_far_from_zero(start):
    """In double precision by hand; also where the first example is far from the others."""
    noise = np.random.default_rng(0).normal(size=(64, 4, 4, 3))
    x = np.float32(10 + 0.1 * noise)
    x[0] += np.float32(start)
    exact = np.float64(x)
    mean, var = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
    want = (exact - mean) / np.sqrt(var + 1e-5)
    x = jnp.asarray(x)
    variables = BatchNorm().init(jax.random.key(0), x)
    run = lambda x: BatchNorm().apply(variables, x, mutable=["batch_stats"])
    eager, after = run(x)
    np.testing.assert_allclose(eager, want, rtol=1e-4, atol=1e-4)
    many = over_devices(lambda x: run(x)[1], x)
    for found in after, many:
        np.testing.assert_allclose(found["batch_stats"]["mean"], 0.1 * mean, rtol=1e-6)
        np.testing.assert_allclose((found["batch_stats"]["var"] - 0.9) / 0.1, var, rtol=2e-4)


def test_batch_norm_has_the_slopes_of_its_formula():
    """Slopes of both orders, which gradient penalties ask for."""
    x = 3 + jax.random.normal(jax.random.key(0), (6, 2, 3))
    weights = jax.random.normal(jax.random.key(1), x.shape)
    norm = BatchNorm(running=False, affine=False)
    formula = lambda x: (x - x.mean((0, 1))) / jnp.sqrt(x.var((0, 1)) + 1e-5)

    @functools.partial(jax.jit, static_argnums=0)
    def slopes(f, x):
        first = jax.grad(lambda x: (weights * jnp.tanh(f(x))).sum())
        return first(x), jax.grad(lambda x: (first(x) ** 2).sum())(x)

    got = slopes(lambda x: norm.apply({}, x), x)
    for a, b in zip(got, slopes(formula, x)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_batch_norm_is_over_the_global_batch():
    norm = BatchNorm()
    x = 1 + 2 * jax.random.normal(jax.random.key(0), (8, 2, 2, 3))
    variables = norm.init(jax.random.key(1), x)

    def step(variables, x):
        def loss(params):
            y, after = norm.apply({**variables, "params": params}, x, mutable=["batch_stats"])
            return parallel.mean((jnp.tanh(y) * jnp.arange(3) + y**3).mean()), after

        return jax.grad(loss, has_aux=True)(variables["params"])

    want, got = step(variables, x), over_devices(step, variables, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), want, got)


def test_class_batch_norm_picks_its_class():
    x = jax.random.normal(jax.random.key(0), (4, 2, 2, 3))
    label = jnp.array([0, 1, 1, 0])
    norm = ClassBatchNorm(2)
    variables = norm.init(jax.random.key(1), x, label)
    params = {**variables["params"], "scale": jnp.array([[1.0] * 3, [0.0] * 3])}
    params["bias"] = jnp.array([[0.0] * 3, [5.0] * 3])
    y = norm.apply({**variables, "params": params}, x, label, train=True)
    plain = BatchNorm(affine=False).apply({"batch_stats": {"mean": 0, "var": 1}}, x)
    np.testing.assert_allclose(y[0], plain[0], rtol=1e-6)
    np.testing.assert_allclose(y[1], 5)


def test_layer_norm_treats_examples_apart():
    x = jnp.array([1.0, 7.0])[:, None, None, None] * jax.random.normal(
        jax.random.key(0), (1, 4, 4, 3)
    )
    y, _ = LayerNorm().init_with_output(jax.random.key(1), x)
    np.testing.assert_allclose(y[0], y[1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(y.mean((1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(y.std((1, 2, 3)), 1, rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 5, 50])
def test_power_iteration(steps):
    golden = np.load(GOLDEN / "a/spectral_norm.npz")
    w, u = jnp.asarray(golden["in_W"]), jnp.asarray(golden["in_u0"][0])
    u, v, sigma = power_iteration(w, u, steps)
    np.testing.assert_allclose(sigma, golden[f"out_sigma_n{steps}"], **CLOSE)
    np.testing.assert_allclose(u, golden[f"out_u_n{steps}"][0], **CLOSE)
    np.testing.assert_allclose(v, golden[f"out_v_n{steps}"][0], **CLOSE)
    np.testing.assert_allclose(w / sigma, golden[f"out_Wbar_n{steps}"], **CLOSE)
    if steps == 50:
        np.testing.assert_allclose(sigma, golden["out_true_sigma"], rtol=1e-5)


def test_spectral_norm_of_a_kernel_and_its_gradient():
    golden = np.load(GOLDEN / "a/spectral_norm.npz")
    kernel = jnp.asarray(golden["in_Wconv"].transpose(2, 3, 1, 0))
    got = SpectralNorm().apply({"spectral": {"u": jnp.asarray(golden["in_uconv0"][0])}}, kernel)
    np.testing.assert_allclose(got, golden["out_conv_Wbar_n1"].transpose(2, 3, 1, 0), **CLOSE)

    u = {"spectral": {"u": jnp.asarray(golden["in_u0"][0])}}
    weigh = lambda w: (SpectralNorm().apply(u, w) * golden["in_C"].T).sum()
    gradient = jax.grad(weigh)(jnp.asarray(golden["in_W"].T))
    np.testing.assert_allclose(gradient, golden["out_grad_W"].T, rtol=1e-4, atol=2e-5)


def test_spectral_conv_like_torch():
    golden = np.load(GOLDEN / "b/spectral_norm_conv.npz")
    hwio = lambda w: jnp.asarray(w.transpose(2, 3, 1, 0))
    variables = {
        "params": {
            "kernel": hwio(golden["param_weight_orig"]),
            "bias": jnp.asarray(golden["param_bias"]),
        },
        "spectral": {"spectral": {"u": jnp.asarray(golden["param_weight_u"])}},
    }
    layer, x = SpectralConv(6, padding=1), nhwc(golden["in_x"])
    y, after = layer.apply(variables, x, mutable=["spectral"])
    np.testing.assert_allclose(y, nhwc(golden["out_y_train_one_power_iter"]), atol=1e-5)
    u = after["spectral"]["spectral"]["u"]
    np.testing.assert_allclose(u, golden["out_u_after"], atol=1e-5)
    # without training: the same step, not kept
    y, after = layer.apply(variables, x, train=False, mutable=["spectral"])
    np.testing.assert_allclose(y, nhwc(golden["out_y_train_one_power_iter"]), atol=1e-5)
    np.testing.assert_array_equal(
        after["spectral"]["spectral"]["u"], variables["spectral"]["spectral"]["u"]
    )


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (SpectralConv(5, 3), jnp.ones((1, 4, 4, 2))),
        (SpectralDense(5), jnp.ones((1, 7))),
        (SpectralEmbed(6, 4), jnp.zeros(3, jnp.int32)),
    ],
)
def test_spectral_layers_have_unit_gain_after_a_while(layer, x):
    variables = layer.init(jax.random.key(0), x)
    step = jax.jit(lambda v: {**v, **layer.apply(v, x, mutable=["spectral"])[1]})
    for _ in range(100):
        variables = step(variables)
    (u,) = jax.tree.leaves(variables["spectral"])
    kernel = next(k for k in jax.tree.leaves(variables["params"]) if k.ndim > 1)
    kernel = kernel.T if isinstance(layer, SpectralEmbed) else kernel  # u has a number a class
    normed = SpectralNorm().apply({"spectral": {"u": u}}, kernel)
    sigma = np.linalg.svd(np.asarray(normed).reshape(-1, kernel.shape[-1]))[1][0]
    np.testing.assert_allclose(sigma, 1, atol=1e-3)


def test_dropout_keeps_the_mean_and_does_not_depend_on_devices():
    x = jnp.ones((8, 500))
    drop = lambda x: Dropout(0.2).apply({}, x, rngs={"dropout": jax.random.key(0)})
    y = drop(x)
    np.testing.assert_allclose(np.unique(y), [0, 1.25])
    np.testing.assert_allclose(y.mean(), 1, atol=0.03)
    spec = P(parallel.AXIS)
    many = jax.shard_map(drop, mesh=devices.make_mesh(), in_specs=spec, out_specs=spec)
    np.testing.assert_allclose(jax.jit(many)(x), y, rtol=1e-6)
    np.testing.assert_array_equal(Dropout(0.2).apply({}, x, train=False), x)


def test_maxout():
    np.testing.assert_array_equal(maxout(jnp.array([[1.0, 5, 2, -3, -1, -2]]), 3), [[5, -1]])
