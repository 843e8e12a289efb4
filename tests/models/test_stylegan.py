"""StyleGAN's layers against the authors' code (golden files), its networks layer by layer."""

import dataclasses
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.models.progan import sides
from jaxgen.models.stylegan import Discriminator, Generator, Styled, blur, widths
from jaxgen.nn.conv import conv
from jaxgen.nn.fused import conv_enlarged, conv_shrunk
from jaxgen.nn.minibatch import minibatch_stddev
from jaxgen.nn.norm import InstanceNorm
from jaxgen.nn.resample import enlarge, shrink
from tests.models.test_progan import leaky, leaves, plain
from tests.quick import quick_to_compile  # noqa: F401

GOLDEN = Path(__file__).parents[1] / "golden/a"


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def nhwc(x):
    return jnp.asarray(np.moveaxis(x, 1, -1))


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "sg1_adain.npz")


def test_instance_norm_and_blur_golden(golden):
    x = nhwc(golden["in_x"])
    close(InstanceNorm(epsilon=1e-8).apply({}, x), nhwc(golden["out_instance_norm"]))
    close(blur(x), nhwc(golden["out_blur121"]))


def test_what_follows_a_convolution_golden(golden):
    """Noise by channel, bias, leaky ReLU, instance norm, then the style: times 1 + scale."""
    x, w = nhwc(golden["in_x"]), jnp.asarray(golden["in_w"])
    style = {"kernel": golden["param_style_weight"], "bias": golden["param_style_bias"]}
    params = {
        "noise_strength": golden["param_noise_weight"],
        "bias": golden["param_bias"],
        "affine": style,
    }
    made = [
        Styled().apply(
            {"params": params, "noise": {"map": noise}}, x[i : i + 1], w[i : i + 1], kind
        )
        for i, noise in enumerate(golden["in_noise"][:, 0])
        for kind in ("fixed", "off")
    ]
    close(jnp.concatenate(made[::2]), nhwc(golden["out_layer_epilogue"]))
    assert abs(made[0] - made[1]).max() > 0.1
    flat = {**params, "affine": jax.tree.map(jnp.zeros_like, style)}  # AdaIN's own moments
    y = Styled().apply({"params": flat, "noise": {"map": jnp.zeros((8, 8))}}, x, w, "off")
    close(y.mean((1, 2)), 0)
    close(y.std((1, 2)), 1)


@pytest.mark.parametrize("n", [1, 4])
def test_fused_convolutions(n):
    x = jax.random.normal(jax.random.key(0), (2, 2 * n, 2 * n, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 5))
    close(conv_enlarged(x, kernel), conv(enlarge(x), kernel, padding=1))
    close(conv_shrunk(x, kernel), shrink(conv(x, kernel, padding=1)))


@pytest.mark.parametrize(
    ("size", "generator", "discriminator"),
    [
        (1024, 26_219_627, 23_087_249),
        (512, 26_179_768, 23_080_225),
        (256, 26_086_229, 23_052_353),
        (128, 25_843_858, 22_941_313),
        (64, 25_137_935, 22_498_049),
    ],
)
def test_parameter_counts(size, generator, discriminator):
    """The authors' graph has the RGB layers of every size: those of all stages together, by
    name."""
    levels = sides(size)[1:]
    stages = [leaves(Generator(widths(side)), 4, 512) for side in levels]
    found = {name: n for stage in stages for name, n in stage.items()}
    assert sum(found.values()) == generator
    assert sum(n for name, n in found.items() if "mapping" in name) == 2_101_248
    stages = [leaves(Discriminator(), 4, side, side, 3) for side in levels]
    assert sum({name: n for stage in stages for name, n in stage.items()}.values()) == discriminator


@pytest.fixture(scope="module")
def toy():
    """(a generator's and a discriminator's weights, biases and strengths of noise included, at 8
    pixels; z; images)."""
    z = jax.random.normal(jax.random.key(0), (4, 5))
    x = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    wave = lambda w: w + 0.3 * jnp.cos(jnp.arange(w.size, dtype=w.dtype)).reshape(w.shape)
    init = lambda module, x: jax.tree.map(wave, jax.jit(module.init)(jax.random.key(2), x))
    return init(SMALL, z), init(Discriminator(16, 6), x), z, x


SMALL = Generator(widths(8, 16, 6), style=7, depth=2)


def test_strengths_that_learn_slowly_count_less(toy):
    double = lambda path, x: 2 * x if path[-1].key == "noise_strength" else x
    variables, _, z, _ = toy
    wide = jax.tree_util.tree_map_with_path(double, variables)
    slow = dataclasses.replace(SMALL, noise_rate=0.5).apply(wide, z, noise="fixed", train=False)
    usual = SMALL.apply(variables, z, noise="fixed", train=False)
    np.testing.assert_allclose(slow, usual, rtol=1e-5, atol=1e-5)


