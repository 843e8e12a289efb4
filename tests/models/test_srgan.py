"""SRResNet, SRGAN's discriminator, and the two operations that they stand on."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.models.srgan import Discriminator, Generator
from jaxgen.nn.resample import matlab_bicubic
from jaxgen.nn.shuffle import pixel_shuffle

GOLDEN = Path(__file__).parents[1] / "golden/b"


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def nhwc(x):
    return jnp.asarray(np.moveaxis(x, 1, -1))


def count(module, size):
    variables = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))
    return sum(x.size for x in jax.tree.leaves(variables["params"]))


def test_parameter_counts():
    assert count(Generator(), 8) == 1_549_462
    assert count(Generator(blocks=0), 8) == 1_549_462 - 16 * 74_113
    assert count(Discriminator(), 96) == 23_565_505
    assert count(Discriminator(), 128) == 38_245_569


def test_pixel_shuffle_has_torchs_order():
    golden = np.load(GOLDEN / "pixel_shuffle.npz")
    out = pixel_shuffle(nhwc(golden["in_nchw"]), 2)
    np.testing.assert_array_equal(out, golden["out_nhwc"])
    assert not np.array_equal(out, golden["out_naive_d2s_nhwc_WRONG"])


def test_bicubic_like_matlab():
    golden = np.load(GOLDEN / "matlab_bicubic_x4.npz")
    image = jnp.asarray(golden["in_img_rgb"][None] / 255, jnp.float32)
    small = golden["out_down_x0p25"][None]
    np.testing.assert_allclose(matlab_bicubic(image, 1 / 4), small, rtol=0, atol=1e-6)
    large = golden["out_up_x4_of_down"][None]
    np.testing.assert_allclose(matlab_bicubic(jnp.asarray(small), 4), large, rtol=0, atol=1e-6)


def test_bicubic_keeps_a_constant_and_rounds_sides_up():
    flat = jnp.full((1, 9, 5, 2), 0.3)
    for scale, shape in ((1 / 4, (3, 2)), (2.5, (23, 13)), (1, (9, 5))):
        out = matlab_bicubic(flat, scale)
        assert out.shape == (1, *shape, 2)
        np.testing.assert_allclose(out, 0.3, rtol=1e-6)


def weights(golden, blocks):
    """The golden's torch weights under our names."""
    p = {name.removeprefix("param_"): golden[name] for name in golden if name[:6] == "param_"}
    conv = lambda name: {
        "kernel": p[f"{name}.weight"].transpose(2, 3, 1, 0),
        "bias": p[f"{name}.bias"],
    }
    slope = lambda name: {"negative_slope": p[f"{name}.weight"][0]}
    names = ["head"] + [f"body.{i}.{c}" for i in range(blocks) for c in ("c1", "c2")]
    names += ["mid", "up1", "up2", "tail"]
    norms = [f"body.{i}.{b}" for i in range(blocks) for b in ("b1", "b2")] + ["mb"]
    slopes = ["hp", *(f"body.{i}.p" for i in range(blocks)), "up1p", "up2p"]
    params = {f"Conv_{k}": conv(name) for k, name in enumerate(names)}
    params |= {f"PReLU_{k}": slope(name) for k, name in enumerate(slopes)}
    stats = {}
    for k, name in enumerate(norms):
        params[f"BatchNorm_{k}"] = {"scale": p[f"{name}.weight"], "bias": p[f"{name}.bias"]}
        running = {"mean": p[f"{name}.running_mean"], "var": p[f"{name}.running_var"]}
        stats[f"BatchNorm_{k}"] = running
    return {"params": params, "batch_stats": stats}


def test_srresnet_golden():
    golden = np.load(GOLDEN / "srresnet_paper_f4_b2.npz")
    variables, x = weights(golden, 2), nhwc(golden["in_x"])
    generator = Generator(width=4, blocks=2)
    shapes = jax.eval_shape(generator.init, jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    y = jax.jit(lambda v: generator.apply(v, x, train=False))(variables)
    np.testing.assert_allclose(y, nhwc(golden["out_y"]), rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        [y[0, 0, 0, 0], y.mean(), y.std()], [0.008943, -0.074223, 0.221856], atol=1e-5
    )
