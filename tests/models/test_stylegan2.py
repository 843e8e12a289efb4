"""StyleGAN2's operations against the authors' code (golden files), and what makes the paper."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxgen import draw, parallel
from jaxgen.errors import UserError
from jaxgen.losses import penalties
from jaxgen.models import stylegan2
from jaxgen.models.stylegan2 import Discriminator, Generator, Mapping, StyledConv, crossover, widths
from jaxgen.nn import upfirdn
from jaxgen.nn.conv import conv
from jaxgen.nn.modulated import demodulation, modulated_conv
from jaxgen.train import devices

GOLDEN = Path(__file__).parents[1] / "golden/a"
CLOSE = {"rtol": 1e-5, "atol": 2e-5}


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def nhwc(x):
    return jnp.asarray(np.moveaxis(x, 1, -1))


def hwio(w):
    return jnp.asarray(w.transpose(2, 3, 1, 0))


# Resampling


@pytest.fixture(scope="module")
def fir():
    return np.load(GOLDEN / "sg2_upfirdn2d.npz")


def check(y, wanted):
    np.testing.assert_allclose(y, nhwc(wanted), **CLOSE)


def test_up_and_down(fir):
    x, even = nhwc(fir["in_x"]), nhwc(fir["in_xeven"])
    w3, w1 = hwio(fir["param_w3"]), hwio(fir["param_w1"])
    taps = upfirdn.normalised(upfirdn.BINOMIAL)
    np.testing.assert_allclose(np.outer(taps, taps), fir["param_fir"], rtol=1e-6)

    @jax.jit
    def run():  # each result under the name of the golden's
        ones, up = jnp.ones((1, 2)), {"demodulate": False, "up": True}
        return {
            "up2": upfirdn.upsample(x),
            "down2": upfirdn.downsample(even),
            "up2_then_down2": upfirdn.downsample(upfirdn.upsample(x)),
            "filter2d": upfirdn.upfirdn(x, taps, pad=(2, 1)),
            "conv3_down2": conv(upfirdn.upfirdn(even, taps, pad=(2, 2)), w3, 2),
            "conv1_down2": conv(upfirdn.downsample(even), w1),
            # torch convolves where it enlarges
            "conv3_up2": modulated_conv(x, w3[::-1, ::-1], ones, **up),
            "conv1_up2": modulated_conv(x, w1, ones, **up),
        }

    for name, y in run().items():
        check(y, fir[f"out_{name}"])


@pytest.mark.parametrize("kind", ["conv", "corr"])
def test_any_filter_as_a_sum_of_separable_ones(fir, kind):
    """Up by 2, down by 3, padded and cropped, with a filter that is not symmetric."""
    taps = fir["param_fir_asym"] if kind == "conv" else fir["param_fir_asym"][::-1, ::-1]
    tall, strength, wide = np.linalg.svd(1.5 * taps)
    parts = []
    for k, size in enumerate(strength):
        y = upfirdn.along(nhwc(fir["in_x"]), 1, size * tall[:, k], up=2, down=3, pad=(0, 3))
        parts.append(upfirdn.along(y, 2, wide[k], up=2, down=3, pad=(2, -1)))
    check(sum(parts), fir[f"out_generic_{kind}"])


@pytest.mark.parametrize(
    ("up", "down", "pad", "n"),
    [
        (1, 1, (2, 1), 5),
        (2, 1, (2, 1), 5),
        (1, 2, (1, 1), 6),
        (2, 3, (-1, 3), 7),
        (3, 1, (4, 9), 2),
    ],
)
def test_resampling_is_differentiated_as_the_matrix_that_it_is(up, down, pad, n):
    """Numbers by hand: zeros in, numpy's convolution, every `down`-th; both orders of gradient."""
    taps = (0.5, -1.0, 2.0, 0.25, 0.125)

    def by_hand(x):
        spread = np.zeros(n * up)
        spread[::up] = x
        low, high = pad
        padded = np.pad(spread, (max(low, 0), max(high, 0)))[max(-low, 0) :]
        return np.convolve(padded, taps, "valid")[::down]

    matrix = np.stack([by_hand(row) for row in np.eye(n)], 1)
    f = lambda x: upfirdn.along(x, 0, taps, up=up, down=down, pad=pad)
    half = lambda x: (f(x) ** 2).sum() / 2
    x = jnp.linspace(-1, 1, n)
    y, first, second = jax.jit(lambda x: (f(x), jax.jacrev(f)(x), jax.jacrev(jax.grad(half))(x)))(x)
    np.testing.assert_allclose(y, matrix @ x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first, matrix, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(second, matrix.T @ matrix, rtol=1e-5, atol=1e-6)


def test_a_constant_stays_itself_inside():
    x = jnp.full((1, 8, 8, 1), 0.7)
    np.testing.assert_allclose(upfirdn.upsample(x)[:, 2:-2, 2:-2], 0.7, rtol=1e-6)
    np.testing.assert_allclose(upfirdn.downsample(x)[:, 1:-1, 1:-1], 0.7, rtol=1e-6)


# Modulated convolution


@pytest.fixture(scope="module")
def modulated():
    return np.load(GOLDEN / "sg2_modconv.npz")


def test_modulated_convolution(modulated):
    g = modulated
    x, kernel, style = nhwc(g["in_x"]), hwio(g["param_weight"]), jnp.asarray(g["in_styles"])
    np.testing.assert_allclose(demodulation(kernel, style), g["out_dcoefs"], rtol=1e-5)
    check(modulated_conv(x, kernel, style), g["out_demod"])
    check(modulated_conv(x, kernel, style, demodulate=False), g["out_nodemod"])
    check(modulated_conv(x, kernel, style, up=True), g["out_up2_flipTrue"])
    turned = kernel[::-1, ::-1]
    check(modulated_conv(x, turned, style, up=True), g["out_up2_flipFalse"])
    # without the scale of equalised learning rate, which the golden's styles have in them
    rgb = modulated_conv(x, hwio(g["param_weight_rgb"]), style, demodulate=False)
    check(rgb / 2, g["out_torgb_styles_prescaled"])


def test_styled_layer(modulated):
    g = modulated
    layer = StyledConv(5, up=True)
    params = {
        "affine": {
            "kernel": g["param_affine_weight"].T,
            "bias": g["param_affine_bias"],
        },
        "kernel": hwio(g["param_weight"])[::-1, ::-1],
        "noise_strength": g["param_noise_strength"],
        "bias": g["param_bias"],
    }
    variables = {"params": params, "noise": {"map": g["param_noise_const"]}}
    run = jax.jit(lambda v: layer.apply(v, nhwc(g["in_x"]), jnp.asarray(g["in_w"]), "fixed"))
    check(run(variables), g["out_synthlayer_up2"])
    # the demodulation undoes any factor of the style
    params["affine"] = jax.tree.map(lambda x: 3 * x, params["affine"])
    check(run(variables), g["out_synthlayer_up2"])


def test_leaky_relu_keeps_the_size():
    g = np.load(GOLDEN / "sg2_bias_act.npz")
    x = nhwc(g["in_x"]) + g["param_b"]
    check(x, g["out_linear"])
    check(stylegan2._leaky(x), g["out_lrelu"])
    check(jnp.clip(stylegan2._leaky(x) * np.sqrt(0.5), -2, 2), g["out_lrelu_gain_half_clamp2"])


# The networks; sg2_mini's numbers are in tests/weights/test_stylegan2.py, where they are read


@functools.cache
def shapes(module, shape):
    image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    return jax.eval_shape(module.init, jax.random.key(0), image)["params"]


def count(module, *shape, part=None):
    params = shapes(module, shape)
    if part:
        params = {k: v for k, v in params.items() if k.split("_")[0] == part}
    return sum(x.size for x in jax.tree.leaves(params))


def test_channels():
    assert widths(1024) == (512, 512, 512, 512, 512, 256, 128, 64, 32)
    assert widths(256, 16384) == (512, 512, 512, 512, 256, 128, 64)
    assert Generator(widths(256)).layers == 14
    assert Generator(widths(1024)).layers == 18
    with pytest.raises(UserError, match="4, 8, 16, 32, ... pixels, not 48 x 48"):
        widths(48)


@pytest.mark.parametrize(
    ("size", "base", "depth", "generator", "discriminator"),
    [
        (1024, 32768, 8, 30_370_060, 29_012_513),
        (1024, 16384, 8, 24_900_764, 24_038_161),
        (512, 32768, 8, 30_276_583, 28_982_849),
        (256, 32768, 8, 30_034_338, 28_864_129),
        (256, 16384, 8, 24_767_458, 24_001_089),
        (64, 32768, 8, 27_032_600, 26_488_833),
        (256, 16384, 2, 23_191_522, 24_001_089),
        (32, 16384, 2, 19_947_539, 21_507_073),
    ],
)
def test_parameter_counts(size, base, depth, generator, discriminator):
    levels = widths(size, base)
    assert count(Generator(levels, depth=depth), 512) == generator
    assert count(Discriminator(levels), size, size, 3) == discriminator


def test_parameter_counts_by_module():
    levels = widths(256, 16384)
    assert count(Mapping(), 512) == 2_101_248
    synthesis = {4: 2_894_852, 8: 5_509_125, 64: 2_296_069, 128: 705_669, 256: 242_245}
    ws = (14, 512)
    synthesiser = stylegan2.Synthesis(levels)
    for side, wanted in synthesis.items():
        own = count(synthesiser, *ws, part=f"b{side}")
        assert own + (512 * 16 if side == 4 else 0) == wanted  # the constant has its own name
    assert count(synthesiser, *ws, part="const") == 512 * 16
    critic, image = Discriminator(levels), (256, 256, 3)
    assert count(critic, *image, part="b256") + 64 * 4 == 119_232  # and the colours' layer theirs
    for side, wanted in {128: 475_520, 64: 1_901_312, 8: 4_981_760}.items():
        assert count(critic, *image, part=f"b{side}") == wanted
    assert sum(count(critic, *image, part=p) for p in ("conv", "fc", "out")) == 6_559_745
    plain = Discriminator(widths(32, 16384), residual=False)
    assert count(plain, 32, 32, 3) == 20_720_641
    assert count(Discriminator(widths(1024, 16384), residual=False), 1024, 1024, 3) == 23_077_137


SMALL = Generator((4, 3), style=6, depth=2)


@pytest.fixture(scope="module")
def small():
    """A generator with noise, as one that has learned."""
    variables = jax.jit(SMALL.init)(jax.random.key(0), jnp.zeros((1, 5)))
    return jax.tree_util.tree_map_with_path(louder, variables)


def louder(path, x):
    return x + 0.5 if path[-1].key == "noise_strength" else x


Z = jax.random.normal(jax.random.key(1), (2, 4, 5))


def test_noise_is_drawn_by_example_and_call(small):
    make = jax.jit(
        lambda key, z, noise: SMALL.apply(small, z, noise=noise, rngs={"dropout": key}),
        static_argnums=2,
    )
    a, b = jax.random.split(jax.random.key(2))
    same = jnp.repeat(Z[0, :1], 4, 0)
    random = make(a, same, "random")
    assert random.shape == (4, 8, 8, 3)
    assert np.abs(random[0] - random[1]).max() > 0.1
    assert np.abs(random - make(b, same, "random")).max() > 0.1
    for noise in ("fixed", "off"):
        x = make(a, same, noise)
        np.testing.assert_array_equal(x, make(b, same, noise))
        np.testing.assert_allclose(x[0], x[1], rtol=1e-5, atol=1e-6)
    assert np.abs(make(a, same, "fixed") - make(a, same, "off")).max() > 0.1


def test_strengths_that_learn_slowly_count_less(small):
    double = lambda path, x: 2 * x if path[-1].key == "noise_strength" else x
    wide = jax.tree_util.tree_map_with_path(double, small)
    slow = dataclasses.replace(SMALL, noise_rate=0.5).apply(wide, Z[0], noise="fixed", train=False)
    usual = SMALL.apply(small, Z[0], noise="fixed", train=False)
    np.testing.assert_allclose(slow, usual, rtol=1e-5, atol=1e-5)


def test_strengths_that_do_not_learn_draw_nothing(small):
    """There is no key to draw noise by; parameters and maps are there all the same."""
    without = dataclasses.replace(SMALL, noise_rate=0.0)
    silent = SMALL.apply(small, Z[0], noise="off", train=False)
    for noise in ("random", "fixed"):
        made = without.apply(small, Z[0], noise=noise, train=False)
        np.testing.assert_array_equal(made, silent)
    forms = (jax.eval_shape(net.init, jax.random.key(0), Z[0]) for net in (SMALL, without))
    assert len({str(form) for form in forms}) == 1


def test_mixed_styles_and_truncation(small):
    styles = lambda *args, **kwargs: SMALL.apply(
        small, *args, method="styles", train=False, **kwargs
    )
    one, two = styles(Z[0]), styles(Z[1])
    assert one.shape == (4, 4, 6)
    np.testing.assert_array_equal(one, one[:, :1] + 0 * one)
    for at in (1, 3, 4):
        mixed = styles(Z[0], Z[1], at)
        np.testing.assert_array_equal(mixed[:, :at], one[:, :at])
        np.testing.assert_array_equal(mixed[:, at:], two[:, at:])
    _, changed = SMALL.apply(small, Z[0], Z[1], 3, method="styles", mutable="averages")
    mean = changed["averages"]["mapping"]["w"]
    np.testing.assert_allclose(mean, 0.005 * one[:, 0].mean(0), rtol=1e-4, atol=1e-7)
    _, kept = SMALL.apply(small, Z[0], method="styles", mutable="averages", train=False)
    assert not jnp.any(kept["averages"]["mapping"]["w"])


def test_crossover_is_anywhere_nine_times_of_ten():
    at = jax.vmap(lambda key: crossover(key, 6))(jax.random.split(jax.random.key(0), 4000))
    share = np.bincount(at, minlength=7) / 4000
    assert share[0] == 0
    np.testing.assert_allclose(share[1:], [0.18] * 5 + [0.1], atol=0.03)


def alike(f, share, *args):
    """f(weights, batch, key) is the same on one device and on four; `share`: how results lie."""
    batch = P(parallel.AXIS)
    many = jax.shard_map(f, mesh=devices.make_mesh(), in_specs=(P(), batch, P()), out_specs=share)
    want, got = jax.jit(f)(*args), jax.jit(many)(*args)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), want, got)


