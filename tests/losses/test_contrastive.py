"""CLIP's loss beside the numbers of its pseudo-code (float64), and over several devices."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from jaxgen import parallel
from jaxgen.losses import contrastive
from jaxgen.train import devices

GOLDEN = np.load(Path(__file__).parents[1] / "golden/c/clip_loss.npz")
NAMES = ("image", "text", "logit_scale")


def given():
    return tuple(jnp.asarray(GOLDEN[f"in_{name}"], jnp.float32) for name in NAMES)


def loss(x, y, t):
    return contrastive.symmetric(x, y, jnp.exp(t))[0]


def test_golden_loss_and_gradients():
    with jax.default_matmul_precision("highest"):
        value, grads = jax.value_and_grad(loss, (0, 1, 2))(*given())
    np.testing.assert_allclose(value, GOLDEN["out_loss"], rtol=1e-5)
    for name, grad in zip(NAMES, grads):
        np.testing.assert_allclose(grad, GOLDEN[f"out_grad_{name}"], rtol=1e-4, atol=1e-6)


def test_the_devices_see_all_pairs():
    """Two devices with three pairs each have the loss and the gradients of six."""
    mesh = devices.make_mesh(jax.devices()[:2])
    spread = jax.shard_map(
        lambda x, y, t: parallel.mean(loss(x, y, t)),
        mesh=mesh,
        in_specs=(P(parallel.AXIS), P(parallel.AXIS), P()),
        out_specs=P(),
    )
    one = jax.value_and_grad(loss, (0, 1, 2))(*given())
    two = jax.value_and_grad(jax.jit(spread), (0, 1, 2))(*given())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, two)


def test_by_hand():
    x = jnp.eye(4)
    value, found = contrastive.symmetric(3 * x, x, 10.0)  # lengths do not matter
    np.testing.assert_allclose(value, np.log(1 + 3 * np.exp(-10.0)), rtol=1e-3)
    assert found == 1
    value, found = contrastive.symmetric(x, x[::-1], 10.0)
    np.testing.assert_allclose(value, 10 + np.log(1 + 3 * np.exp(-10.0)), rtol=1e-5)
    assert found == 0
    # embeddings that tell nothing apart: log B
    value, _ = contrastive.symmetric(jnp.ones((4, 3)), jnp.ones((4, 3)), 10.0)
    np.testing.assert_allclose(value, np.log(4), rtol=1e-5)
    # a permutation of the pairs changes nothing
    x, y, t = given()
    order = jnp.array([3, 1, 5, 0, 2, 4])
    np.testing.assert_allclose(loss(x[order], y[order], t), loss(x, y, t), rtol=1e-5)