def test_the_generator_layer_by_layer(toy):
    """The mapping's layers learn at 0.01; a style a layer; the image is blurred after it was
    enlarged and convolved; RGB layers have neither style nor noise."""
    assert SMALL.widths == (6, 4)
    assert SMALL.layers == 4
    norm = lambda x: x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-8)

    @jax.jit
    def images(variables, z, fade):
        p, maps = variables["params"], variables["noise"]["synthesis"]
        w = norm(z)
        for name in ("fc_0", "fc_1"):
            layer = jax.tree.map(lambda x: 0.01 * x, p["mapping"][name])
            w = leaky(plain(layer, w, math.sqrt(2)))
        p = p["synthesis"]

        def styled(x, p, kept):
            x = leaky(x + p["noise_strength"] * kept["map"][..., None] + p["bias"])
            x = (x - x.mean((1, 2), keepdims=True)) / (x.std((1, 2), keepdims=True) + 1e-8)
            scale, shift = jnp.split(plain(p["affine"], w, 1)[:, None, None], 2, -1)
            return x * (1 + scale) + shift

        def layer(name, x, change=lambda x: x):
            kernel = {"kernel": p[name]["kernel"], "bias": 0}
            return styled(
                change(plain(kernel, x, math.sqrt(2))), p[name]["styled"], maps[name]["styled"]
            )

        x = jnp.broadcast_to(p["const"], (4, 4, 4, 6))
        x = layer("b4_conv1", styled(x, p["b4_const"], maps["b4_const"]))
        old = enlarge(plain(p["b4_torgb"], x, 1))
        x = layer("b8_conv1", layer("b8_conv0", enlarge(x), blur))
        return (1 - fade) * old + fade * plain(p["b8_torgb"], x, 1)

    variables, _, z, _ = toy

    @jax.jit
    def ours(variables, z, fade):
        ws = SMALL.apply(variables, z, method="styles", train=False)
        return SMALL.apply(variables, ws, method="synthesise", noise="fixed", fade=fade)

    for fade in (0.0, 0.4, 1.0):
        close(ours(variables, z, fade), images(variables, z, fade))
    whole = jax.jit(lambda v, z: SMALL.apply(v, z, noise="fixed", train=False))
    close(whole(variables, z), ours(variables, z, 1.0))


def test_the_discriminator_layer_by_layer(toy):
    """Blurred before it is made smaller; the nonlinearity comes after."""

    @jax.jit
    def scores(p, images, fade):
        layer = lambda name, x: leaky(plain(p[name], x, math.sqrt(2)))
        x = blur(layer("conv_8_0", layer("from_rgb_8", images)))
        new = leaky(shrink(plain(p["conv_8_1"], x, math.sqrt(2))))
        old = layer("from_rgb_4", shrink(images))
        x = layer("conv_4", minibatch_stddev((1 - fade) * old + fade * new))
        return plain(p["score"], layer("dense_4", x.reshape(4, -1)), 1)[:, 0]

    _, variables, _, x = toy
    ours = jax.jit(lambda v, x, fade: Discriminator(16, 6).apply(v, x, fade))
    for fade in (0.0, 0.4, 1.0):
        close(ours(variables, x, fade), scores(variables["params"], x, fade))


def test_noise_by_layer(toy):
    """Off it is deterministic; a tuple says of each layer what it has."""
    variables, _, z, _ = toy
    ws = jnp.repeat(SMALL.apply(variables, z[:1], method="styles", train=False), 2, 0)
    make = jax.jit(
        lambda key, noise: SMALL.apply(
            variables, ws, method="synthesise", noise=noise, rngs={"dropout": key}
        ),
        static_argnums=1,
    )
    keys = jax.random.split(jax.random.key(3))
    random, off = make(keys[0], "random"), make(keys[0], "off")
    assert abs(random[0] - random[1]).max() > 0.1
    assert abs(random - make(keys[1], "random")).max() > 0.1
    np.testing.assert_array_equal(off, make(keys[1], "off"))
    np.testing.assert_allclose(off[0], off[1], atol=1e-5)
    np.testing.assert_allclose(off, make(keys[0], ("off",) * 4), atol=1e-5)
    some = make(keys[0], ("off", "off", "fixed", "fixed"))
    assert abs(some - off).max() > 0.1
    assert abs(some - make(keys[0], "fixed")).max() > 1e-3
