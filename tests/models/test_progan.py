"""Equalised layers, pixel norm, minibatch standard deviation, and the networks that grow."""

import math
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxgen import parallel
from jaxgen.errors import UserError
from jaxgen.models.progan import Critic, Generator, sides
from jaxgen.nn.equalised import EqualConv, EqualDense
from jaxgen.nn.minibatch import minibatch_stddev
from jaxgen.nn.norm import PixelNorm
from jaxgen.nn.resample import enlarge, shrink
from jaxgen.train import devices
from tests.quick import quick_to_compile  # noqa: F401

GOLDEN = Path(__file__).parents[1] / "golden/a"


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def nhwc(x):
    return jnp.asarray(np.moveaxis(x, 1, -1))


def leaves(module, *shape):
    """{name of a parameter: its size}, without computing any."""
    params = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape))["params"]
    paths, _ = jax.tree_util.tree_flatten_with_path(params)
    return {jax.tree_util.keystr(path): math.prod(x.shape) for path, x in paths}


def networks(size, base, width, latent):
    """The players' parameters in every stage up to `size`: {name of a parameter: its size}."""
    generator = lambda side: leaves(Generator(side, 3, base, width), 4, latent)
    critic = lambda side: leaves(Critic(base, width), 4, side, side, 3)
    return [[f(side) for side in sides(size)] for f in (generator, critic)]


@pytest.mark.parametrize(
    ("size", "base", "width", "all_rgb", "last_rgb"),
    [
        (1024, 8192, 512, (23_079_115, 23_087_249), (23_071_507, 23_077_137)),
        (128, 2048, 512, (13_629_810, 13_636_897), None),
        (32, 4096, 128, (1_296_908, 1_298_689), None),
    ],
)
def test_parameter_counts(size, base, width, all_rgb, last_rgb):
    """The authors' graph has the RGB layers of every size: those of all stages together, by name.
    The other layers are those of the last stage."""
    latent = width
    for k, stages in enumerate(networks(size, base, width, latent)):
        assert (
            sum({name: n for stage in stages for name, n in stage.items()}.values()) == all_rgb[k]
        )
        if last_rgb:
            older = f"_rgb_{size // 2}'"
            assert sum(n for name, n in stages[-1].items() if older not in name) == last_rgb[k]


@pytest.mark.parametrize("size", [256, 64, 32])
def test_parameter_counts_of_smaller_sizes(size):
    expected = {
        256: (23_044_309, 23_052_353),
        64: (22_490_383, 22_498_049),
        32: (20_719_628, 20_726_785),
    }[size]
    for count, stages in zip(expected, networks(size, 8192, 512, 512), strict=True):
        assert sum({name: n for stage in stages for name, n in stage.items()}.values()) == count


def test_sizes_that_do_not_grow_from_4():
    assert sides(4) == [4]
    assert sides(32) == [4, 8, 16, 32]
    for size in (2, 12, 28):
        with pytest.raises(UserError, match="4, 8, 16, 32"):
            sides(size)


