"""Small BigGANs in torch, with random weights: they are read, their numbers are repeated."""

import jax
import numpy as np
import pytest

from jaxgen.errors import UserError
from jaxgen.weights import biggan

torch = pytest.importorskip("torch")

from tests.weights import torch_biggan as reference  # noqa: E402

Z, LABEL = np.random.default_rng(0).normal(size=(3, 15)).astype(np.float32), np.array([2, 0, 4])


@pytest.fixture(autouse=True)
def exact():
    torch.manual_seed(0)
    with jax.default_matmul_precision("highest"):
        yield


def saved(network, path):
    torch.save(network.state_dict(), path)
    return path


def same(net, wanted, *inputs):
    found = jax.jit(lambda v, *x: net.module.apply(v, *x, train=False))(net.variables, *inputs)
    wanted = wanted.detach().numpy()
    wanted = np.moveaxis(wanted, 1, -1) if wanted.ndim == 4 else wanted
    near = 1e-4 * np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=near)


@pytest.mark.parametrize("deep", [False, True])
def test_the_authors_generator(deep, tmp_path):
    latent = 7 if deep else 15
    widths = (16, 16 if deep else 24, 8)
    g = reference.Generator(widths, 5, 6, 7 if deep else 5, attention=0, deep=deep)
    net = biggan.generator(saved(g, tmp_path / "G.pth"))
    assert net.input == (latent,)
    assert net.module.size == 16
    assert net.module.attention == (0,)
    assert (net.module.chunks, net.module.deep) == (1 if deep else 3, deep)
    parameters = sum(x.size for x in jax.tree.leaves(net.variables["params"]))
    assert parameters == sum(x.numel() for x in g.parameters())
    z = Z[:, :latent]
    wanted = g(torch.tensor(z), torch.tensor(LABEL))
    assert wanted.std() > 0.1
    same(net, wanted, z, LABEL)
    same(net, wanted, z, np.eye(5, dtype=np.float32)[LABEL])  # classes by weights


@pytest.mark.parametrize(
    ("widths", "downs", "deep"),
    [((8, 8, 8, 8), 2, False), ((8, 16, 16), 2, False), ((8, 16, 16), 2, True)],
)
def test_the_authors_discriminator(widths, downs, deep, tmp_path):
    d = reference.Discriminator(widths, downs, 5, (0, 1), deep)
    net = biggan.discriminator(saved(d, tmp_path / "D.pth"))
    assert (net.module.widths, net.module.downs, net.module.attention) == (widths, downs, (0, 1))
    image = np.random.default_rng(1).normal(size=(3, 16, 16, 3)).astype(np.float32)
    wanted = d(torch.tensor(image).permute(0, 3, 1, 2), torch.tensor(LABEL))
    same(net, wanted, image, LABEL)


def test_the_hubs_generator(tmp_path):
    """Its statistics are of truncations 0, 1/4, ..., 1."""
    g = reference.Hub((16, 16, 8), 5, 6, attention=0)
    path = saved(g, tmp_path / "pytorch_model.bin")
    z = Z[:, :6]
    for at in (2, 4):
        net = biggan.generator(path, truncation=at / 4)
        same(net, g(torch.tensor(z), torch.tensor(LABEL), at), z, LABEL)
    assert (net.module.size, net.module.last, net.module.attention) == (16, 8, (0,))
    mean = lambda truncation: biggan.generator(path, truncation).variables["batch_stats"]["norm"]
    between = (3 * mean(0.5)["mean"] + mean(0.75)["mean"]) / 4
    np.testing.assert_allclose(mean(0.5625)["mean"], between, rtol=1e-5)


def test_files_of_other_networks(tmp_path):
    g = reference.Generator((8, 8), 5, 6, 5, attention=None, deep=False)
    state = g.state_dict()

    def read(change, what=biggan.generator):
        changed = {k: x for k, x in {**state, **change}.items() if x is not None}
        torch.save(changed, tmp_path / "x.pth")
        return what(tmp_path / "x.pth")

    with pytest.raises(UserError, match="not a discriminator of BigGAN: it has no embed.weight"):
        read({}, biggan.discriminator)
    with pytest.raises(UserError, match="a shared embedding: it has no shared.weight$"):
        read({"shared.weight": None})
    with pytest.raises(UserError, match="it has no blocks.0.0.conv1.u0$"):
        read({"blocks.0.0.conv1.u0": None})
    with pytest.raises(UserError, match="another architecture: it has blocks.0.0.extra$"):
        read({"blocks.0.0.extra": torch.ones(1)})
    with pytest.raises(UserError, match=r"first/bias is \(9,\), not \(128,\)"):
        read({"linear.bias": torch.ones(9)})
