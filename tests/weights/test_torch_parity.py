"""Networks of the published size, saved by torch with random weights, where torch is installed."""

import jax
import numpy as np
import pytest

from jaxgen.models.vgg import vgg16, vgg19
from jaxgen.nn.resample import tf1_bilinear
from jaxgen.weights import inception, squeezenet, vgg
from tests.weights.recipe import images

torch = pytest.importorskip("torch")

from tests.weights import torch_reference as reference  # noqa: E402

DEEP16, DEEP19, WIDE = (2, 2, 3, 3, 3), (2, 2, 4, 4, 4), (64, 128, 256, 512, 512)
SMALL_TOP = {"top": True, "hidden": 32, "classes": 10}
NETWORKS = {
    "squeezenet": (lambda: reference.SqueezeNet(), squeezenet.torchvision, 100),
    "vgg16": (
        lambda: reference.Vgg(DEEP16, WIDE, 32, 10, 2),
        lambda path: vgg.torchvision16(path, vgg16(**SMALL_TOP), 64),
        64,
    ),
    "vgg19-caffe": (
        lambda: reference.Vgg(DEEP19, WIDE, 32, 10, 2, caffe_layout=True),
        lambda path: vgg.caffe19(path, vgg19(**SMALL_TOP), 64),
        64,
    ),
    "inception": (lambda: reference.Inception(), inception.fid2015, 171),
}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_full_networks_like_torch(name, old, tmp_path):
    make, load, size = NETWORKS[name]
    if old and name != "squeezenet":
        pytest.skip("one network is enough for the old format")
    network = reference.filled(make(), 0)
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=not old)
    trained = load(path)
    assert sum(x.size for x in jax.tree.leaves(trained.variables["params"])) == sum(
        x.numel() for x in network.parameters()
    )
    x = images(size)
    with jax.default_matmul_precision("highest"):
        found = jax.jit(trained.module.apply)(trained.variables, x)
    wanted = reference.compute(network, x)
    assert set(found) == set(wanted)
    for tap, want in wanted.items():
        largest = np.abs(want).max()
        np.testing.assert_allclose(found[tap], want, rtol=1e-4, atol=1e-4 * largest, err_msg=tap)


@pytest.mark.parametrize("shape", [(32, 32), (500, 313), (299, 64)])
def test_tf1_resize_like_the_grid_of_stylegan2_ada(shape):
    """Their TorchScript network resizes by an affine grid, moved by half a pixel."""
    x = images(max(shape))[:, : shape[0], : shape[1]]
    move = [1 / shape[1] - 1 / 299, 1 / shape[0] - 1 / 299]
    theta = torch.tensor([[[1.0, 0.0, move[0]], [0.0, 1.0, move[1]]]], dtype=torch.float64)
    grid = torch.nn.functional.affine_grid(theta, (1, 3, 299, 299), align_corners=False)
    want = torch.nn.functional.grid_sample(
        torch.from_numpy(x).permute(0, 3, 1, 2).double(), grid, "bilinear", "border", False
    )
    found = tf1_bilinear(x, 299, 299)
    np.testing.assert_allclose(found, want.permute(0, 2, 3, 1).numpy(), atol=2e-4)