def test_four_devices_make_the_same_as_one(small):
    """Images with noise, the mean style, and the scores of groups that lie across devices."""
    critic = Discriminator((4, 3), group=2)
    weights = jax.jit(critic.init)(jax.random.key(3), jnp.zeros((1, 8, 8, 3)))

    def run(variables, z, key):
        g, d = variables
        images, changed = SMALL.apply(g, z, mutable="averages", rngs={"dropout": key})
        return images, critic.apply(d, images), changed

    batch = P(parallel.AXIS)
    alike(run, (batch, batch, P()), (small, weights), Z.reshape(8, 5), jax.random.key(4))


# Path lengths


def test_path_length_by_hand(monkeypatch):
    """A linear generator: the length of J^T y is known."""
    ws = jax.random.normal(jax.random.key(0), (3, 2, 4))
    slope = jax.random.normal(jax.random.key(1), (2, 4, 5, 5, 1))
    y = jax.random.normal(jax.random.key(2), (3, 5, 5, 1))
    monkeypatch.setattr(draw, "normal", lambda key, n, shape: y)
    g = lambda ws: jnp.einsum("bnw,nwijc->bijc", ws, slope)
    key = jax.random.key(3)
    want = jnp.einsum("bijc,nwijc->bnw", y / 5, slope)
    want = jnp.sqrt((want**2).sum(2).mean(1))
    np.testing.assert_allclose(penalties.path_lengths(g, ws, key), want, rtol=1e-5)
    penalty, mean = penalties.path_length(g, ws, key, 0.5, decay=0.1)
    np.testing.assert_allclose(mean, 0.9 * 0.5 + 0.1 * want.mean(), rtol=1e-5)
    np.testing.assert_allclose(penalty, ((want - mean) ** 2).mean(), rtol=1e-5)


