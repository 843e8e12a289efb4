"""Convolutions against torch (golden files) and against JAX's own, to the second derivative."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from jaxgen import parallel
from jaxgen.nn import conv_vjp
from jaxgen.nn.conv import conv, conv_transpose
from jaxgen.train import devices

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("k4s2p1", (2, 1)),
        ("k4s1p0", (1, 0)),
        ("k5s2p2op1", (2, 2, 1)),
        ("k3s2p1op1", (2, 1, 1)),
        ("3d", (2, 1)),
    ],
)
def test_transposed_like_torch(name, arguments):
    golden = np.load(GOLDEN / "a/dcgan_ops.npz")
    kernel = golden[f"param_w_{name}"]  # [i, o, *window]
    kernel = jnp.asarray(kernel.transpose(*range(2, kernel.ndim), 1, 0))
    x = jnp.asarray(np.moveaxis(golden[f"in_x_{name}"], 1, -1))
    want = golden["out_3d_k4s2p1" if name == "3d" else f"out_{name}"]
    got = np.moveaxis(conv_transpose(x, kernel, *arguments), -1, 1)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-5)


def jax_conv(x, kernel, stride, padding):
    pads = padding if padding == "SAME" else [(padding, padding)] * (x.ndim - 2)
    letters = "DHW"[2 - x.ndim :]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    return lax.conv_general_dilated(
        x, kernel, (stride,) * (x.ndim - 2), pads, dimension_numbers=numbers
    )


def jax_conv_transpose(x, kernel, stride, padding):
    letters = "DHW"[2 - x.ndim :]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    kernel = lax.rev(kernel, range(x.ndim - 2)).swapaxes(-1, -2)
    if padding != "SAME":
        padding = [(k - 1 - padding, k - 1 - padding) for k in kernel.shape[:-2]]
    return lax.conv_transpose(
        x, kernel, (stride,) * (x.ndim - 2), padding, dimension_numbers=numbers
    )


def slope_loss(f):
    """Its gradients need every second derivative of f."""

    def loss(x, kernel):
        bend = lambda x, kernel: jnp.tanh(f(x, kernel)).sum()
        dx, dk = jax.grad(bend, argnums=(0, 1))(x, kernel)
        return (dx**2).mean() + (dk**2).mean()

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


@pytest.mark.parametrize(
    ("side", "k", "stride", "padding"),
    [
        ((7, 6), 4, 2, 1),
        ((6, 7), 5, 3, "SAME"),
        ((4, 4), 4, 1, 0),
        ((4, 3, 4), 3, 2, 1),  # the last pixels of a side are not read
    ],
)
@pytest.mark.parametrize(("ours", "jaxs"), [(conv, jax_conv), (conv_transpose, jax_conv_transpose)])
@pytest.mark.parametrize("platform", ["cpu", "default"])
def test_like_jax_to_the_second_derivative(
    side, k, stride, padding, ours, jaxs, platform, monkeypatch
):
    """In the forms of a CPU, and in those of accelerators."""
    form = lambda geometry, *arrays, **forms: forms[platform](geometry, *arrays)
    monkeypatch.setattr(conv_vjp, "_in_form", form)
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (2, *side, 2))
    ends = (2, 3) if ours is conv else (3, 2)
    kernel = 0.1 * jax.random.normal(keys[1], (*(k,) * len(side), *ends))
    want = slope_loss(lambda x, kernel: jaxs(x, kernel, stride, padding))(x, kernel)
    got = slope_loss(lambda x, kernel: ours(x, kernel, stride, padding))(x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), want, got)


@pytest.mark.parametrize(("ours", "jaxs"), [(conv, jax_conv), (conv_transpose, jax_conv_transpose)])
@pytest.mark.parametrize(("k", "stride", "padding"), [(4, 2, 1), (3, 1, 1), (5, 2, "SAME")])
def test_few_pixels_to_the_second_derivative(ours, jaxs, k, stride, padding):
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (1, 4, 4, 64))
    kernel = 0.1 * jax.random.normal(keys[1], (k, k, 64, 64))
    want = slope_loss(lambda x, kernel: jaxs(x, kernel, stride, padding))(x, kernel)
    got = slope_loss(lambda x, kernel: ours(x, kernel, stride, padding))(x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), want, got)


@pytest.mark.parametrize(("ours", "jaxs"), [(conv, jax_conv), (conv_transpose, jax_conv_transpose)])
@pytest.mark.parametrize("ends", [(9, 3), (3, 9)])
@pytest.mark.parametrize(
    ("side", "k", "padding"),
    [((7, 6), 3, "SAME"), ((7, 6), 4, 1), ((7, 6), 5, 0), ((4, 5), 1, 0), ((3, 5, 4), 3, 1)],
)
def test_colours_to_the_second_derivative(ours, jaxs, ends, side, k, padding):
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (2, *side, ends[0]))
    lie = ends if ours is conv else ends[::-1]
    kernel = 0.1 * jax.random.normal(keys[1], (*(k,) * len(side), *lie))
    want = slope_loss(lambda x, kernel: jaxs(x, kernel, 1, padding))(x, kernel)
    got = slope_loss(lambda x, kernel: ours(x, kernel, 1, padding))(x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), want, got)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (1, 1)])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_one_pixel_transposed_to_the_second_derivative(dimensions, stride, padding):
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (2, *(1,) * dimensions, 3))
    kernel = 0.1 * jax.random.normal(keys[1], (*(4,) * dimensions, 2, 3))
    arguments = stride, padding
    want = slope_loss(lambda x, kernel: jax_conv_transpose(x, kernel, *arguments))(x, kernel)
    got = slope_loss(lambda x, kernel: conv_transpose(x, kernel, *arguments))(x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), want, got)


@pytest.mark.parametrize("channels", [2, 9])
@pytest.mark.parametrize(("f", "stride"), [(conv, 2), (conv_transpose, 2), (conv, 1)])
def test_weight_gradient_is_summed_over_devices_once(f, stride, channels):
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (8, 4, 4, channels))
    ends = (2, channels) if f is conv_transpose else (channels, 2)
    kernel = jax.random.normal(keys[1], (4, 4, *ends))
    loss = lambda kernel, x: parallel.mean(jnp.tanh(f(x, kernel, stride, 1)).mean())
    many = jax.shard_map(
        jax.grad(loss),
        mesh=devices.make_mesh(),
        in_specs=(P(), P(parallel.AXIS)),
        out_specs=P(),
    )
    np.testing.assert_allclose(
        jax.jit(many)(kernel, x), jax.grad(loss)(kernel, x), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pads", [[(4, 0), (4, 1)], [(5, 3), (0, 4)]])
def test_gradients_where_the_padding_is_wider_than_the_window(pads, stride):
    """As XLA's CPU convolves with a padding that is negative below and not above."""
    keys = jax.random.split(jax.random.key(0))
    x, kernel = jax.random.normal(keys[0], (2, 23, 20, 8)), jax.random.normal(keys[1], (3, 2, 8, 6))
    wide = lambda x: jnp.pad(x, [(0, 0), *pads, (0, 0)])
    ours = lambda x, kernel: jnp.tanh(conv(x, kernel, stride, pads)).sum()
    plain = lambda x, kernel: jnp.tanh(conv(wide(x), kernel, stride)).sum()
    for a, b in zip(
        jax.grad(ours, (0, 1))(x, kernel), jax.grad(plain, (0, 1))(x, kernel), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_bfloat16_stays():
    x, kernel = jnp.ones((1, 4, 4, 2), jnp.bfloat16), jnp.ones((4, 4, 2, 2), jnp.bfloat16)
    gradient = jax.grad(lambda k: conv_transpose(x, k).astype(jnp.float32).sum())(kernel)
    assert gradient.dtype == jnp.bfloat16
