"""The U-Net and the PatchGANs: counts, shapes, and the PyTorch code's numbers."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.models.patchgan import PatchGAN, PixelGAN
from jaxgen.models.pix2pix import UNet, depth_of

GOLDEN = Path(__file__).parents[1] / "golden/b"
CLOSE = {"rtol": 0, "atol": 1e-4}  # of network outputs; the README of the fixtures


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def variables(module, shape):
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return jax.eval_shape(lambda: module.init(keys, jnp.zeros((1, *shape))))


def count(module, *shape):
    return sum(math.prod(x.shape) for x in jax.tree.leaves(variables(module, shape)["params"]))


def out(module, *shape):
    still = {"train": False, **({"noise": False} if isinstance(module, UNet) else {})}
    apply = lambda given: module.apply(given, jnp.zeros((2, *shape)), **still)
    return jax.eval_shape(apply, variables(module, shape)).shape


# Layers of stride 2: of 6 channels with batch, of 3 with instance normalisation, the map's side
PATCHES = {
    1: (139_585, 136_385, 126),
    2: (666_433, 662_977, 62),
    3: (2_768_705, 2_764_737, 30),
    4: (6_964_033, 6_959_553, 14),
    5: (11_159_361, 11_154_369, 6),
    6: (15_354_689, 15_349_185, 2),
}


@pytest.mark.parametrize("layers", PATCHES)
def test_patchgan(layers):
    of_pairs, of_images, side = PATCHES[layers]
    assert count(PatchGAN(layers=layers), 256, 256, 6) == of_pairs
    assert count(PatchGAN(layers=layers, norm="instance"), 256, 256, 3) == of_images
    assert out(PatchGAN(layers=layers), 256, 256, 6) == (2, side, side)


def test_pixelgan():
    assert count(PixelGAN(), 16, 16, 6) == 9_024
    assert count(PixelGAN(norm="instance"), 16, 16, 3) == 8_705
    assert out(PixelGAN(), 16, 16, 6) == (2, 16, 16)


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_a_patch_has_as_many_pixels_as_the_paper_says(layers, field):
    module = PatchGAN(2, layers, norm="none")
    x = jax.random.normal(jax.random.key(0), (1, 128, 128, 1))
    weights = module.init(jax.random.key(1), x)

    def middle(x):
        y = module.apply(weights, x)
        return y[0, y.shape[1] // 2, y.shape[2] // 2]

    seen = np.flatnonzero(np.abs(jax.jit(jax.grad(middle))(x)).sum(axis=(0, 2, 3)))
    assert seen[-1] - seen[0] + 1 == field


UNETS = {
    "256": (UNet(), 256, 3, 54_413_955),
    "256-colour": (UNet(channels=2), 256, 1, 54_409_858),
    "256-instance": (UNet(norm="instance"), 256, 3, 54_409_603),
    "128": (UNet(7), 128, 3, 41_828_995),
    "256-torch": (UNet(variant="torch"), 256, 3, 54_419_459),
    "128-torch": (UNet(7, variant="torch"), 128, 3, 41_833_475),
    "encoder-decoder": (UNet(variant="torch", skips=False), 256, 3, 39_080_963),
}


@pytest.mark.parametrize("name", UNETS)
def test_unet(name):
    module, size, channels, params = UNETS[name]
    assert count(module, size, size, channels) == params
    assert out(module, size, size, channels) == (2, size, size, module.channels)


def test_depth_follows_the_size():
    assert [depth_of((n, 512)) for n in (256, 128, 64, 96, 512, 8)] == [8, 7, 6, 5, 8, 3]
    assert depth_of((48, 96)) == 4


def test_dropout_follows_the_inner_levels():
    """The middle blocks of the PyTorch code, num_downs - 5; the three innermost of the Lua code."""
    assert [list(UNet(depth).noisy) for depth in (8, 6, 5, 2)] == [[4, 5, 6], [4], [], []]
    lua = [list(UNet(depth, variant="torch").noisy) for depth in (8, 6, 2)]
    assert lua == [[5, 6, 7], [3, 4, 5], [1]]


# The PyTorch code's numbers


def nhwc(x):
    return jnp.asarray(np.moveaxis(x, 1, -1))


def conv(golden, name):
    kernel = golden[f"param_{name}.weight"].transpose(2, 3, 1, 0)
    bias = f"param_{name}.bias"
    return {"kernel": kernel} | ({"bias": golden[bias]} if bias in golden else {})


def norm(golden, name):
    get = lambda key: golden[f"param_{name}.{key}"]
    return {"scale": get("weight"), "bias": get("bias")}, {
        "mean": get("running_mean"),
        "var": get("running_var"),
    }


def network(convs, norms):
    """Layers in the order in which the module makes them; a transposed convolution's is 1."""
    params, stats, seen = {}, {}, {}
    for weights, is_transposed in convs:
        kind = "ConvTranspose" if is_transposed else "Conv"
        params[f"{kind}_{seen.setdefault(kind, 0)}"] = weights
        seen[kind] += 1
    for i, (weights, running) in enumerate(norms):
        params[f"BatchNorm_{i}"], stats[f"BatchNorm_{i}"] = weights, running
    return {"params": params, **({"batch_stats": stats} if stats else {})}


