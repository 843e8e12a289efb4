"""Energies: the networks' golden numbers and counts, and a step of Langevin dynamics."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.models.ebm import DigitNet, ResNet
from jaxgen.sample import langevin as module
from jaxgen.sample.langevin import langevin

GOLDEN = Path(__file__).parents[1] / "golden"
KEYS = {"params": jax.random.key(0), "dropout": jax.random.key(1)}


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "d/ebm_block_langevin.npz")


def reference(golden):
    """A network of two blocks and its variables."""
    of = lambda name: jnp.asarray(golden[f"param_{name}"])
    params = {
        "first": {"kernel": of("conv0.weight")},
        "last": {"kernel": of("fc.weight"), "bias": of("fc.bias")},
    }
    u = lambda name: {"spectral": {"u": of(f"{name}.u")[0]}}
    spectral = {"first": u("conv0")}
    for n in range(2):
        block = f"block{n}"
        params[f"Block_{n}"] = {
            "bias_first": {"table": of(f"{block}.c1.gb")},
            "bias_second": {"table": of(f"{block}.c2.gb")},
            "gain": {"table": of(f"{block}.c2.g")},
        }
        spectral[f"Block_{n}"] = {}
        convs = {"first": "c1", "second": "c2"} | ({} if n else {"adaptive": "adaptive"})
        for ours, theirs in convs.items():
            params[f"Block_{n}"][ours] = {"kernel": of(f"{block}.{theirs}.weight")}
            spectral[f"Block_{n}"][ours] = u(f"{block}.{theirs}")
    return ResNet(4, (6, 6), (True, False), dropout=0.0), {"params": params, "spectral": spectral}


def test_energy_is_the_references(golden):
    network, variables = reference(golden)
    x = jnp.asarray(golden["in_x"])
    energy, after = network.apply(variables, x, train=True, mutable=["spectral"])
    np.testing.assert_allclose(energy, golden["out_energy"], rtol=1e-5)
    for n in range(2):
        u = after["spectral"][f"Block_{n}"]["second"]["spectral"]["u"]
        np.testing.assert_allclose(u, golden[f"out_block{n}.c2.u_after"][0], atol=1e-6)


@pytest.mark.parametrize(
    ("size", "largest", "out"), [(10.0, 0.01, "clipped_step10"), (1.0, None, "unclipped_step1")]
)
def test_langevin_step_is_the_references(golden, monkeypatch, size, largest, out):
    network, variables = reference(golden)
    noise = jnp.asarray(golden["in_langevin_noise"])
    monkeypatch.setattr(module.draw, "normal", lambda key, n, shape: noise)
    energy = lambda x: network.apply(variables, x, train=False)
    options = {"steps": 1, "size": size, "largest": largest}
    x = langevin(energy, jnp.asarray(golden["in_x"]), jax.random.key(0), **options)
    np.testing.assert_allclose(x, golden[f"out_x_after_{out}"], atol=1e-6)


def test_what_is_kept_stays():
    x = jnp.full((2, 3, 3, 1), 0.5)
    kept = jnp.zeros((1, 3, 3, 1), bool).at[:, 0].set(True)
    key, energy = jax.random.key(0), lambda x: (x**2).sum((1, 2, 3))
    options = {"steps": 20, "size": 0.1, "kept": kept}
    after = langevin(energy, x, key, **options)
    path = langevin(energy, x, key, path=True, **options)
    np.testing.assert_array_equal(after[:, 0], 0.5)
    assert (after[:, 1:] < 0.05).all()
    assert path.shape == (20, *x.shape)
    np.testing.assert_array_equal(path[-1], after)


@pytest.mark.parametrize(
    ("network", "shape", "count"),
    [(DigitNet(), (28, 28, 1), 1_246_017), (ResNet(), (32, 32, 3), 18_591_105)],
)
def test_parameters(network, shape, count):
    """Those in use in the authors' code."""
    made = jax.eval_shape(network.init, KEYS, jnp.zeros((1, *shape)))
    assert sum(x.size for x in jax.tree.leaves(made["params"])) == count


def test_langevin_finds_a_density():
    """Points of a mixture of two Gaussians: with noise of the right size the walk draws from it."""
    energy = lambda x: (
        -jnp.logaddexp(
            -((x[:, 0] - 0.3) ** 2) / (2 * 0.05**2), -((x[:, 0] - 0.7) ** 2) / (2 * 0.05**2)
        )
    )
    size = 5e-5
    start = jax.random.uniform(jax.random.key(0), (4000, 1))
    options = {"steps": 400, "size": size, "noise": (2 * size) ** 0.5}
    x = np.asarray(jax.jit(lambda x: langevin(energy, x, jax.random.key(1), **options))(start))
    left = x[x < 0.5]
    assert abs(len(left) / len(x) - 0.5) < 0.04
    assert abs(left.mean() - 0.3) < 0.005
    assert abs(left.std() - 0.05) < 0.005