def test_pixel_norm_golden():
    golden = np.load(GOLDEN / "pixelnorm.npz")
    for key, like in (("x", nhwc), ("z", jnp.asarray)):
        y = PixelNorm().apply({}, like(golden[f"in_{key}"]))
        np.testing.assert_allclose(y, like(golden[f"out_{key}"]), rtol=1e-5, atol=2e-5)
        np.testing.assert_allclose((y * y).mean(-1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "output", "options"),
    [
        ("in_x", "out_g4_f1", {}),
        ("in_x", "out_g4_f2", {"channels": 2}),
        ("in_x", "out_gall_f1", {"group": 8}),
        ("in_x3", "out_batch3_g4", {}),
    ],
)
def test_minibatch_stddev_golden(inputs, output, options):
    golden = np.load(GOLDEN / "minibatch_stddev.npz")
    y = minibatch_stddev(nhwc(golden[inputs]), **options)
    np.testing.assert_allclose(y, nhwc(golden[output]), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("group", [4, 8])
def test_minibatch_stddev_is_of_the_global_batch(group):
    """Values, the slope at each image and the gradient of a slope penalty, on 4 devices and 1."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 2, 2, 3)), jnp.float32)

    def penalty(x):
        f = lambda x: minibatch_stddev(x, group) ** 2
        slope = jax.grad(lambda x: f(x).sum())(x)
        return f(x), slope, parallel.mean((slope**2).mean())

    def all_of(x):
        value, slope, _ = penalty(x)
        return value, slope, jax.grad(lambda x: penalty(x)[2])(x)

    mesh = devices.make_mesh(jax.devices()[:4])
    spread = jax.shard_map(all_of, mesh=mesh, in_specs=P(parallel.AXIS), out_specs=P(parallel.AXIS))
    for four, one in zip(jax.jit(spread)(x), jax.jit(all_of)(x), strict=True):
        np.testing.assert_allclose(four, one, rtol=1e-5, atol=1e-6)


def test_minibatch_stddev_of_a_batch_that_four_does_not_divide():
    x = jnp.arange(24.0).reshape(6, 1, 1, 4)
    np.testing.assert_allclose(minibatch_stddev(x), minibatch_stddev(x, 3))


@pytest.mark.parametrize("layer", [partial(EqualDense, 64), partial(EqualConv, 64)])
def test_equalised_learning_rate(layer):
    """N(0, 1 / m^2) is stored; what is used has the standard deviation gain / sqrt(fan_in), and
    moves m times as far as what is stored."""
    module = layer(gain=2.0, lr_multiplier=0.1)
    x = jnp.zeros((1, 3, 3, 32)).at[0, 1, 1, 5].set(1.0)
    stored = module.init(jax.random.key(0), x)["params"]
    fan_in = math.prod(stored["kernel"].shape[:-1])
    np.testing.assert_allclose(stored["kernel"].std(), 10, rtol=0.05)
    used = module.apply({"params": stored}, x)
    used = used if isinstance(module, EqualConv) else used[0, 1, 1]
    np.testing.assert_allclose(used.std(), 2 / math.sqrt(fan_in), rtol=0.25)
    zero = jax.tree.map(jnp.zeros_like, stored)
    np.testing.assert_allclose(
        module.apply({"params": {**zero, "bias": zero["bias"] + 1}}, x), 0.1, rtol=1e-6
    )


def test_equalised_layers_are_the_plain_ones_with_scaled_weights():
    x = jax.random.normal(jax.random.key(1), (2, 6, 6, 4))
    for ours, plain, scale in (
        (EqualDense(3, gain=1.5), nn.Dense(3), 1.5 / math.sqrt(4)),
        (EqualConv(3, gain=1.5), nn.Conv(3, (3, 3)), 1.5 / math.sqrt(9 * 4)),
    ):
        params = ours.init(jax.random.key(0), x)["params"]
        scaled = {**params, "kernel": params["kernel"] * scale}
        expected = plain.apply({"params": scaled}, x)
        np.testing.assert_allclose(ours.apply({"params": params}, x), expected, atol=1e-5)


def test_enlarge_and_shrink():
    x = jnp.arange(8.0).reshape(1, 2, 2, 2)
    big = enlarge(x, 4)
    assert big.shape == (1, 8, 8, 2)
    np.testing.assert_array_equal(big[0, :4, 4:], jnp.broadcast_to(x[0, 0, 1], (4, 4, 2)))
    np.testing.assert_array_equal(shrink(big, 4), x)
    np.testing.assert_array_equal(shrink(x), x.mean((1, 2), keepdims=True))


@pytest.fixture(scope="module")
def toy():
    """(a generator's and a critic's random weights, biases included, at 8 pixels; z; images)."""
    z = jax.random.normal(jax.random.key(0), (4, 5))
    x = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    wave = lambda w: w + 0.1 * jnp.cos(jnp.arange(w.size, dtype=w.dtype)).reshape(w.shape)
    init = lambda module, x: jax.tree.map(
        wave, jax.jit(module.init)(jax.random.key(2), x)["params"]
    )
    return init(Generator(8, 3, 16, 6), z), init(Critic(16, 6), x), z, x


def plain(p, x, gain):
    """conv(x, w * gain / sqrt(fan_in)) + b, by JAX's own convolution."""
    w = p["kernel"] * gain / math.sqrt(math.prod(p["kernel"].shape[:-1]))
    if w.ndim == 2:
        return x @ w + p.get("bias", 0)
    dims = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=dims) + p["bias"]


def leaky(x):
    return jnp.where(x > 0, x, 0.2 * x)


def test_the_generator_layer_by_layer(toy):
    """conv, bias, leaky ReLU, pixel norm; gain sqrt(2), 1 in RGB layers; no tanh."""
    norm = lambda x: x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-8)

    @jax.jit
    def images(p, z, fade):
        layer = lambda name, x: norm(leaky(plain(p[name], x, math.sqrt(2))))
        x = plain(p["dense_4"], norm(z), math.sqrt(2) / 4).reshape(4, 4, 4, 6)
        x = layer("conv_4", norm(leaky(x + p["bias_4"])))
        old = enlarge(plain(p["to_rgb_4"], x, 1))
        x = layer("conv_8_1", layer("conv_8_0", enlarge(x)))
        assert x.shape == (4, 8, 8, 4)  # 2 * 16 / 8 channels
        return (1 - fade) * old + fade * plain(p["to_rgb_8"], x, 1)

    p, _, z, _ = toy
    ours = jax.jit(lambda p, z, fade: Generator(8, 3, 16, 6).apply({"params": p}, z, fade))
    for fade in (0.0, 0.4, 1.0):
        np.testing.assert_allclose(ours(p, z, fade), images(p, z, fade), rtol=1e-4, atol=1e-5)


def test_the_critic_layer_by_layer(toy):
    """The mean over squares comes after the nonlinearity; the last layer's gain is 1."""

    @jax.jit
    def scores(p, images, fade):
        layer = lambda name, x: leaky(plain(p[name], x, math.sqrt(2)))
        new = shrink(layer("conv_8_1", layer("conv_8_0", layer("from_rgb_8", images))))
        old = layer("from_rgb_4", shrink(images))
        x = layer("conv_4", minibatch_stddev((1 - fade) * old + fade * new))
        return plain(p["score"], layer("dense_4", x.reshape(4, -1)), 1)[:, 0]

    _, p, _, x = toy
    ours = jax.jit(lambda p, x, fade: Critic(16, 6).apply({"params": p}, x, fade))
    for fade in (0.0, 0.4, 1.0):
        np.testing.assert_allclose(ours(p, x, fade), scores(p, x, fade), rtol=1e-4, atol=1e-5)


def test_images_have_unit_spread_at_first():
    """Pixel norm keeps the size of what every layer sees: RGB's spread is about 1 at any depth."""
    z = jax.random.normal(jax.random.key(0), (8, 32))
    for size in (4, 32):
        generator = Generator(size, 3, 1024, 32)
        make = jax.jit(lambda key, generator=generator: generator.init_with_output(key, z)[0])
        images = make(jax.random.key(1))
        assert images.shape == (8, size, size, 3)
        assert 0.5 < images.std() < 1.5
        assert abs(images).max() > 1  # linear
