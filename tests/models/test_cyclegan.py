"""CycleGAN's generator, and the players' sizes."""

import math
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.models.cyclegan import Generator
from jaxgen.models.patchgan import PatchGAN
from jaxgen.nn.norm import InstanceNorm

GOLDEN = Path(__file__).parents[1] / "golden/b/cyclegan_resnet_f4_b2.npz"


def count(module, size=32):
    shape = (1, size, size, 3)
    made = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros(shape)))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(made))


def test_parameter_counts():
    nine, six = count(Generator()), count(Generator(blocks=6))
    assert (nine, six) == (11_378_179, 7_837_699)
    assert nine - six == 3_540_480
    assert 2 * (nine + count(PatchGAN(norm="instance"))) == 28_285_832


def converted(golden):
    """torch's weights: convolutions [o, i, h, w], transposed ones [i, o, h, w]."""

    def layer(name):
        kernel = golden[f"param_model.{name}.weight"].transpose(2, 3, 1, 0)
        return {"kernel": jnp.asarray(kernel), "bias": golden[f"param_model.{name}.bias"]}

    block = lambda i: {f"Conv_{j}": layer(f"{i}.conv_block.{n}") for j, n in enumerate((1, 5))}
    return {
        **{f"Conv_{j}": layer(n) for j, n in enumerate((1, 4, 7, 19))},
        **{f"Block_{j}": block(n) for j, n in enumerate((10, 11))},
        **{f"ConvTranspose_{j}": layer(n) for j, n in enumerate((12, 15))},
    }


def test_generator_like_torch():
    golden = np.load(GOLDEN)
    nhwc = lambda name: np.moveaxis(golden[name], 1, -1)
    with jax.default_matmul_precision("highest"):
        forward = partial(Generator(width=4, blocks=2).apply, capture_intermediates=True)
        y, seen = jax.jit(forward)({"params": converted(golden)}, jnp.asarray(nhwc("in_x")))
    seen = {k: v["__call__"][0] for k, v in seen["intermediates"].items() if k != "__call__"}
    close = lambda x, name: np.testing.assert_allclose(x, nhwc(name), atol=1e-4)
    close(jax.nn.relu(seen["InstanceNorm_0"]), "out_after_stem_relu")
    close(jax.nn.relu(seen["InstanceNorm_2"]), "out_after_down2_relu")
    close(seen["Block_1"], "out_after_resblocks")
    close(y, "out_y")
    # A block adds what has mean 0 in each channel.
    before = nhwc("out_after_down2_relu").mean((1, 2))
    np.testing.assert_allclose(seen["Block_1"].mean((1, 2)), before, atol=1e-5)


def test_generator_keeps_any_size_and_treats_examples_apart():
    net = Generator(channels=1, width=2, blocks=1)
    x = jax.random.normal(jax.random.key(0), (2, 8, 12, 1))
    variables = jax.jit(net.init)(jax.random.key(1), x)
    apply = jax.jit(net.apply)
    y = apply(variables, x)
    assert y.shape == x.shape
    assert abs(y).max() < 1
    alone = apply(variables, x[1:])
    np.testing.assert_allclose(y[1:], alone, atol=1e-5)


@pytest.mark.parametrize("affine", [False, True])
def test_instance_norm(affine):
    x = np.random.default_rng(0).normal(3, 2, (2, 4, 5, 3)).astype(np.float32)
    norm = InstanceNorm(affine=affine)
    variables = norm.init(jax.random.key(0), x)
    mean, var = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    want = (x - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(norm.apply(variables, x), want, atol=1e-5)
    assert bool(variables) == affine
    if affine:
        params = {"scale": jnp.array([1.0, 2, 3]), "bias": jnp.array([0.0, 1, -1])}
        want = want * params["scale"] + params["bias"]
        np.testing.assert_allclose(norm.apply({"params": params}, x), want, atol=1e-5)


def test_instance_norm_keeps_small_contrasts():
    """Moments are those of float32: in bfloat16 a contrast of 1 in 300 would be gone."""
    x = (300 + jnp.arange(16) % 2 * 2.0).reshape(1, 4, 4, 1).astype(jnp.bfloat16)
    y = InstanceNorm().apply({}, x)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(y).ravel(), np.tile([-1, 1], 8), atol=0.01)
