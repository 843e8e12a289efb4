"""Content, style and smoothness against golden numbers (float64, two published codes)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.losses import style

GOLDEN = np.load(Path(__file__).parents[1] / "golden/c/gram_style.npz")


def nhwc(name):
    return jnp.asarray(np.moveaxis(GOLDEN[name], 0, -1)[None], jnp.float32)


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def test_content():
    maps, target = nhwc("in_gen_chw"), nhwc("in_content_chw")
    (mean,) = style.content(maps, target)
    np.testing.assert_allclose(mean, GOLDEN["out_content_mse"], rtol=1e-5)
    np.testing.assert_allclose(mean * maps.size / 2, GOLDEN["out_content_gatys"], rtol=1e-5)


def test_gram_is_divided_by_its_own_images_positions():
    for name, want in (("in_gen_chw", "out_gram_raw"), ("in_style_chw", "out_gram_style_raw")):
        x = nhwc(name)
        positions = x.shape[1] * x.shape[2]
        np.testing.assert_allclose(style.gram(x)[0] * positions, GOLDEN[want], rtol=1e-5, atol=1e-5)


def test_style_in_its_four_normalisations():
    """The constants between them, and the gradients on the features."""
    x, target = nhwc("in_gen_chw"), style.gram(nhwc("in_style_chw"))
    loss = lambda x: style.style(style.gram(x), target)[0]
    value, slope = jax.value_and_grad(loss)(x)
    slope = np.moveaxis(np.asarray(slope[0]), -1, 0)
    c = x.shape[-1]
    np.testing.assert_allclose(value, GOLDEN["out_gatys_layer_loss"], rtol=1e-5)
    np.testing.assert_allclose(4 * value, GOLDEN["out_gatys_pytorch_layer_loss"], rtol=1e-5)
    np.testing.assert_allclose(4 * value / c**2, GOLDEN["out_johnson_layer_loss"], rtol=1e-5)
    near = {"rtol": 1e-4, "atol": 1e-7}
    np.testing.assert_allclose(slope, GOLDEN["out_gatys_layer_grad"], **near)
    np.testing.assert_allclose(4 * slope / c**2, GOLDEN["out_johnson_layer_grad"], **near)


def test_gram_forgets_where_features_are():
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype(np.float32)
    order = np.random.default_rng(1).permutation(30)
    shuffled = x.reshape(2, 30, 4)[:, order].reshape(2, 6, 5, 4)
    np.testing.assert_allclose(
        style.gram(jnp.asarray(x)), style.gram(jnp.asarray(shuffled)), atol=1e-6
    )


def test_smoothness():
    x = nhwc("in_img_chw")
    np.testing.assert_allclose(style.roughness(x)[0], GOLDEN["out_tv_sumsq"], rtol=1e-5)
    for beta in (1, 2):
        want = GOLDEN[f"out_tv_mahendran_beta{beta}"]
        np.testing.assert_allclose(style.total_variation(x, float(beta))[0], want, rtol=1e-5)


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0])
def test_a_flat_image_has_no_variation_and_no_slope(beta):
    value, slope = jax.value_and_grad(lambda x: style.total_variation(x, beta)[0])(
        jnp.ones((1, 4, 5, 3))
    )
    assert value == 0
    assert not np.asarray(slope).any()
