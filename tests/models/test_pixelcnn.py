"""PixelCNNs: the layers' golden numbers, what a pixel sees, and drawing step by step."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.models.pixelcnn import GatedLayer, GatedPixelCNN, PixelCNNpp
from jaxgen.nn.causal import shift
from jaxgen.sample.raster import draw_pixels
from tests.quick import quick_to_compile  # noqa: F401

GOLDEN = Path(__file__).parents[1] / "golden"
KEYS = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
NETS = {
    "gated": GatedPixelCNN(2, 6, 3, first_kernel=5, classes=3),
    "plus": PixelCNNpp(1, 1, 4, 1, dropout=0.0, classes=3),
}
LABEL = jnp.array([0, 2])


@pytest.fixture(scope="module", params=NETS)
def net(request):
    """A small network and its weights."""
    x = jax.random.uniform(jax.random.key(2), (2, 8, 8, 1), minval=-1)
    network = NETS[request.param]
    return network, jax.jit(network.init)(KEYS, x, LABEL)


def test_gated_layers_are_the_references():
    """Kernels are stored whole there, with zeros where this one has nothing."""
    golden = np.load(GOLDEN / "d/gated_pixelcnn_pair.npz")
    nhwc = lambda x: jnp.asarray(np.moveaxis(x, 1, -1), jnp.float32)
    v = shift(nhwc(golden["in_x"]), "down")
    h = shift(nhwc(golden["in_x"]), "right")
    for i, size in enumerate((7, 3)):
        rows = size // 2 + i
        of = lambda name, i=i: jnp.asarray(golden[f"param_layer{i}.{name}"])
        kernel = lambda name, of=of: jnp.transpose(of(name), (2, 3, 1, 0))
        dense = lambda name, of=of: {
            "kernel": of(f"{name}.weight")[:, :, 0, 0].T,
            "bias": of(f"{name}.bias"),
        }
        params = {
            "vertical": {"kernel": kernel("vertical.weight")[:rows], "bias": of("vertical.bias")},
            "horizontal": {
                "kernel": kernel("horizontal.weight")[:, :rows],
                "bias": of("horizontal.bias"),
            },
            "link": dense("link"),
            "out": dense("out"),
            "vertical_class": {"embedding": of("vertical_class.weight").T},
            "horizontal_class": {"embedding": of("horizontal_class.weight").T},
        }
        layer, label = GatedLayer(4, size, not i, 3), jnp.asarray(golden["in_class"])
        apply = lambda *args, method, layer=layer, params=params: layer.apply(
            {"params": params}, *args, method=method
        )
        with jax.default_matmul_precision("highest"):
            v, link = apply(v, label, method="down")
            h = apply(h, link, label, method="right")
        np.testing.assert_allclose(v, nhwc(golden[f"out_layer{i}_v"]), atol=1e-6)
        np.testing.assert_allclose(h, nhwc(golden[f"out_layer{i}_h"]), atol=1e-6)


def test_parameters_of_pixelcnnpp():
    """The authors' code prints 53,659,080 for CIFAR-10."""
    made = jax.eval_shape(PixelCNNpp().init, KEYS, jnp.zeros((1, 32, 32, 3)))
    assert sum(x.size for x in jax.tree.leaves(made)) == 53_659_080


def test_a_pixel_sees_all_before_it_and_nothing_else(net):
    network, variables = net
    x = jax.random.uniform(jax.random.key(3), (1, 8, 8, 1), minval=-1)
    at = lambda x: network.apply(variables, x, LABEL[:1], train=False)[0, :, :, 0]
    slopes = np.asarray(jax.jit(jax.jacrev(at))(x)).reshape(8, 8, 8, 8)
    flat = abs(slopes.reshape(64, 64))
    assert not np.triu(flat).any()
    for i, j in ((4, 4), (6, 2)):
        seen = slopes[i, j]
        assert seen[i, j - 1] != 0
        assert (seen[i - 1, j - 1 : j + 2] != 0).all()
        assert seen[i - 2, j + 2] != 0  # a masked kernel is blind there


def test_drawn_step_by_step_as_at_once(net):
    """A pixel that depends on its distribution: the whole image gives the same ones again."""
    network, variables = net
    noise = jax.random.normal(jax.random.key(4), (2, 8, 8, 1))
    known = jnp.full((2, 8, 8, 1), 0.5)
    kept = jnp.zeros((8, 8), bool).at[2, 3:].set(True)
    apply = lambda *args, method=None: network.apply(variables, *args, train=False, method=method)
    invert = lambda u, distribution: jnp.tanh(distribution[:, :1] + u)
    drawn = jax.jit(lambda: draw_pixels(apply, invert, noise, known, kept, LABEL))()
    again = jnp.tanh(jax.jit(apply)(drawn, LABEL)[..., :1] + noise)
    np.testing.assert_allclose(drawn, jnp.where(kept[..., None], 0.5, again), atol=2e-5)
    assert (drawn[:, 2, 3:] == 0.5).all()
    assert np.std(drawn) > 0.3


def test_pixelcnnpp_starts_with_normalised_features():
    """The data that it is made with has deviation 1 behind the first convolutions, and mean 0."""
    x = jax.random.uniform(jax.random.key(5), (8, 8, 8, 1), minval=-1)
    network = PixelCNNpp(1, 1, 4, 1)
    variables = jax.jit(network.init)(KEYS, x)
    seen = network.apply(
        variables, x, train=False, capture_intermediates=lambda m, _: m.name == "above"
    )[1]
    (first,) = seen["intermediates"]["above"]["__call__"]
    np.testing.assert_allclose(first.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(first.std((0, 1, 2)), 1, atol=1e-3)