def test_a_flat_generator_has_a_finite_path_length():
    def loss(scale):
        g = lambda ws: scale * ws.sum((1, 2))[:, None, None, None] * jnp.ones((1, 2, 2, 3))
        return penalties.path_length(g, jnp.ones((2, 3, 4)), jax.random.key(0), 1.0)[0]

    value, slope = jax.jit(jax.value_and_grad(loss))(0.0)
    np.testing.assert_allclose(value, 0.99**2, rtol=1e-6)
    assert np.isfinite(slope)


def test_path_lengths_of_four_devices_are_those_of_one():
    """With the second derivatives of a layer that enlarges."""
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = jax.random.normal(keys[0], (1, 3, 3, 2)), jax.random.normal(keys[1], (3, 3, 2, 2))

    def step(kernel, ws, key):
        def loss(kernel):
            g = lambda ws: modulated_conv(
                jnp.broadcast_to(x, (len(ws), *x.shape[1:])), kernel, ws.mean(1), up=True
            )
            penalty, mean = penalties.path_length(g, ws, key, 0.1)
            return parallel.mean(penalty), mean

        return jax.value_and_grad(loss, has_aux=True)(kernel)

    alike(step, P(), kernel, 1 + 0.3 * jax.random.normal(keys[2], (8, 3, 2)), keys[2])
