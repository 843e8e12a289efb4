"""RealNVP: the couplings' golden numbers, the order of the parts, inverse and determinant."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.models import realnvp
from jaxgen.models.realnvp import Coupling, RealNVP, Scale

GOLDEN = Path(__file__).parents[1] / "golden"
CLOSE = {"rtol": 2e-5, "atol": 3e-6}
NORMS = {"norm_0_in": "block_0.bn_in", "norm_0_out": "block_0.bn_0", "norm_last": "bn_pre_out"}
KERNELS = {
    **{"first": "h_in", "skip_first": "skip_in", "block_0_in": "block_0.h_0"},
    **{"block_0_out": "block_0.out", "skip_0": "skip_0", "last": "out"},
}


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def weights(golden, kind):
    """The reference's weights and running statistics as a coupling's variables."""
    of = lambda name: jnp.asarray(golden[f"param_{kind}.{name}"])
    norm = lambda name: {"BatchNorm_0": {"mean": of(f"{name}.mean"), "var": of(f"{name}.var")}}
    beta = lambda name: {"bias": of(f"{name}.beta")}

    def kernel(name):
        parts = {"kernel": "weights", "magnitude": "magnitude", "bias": "biases"}
        there = {k: f"resnet.{name}.{v}" for k, v in parts.items()}
        return {k: of(v) for k, v in there.items() if f"param_{kind}.{v}" in golden.files}

    params = {k: kernel(v) for k, v in KERNELS.items()}
    params |= {k: beta(f"resnet.{v}") for k, v in NORMS.items()}
    scale = of("rescaling_scale" if kind == "checkerboard" else "scale")
    return {
        "params": {"norm_in": beta("bn_in"), "resnet": params, "scale": scale},
        "batch_stats": {
            "norm_in": norm("bn_in"),
            "resnet": {k: norm(f"resnet.{v}") for k, v in NORMS.items()},
            "norm_out": {"mean": of("bn_out.mean"), "var": of("bn_out.var")},
        },
    }


@pytest.mark.parametrize(
    ("kind", "half", "out"),
    [
        ("checkerboard", "odd", "checkerboard"),
        ("channel", "second", "channel_change_second"),
        ("channel", "first", "channel_change_first"),
    ],
)
def test_couplings_are_the_references(kind, half, out):
    golden = np.load(GOLDEN / "d/realnvp_coupling.npz")
    x = jnp.asarray(golden["in_x" if kind == "checkerboard" else "in_xc"])
    variables, coupling = weights(golden, kind), Coupling(half, 4, 1)
    (y, log_det), after = coupling.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y, golden[f"out_{out}_y_train"], **CLOSE)
    np.testing.assert_allclose(log_det, golden[f"out_{out}_logdet_train"], **CLOSE)
    y, log_det = coupling.apply(variables, x, train=False)
    np.testing.assert_allclose(y, golden[f"out_{out}_y_eval"], **CLOSE)
    np.testing.assert_allclose(log_det, golden[f"out_{out}_logdet_eval"], **CLOSE)
    again, opposite = coupling.apply(variables, y, reverse=True, train=False)
    np.testing.assert_allclose(again, x, atol=1e-5)
    np.testing.assert_allclose(opposite, -log_det, atol=1e-5)
    if kind == "checkerboard":
        for name, part in {
            "bn_in": after["batch_stats"]["norm_in"]["BatchNorm_0"],
            "bn_out": after["batch_stats"]["norm_out"],
            "resnet.block_0.bn_in": after["batch_stats"]["resnet"]["norm_0_in"]["BatchNorm_0"],
        }.items():
            for moment in ("mean", "var"):
                expected = golden[f"out_checkerboard.{name}.{moment}_after"]
                np.testing.assert_allclose(part[moment], expected, **CLOSE)


class ToyCoupling(nn.Module):
    """The reference's stand-in for a coupling: only the order of the parts matters."""

    half: str
    features: int
    blocks: int

    @nn.compact
    def __call__(self, x, *, reverse=False, train=True):
        k = self.param("k", nn.initializers.zeros, x.shape[1:])
        c = x.shape[-1] // 2
        if self.half in ("odd", "even"):
            at = sum(np.ogrid[: x.shape[1], : x.shape[2]])[..., None]
            changes = np.float32(at % 2 == (self.half == "odd"))
            kept = (x * (1 - changes)).mean((1, 2, 3), keepdims=True)
        else:
            changes = np.float32(np.arange(2 * c) >= c)
            changes = changes if self.half == "second" else 1 - changes
            other = x[..., :c] if self.half == "second" else x[..., c:]
            kept = other.mean((1, 2, 3), keepdims=True)
            k = jnp.concatenate([k[..., :c], k[..., :c]], axis=-1)
        shift, scale = (k + kept) * changes, 0.5 * jnp.tanh(3 * k - kept) * changes
        return (x + shift) * jnp.exp(scale), scale.sum((1, 2, 3))


def test_order_of_the_parts(monkeypatch):
    golden = np.load(GOLDEN / "d/realnvp_order.npz")
    counts = jnp.asarray(golden["in_counts"])
    for there, back, name in (
        (realnvp.squeeze, realnvp.unsqueeze, "squeeze"),
        (realnvp.squeeze_in_order, realnvp.unsqueeze_in_order, "squeeze_ordered"),
    ):
        np.testing.assert_array_equal(there(counts), golden[f"out_{name}"])
        np.testing.assert_array_equal(back(there(counts)), counts)
    monkeypatch.setattr(realnvp, "Coupling", ToyCoupling)
    of = lambda scale, n: jnp.asarray(golden[f"param_scale_{scale}.coupling_{n}.k"])
    whole = lambda k: {"k": jnp.concatenate([k, jnp.zeros_like(k)], axis=-1)}
    params = {f"checkerboard_{n}": {"k": of(0, n)} for n in range(3)}
    params |= {f"channels_{n}": whole(of(0, 4 + n)) for n in range(3)}
    params["coarser"] = {f"checkerboard_{n}": {"k": of(1, n)} for n in range(4)}
    z, log_det = Scale(4, 1, 2).apply({"params": params}, jnp.asarray(golden["in_x"]))
    np.testing.assert_allclose(z, golden["out_z"], rtol=1e-4)
    np.testing.assert_allclose(log_det, golden["out_logdet"], rtol=1e-5)


def test_inverse_and_determinant():
    """log |det| is that of the Jacobian, and the inverse gives the image back."""
    flow = RealNVP(4, 1, 2)
    x = jax.random.normal(jax.random.key(0), (3, 4, 4, 1))
    variables = jax.jit(flow.init)(jax.random.key(1), x)
    leaves, form = jax.tree.flatten(variables["params"])
    keys = jax.random.split(jax.random.key(2), len(leaves))
    moved = [w + 0.1 * jax.random.normal(k, w.shape) for w, k in zip(leaves, keys)]
    variables = {**variables, "params": form.unflatten(moved)}
    apply = jax.jit(lambda x: flow.apply(variables, x, train=False))
    z, log_det = apply(x)
    one = lambda x: flow.apply(variables, x.reshape(1, 4, 4, 1), train=False)[0].ravel()
    slopes = jax.jit(jax.vmap(jax.jacrev(one)))(x.reshape(3, 16))
    np.testing.assert_allclose(log_det, np.linalg.slogdet(slopes)[1], atol=1e-4)
    again, opposite = flow.apply(variables, z, reverse=True, train=False)
    np.testing.assert_allclose(again, x, atol=1e-5)
    np.testing.assert_allclose(opposite, -log_det, atol=1e-4)