def run(module, given, x, **flags):
    """With weights that have the places and the shapes of the module's own."""
    own = variables(module, x.shape[1:])
    assert jax.tree.map(jnp.shape, dict(own)) == jax.tree.map(jnp.shape, given)
    return jax.jit(lambda given, x: module.apply(given, x, **flags))(given, x)


def test_unet_like_pytorch():
    golden = np.load(GOLDEN / "pix2pix_unet_d5_f8.npz")
    level = ["model.model", "model.model.1.model"]  # a block lies within the one before
    level += [level[1] + i * ".3.model" for i in (1, 2, 3)]
    down = [f"{level[0]}.0", *(f"{name}.1" for name in level[1:])]
    up = [f"{level[0]}.3", *(f"{name}.5" for name in level[1:4]), f"{level[4]}.3"]
    norms = [f"{name}.2" for name in level[1:4]]
    norms += [f"{level[4]}.4", *(f"{name}.6" for name in reversed(level[1:4]))]
    given = network(
        [(conv(golden, name), False) for name in down]
        + [(conv(golden, name), True) for name in reversed(up)],
        [norm(golden, name) for name in norms],
    )
    module, x = UNet(5, width=8), nhwc(golden["in_x"])
    y, seen = run(module, given, x, train=False, noise=False, capture_intermediates=True)
    np.testing.assert_allclose(y, nhwc(golden["out_y_eval"]), **CLOSE)
    for i in range(5):
        (found,) = seen["intermediates"][f"Conv_{i}"]["__call__"]
        np.testing.assert_allclose(found, nhwc(golden[f"out_down{i}_conv_eval"]), **CLOSE)
    y = run(module, given, x, noise=False)
    np.testing.assert_allclose(y, nhwc(golden["out_y_trainBN_nodrop"]), **CLOSE)


def test_patchgan_like_pytorch():
    golden = np.load(GOLDEN / "patchgan_bn_6ch_f4.npz")
    convs = [(conv(golden, f"model.{i}"), False) for i in (0, 2, 5, 8, 11)]
    given = network(convs, [norm(golden, f"model.{i}") for i in (3, 6, 9)])
    module, x = PatchGAN(4), nhwc(np.concatenate([golden["in_A"], golden["in_B"]], axis=1))
    y = run(module, given, x, train=False)
    np.testing.assert_allclose(y, golden["out_logits_eval"][:, 0], **CLOSE)
    y = run(module, given, x)
    np.testing.assert_allclose(y, golden["out_logits_trainBN"][:, 0], **CLOSE)

    images = x[..., :3]  # of A: what the next file takes
    golden = np.load(GOLDEN / "patchgan_in_3ch_f4.npz")
    np.testing.assert_array_equal(images, nhwc(golden["in_x"]))
    given = network([(conv(golden, f"model.{i}"), False) for i in (0, 2, 5, 8, 11)], [])
    module = PatchGAN(4, norm="instance")
    np.testing.assert_allclose(run(module, given, images), golden["out_logits"][:, 0], **CLOSE)


def test_pixelgan_like_pytorch():
    golden = np.load(GOLDEN / "pixelgan_bn_6ch_f4.npz")
    convs = [(conv(golden, f"net.{i}"), False) for i in (0, 2, 5)]
    given = network(convs, [norm(golden, "net.3")])
    module, x = PixelGAN(4), nhwc(golden["in_AB"])
    y = run(module, given, x, train=False)
    np.testing.assert_allclose(y, golden["out_logits_eval"][:, 0], **CLOSE)
