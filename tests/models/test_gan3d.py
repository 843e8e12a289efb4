"""3D-GAN's networks: parameters counted from the release, and a small pair beside a reference."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.errors import UserError
from jaxgen.models.gan3d import Discriminator, Generator

GOLDEN = Path(__file__).parents[1] / "golden/d/gan3d_16.npz"


def count(module, *shape):
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((2, *shape))))
    return sum(x.size for x in jax.tree.leaves(shapes["params"]))


def test_parameter_counts():
    assert count(Generator(), 200) == 17_569_664
    assert count(Discriminator(), 64, 64, 64, 1) == 11_048_704
    assert count(Generator(32), 200) == 5_903_232
    assert count(Discriminator(32), 32, 32, 32, 1) == 2_642_688


def test_sides_that_are_not_doubled():
    for side, near in ((48, 32), (4, 8), (100, 64)):
        with pytest.raises(UserError, match=f"not of {side}; use {near}"):
            count(Generator(side), 200)


def variables(golden, player, layers, axes):
    """Weights of the reference's layers, whose kernels have their window last."""
    kind = {"G": "ConvTranspose", "D": "Conv"}[player]
    params, statistics = {}, {}
    norms = [i for i in range(layers) if f"param_{player}.{i}.bn.weight" in golden]
    for i in range(layers):
        params[f"{kind}_{i}"] = {"kernel": golden[f"param_{player}.{i}.weight"].transpose(axes)}
    for n, i in enumerate(norms):
        of = lambda name, i=i: golden[f"param_{player}.{i}.bn.{name}"]
        params[f"BatchNorm_{n}"] = {"scale": of("weight"), "bias": of("bias")}
        statistics[f"BatchNorm_{n}"] = {"mean": of("running_mean"), "var": of("running_var")}
    return {"params": params, "batch_stats": statistics}


def test_small_pair_beside_a_reference():
    golden = np.load(GOLDEN)
    # Its kernels are [in, out, ...] and [out, in, ...]; ours end with [out, in] and [in, out].
    g, d = (variables(golden, player, 3, (2, 3, 4, 1, 0)) for player in "GD")
    near = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    last = lambda x: np.moveaxis(x, 1, -1)

    @jax.jit
    def play(z, voxels):
        made = Generator(16, 4).apply(g, z, train=False)
        judge = lambda x, **how: Discriminator(16, 4).apply(d, x, train=False, **how)
        return made, judge(voxels), judge(made), judge(voxels, features=True)

    voxels = last(golden["in_voxels"])
    made, on_real, on_made, features = play(golden["in_z"], voxels)
    near(made, last(golden["out_voxels"]))
    near(on_real, golden["out_D_logit"])
    near(on_made, golden["out_D_logit_on_generated"])
    near((np.mean(on_real > 0) + np.mean(on_made < 0)) / 2, golden["out_D_accuracy"])
    last_level = last(golden["out_D_features1"]).reshape(2, 2, 2, 2, 2, 2, 2, 8).max((2, 4, 6))
    assert features.shape == (2, 8 * (4 + 8))
    near(features[:, 8 * 4 :], last_level.reshape(2, -1))
