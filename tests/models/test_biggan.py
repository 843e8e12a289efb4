"""BigGAN's networks: their sizes, and the attention of SAGAN."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.errors import UserError
from jaxgen.models import biggan
from jaxgen.nn.spectral import SpectralNorm

GOLDEN = Path(__file__).parents[1] / "golden/a"
DEEP = {"width": 128, "deep": True}
PLAIN = {"embedding": 0, "hierarchical": False}
# Parameters of the authors' networks: side, latents, the generator's fields and its parameters, the
# discriminator's.
SIZES = {
    "128": (128, 120, {}, 70_433_988, {}, 87_982_370),
    "128-not-hierarchical": (128, 120, {"hierarchical": False}, 72_595_908, {}, 87_982_370),
    "128-not-shared": (128, 128, PLAIN, 85_556_164, {}, 87_982_370),
    "128-of-64-channels": (128, 128, {"width": 64, **PLAIN}, 42_017_412, {"width": 64}, 39_448_258),
    "256": (256, 140, {}, 82_235_844, {}, 99_225_890),
    "64": (64, 120, {"width": 64}, 31_908_100, {"width": 64}, 20_566_721),
    "32": (
        *(32, 128, {"width": 64, "attention": 0, "classes": 10, **PLAIN}, 4_304_387),
        *({"width": 64, "attention": 0, "classes": 10}, 4_207_361),
    ),
    "deep-128": (128, 128, DEEP, 50_244_484, DEEP, 34_590_210),
}


def parameters(module, *inputs):
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return sum(x.size for x in jax.tree.leaves(shapes["params"]))


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name):
    side, latent, of_generator, g_wanted, of_discriminator, d_wanted = SIZES[name]
    label = jnp.zeros(1, jnp.int32)
    g = biggan.generator(side, **{"width": 96, **of_generator})
    d = biggan.discriminator(side, **{"width": 96, **of_discriminator})
    assert parameters(g, jnp.zeros((1, latent)), label) == g_wanted
    assert parameters(d, jnp.zeros((1, side, side, 3)), label) == d_wanted


def test_attention_like_the_authors():
    """The golden's numbers are of plain convolutions."""
    golden = np.load(GOLDEN / "biggan_attention.npz")
    kernel = lambda name: {"kernel": jnp.asarray(golden[f"param_{name}"].transpose(2, 3, 1, 0))}
    params = {name: kernel(name) for name in ("theta", "phi", "g", "o")}
    x = jnp.asarray(golden["in_x"].transpose(0, 2, 3, 1))

    def plain(call, args, kwargs, context):
        return args[0] if isinstance(context.module, SpectralNorm) else call(*args, **kwargs)

    with nn.intercept_methods(plain), jax.default_matmul_precision("highest"):
        run = lambda gamma: biggan.Attention().apply({"params": {**params, "gamma": gamma}}, x)
        wanted = golden["out_y"].transpose(0, 2, 3, 1)
        np.testing.assert_allclose(run(golden["param_gamma"]), wanted, rtol=1e-5, atol=2e-5)
        np.testing.assert_array_equal(run(jnp.float32(0)), x)


def test_a_level_has_its_own_chunk_of_the_latent():
    """The second level's says nothing of the first level's maps, all levels' nothing of the first
    map; a class enters by every level."""
    g = biggan.generator((16, 24), 4, 0, channels=1, classes=3, embedding=5)
    z, label = jax.random.normal(jax.random.key(0), (1, 9)), jnp.array([1])
    variables = jax.jit(g.init)(jax.random.key(1), z, label)

    @jax.jit
    def maps(z, label):
        shown = lambda module, method: module.name in ("first", "level0", "level1")
        _, kept = g.apply(variables, z, label, capture_intermediates=shown, mutable=True)
        return {k: v["__call__"][0] for k, v in kept["intermediates"].items()}

    before = maps(z, label)
    assert {k: x.shape[1:] for k, x in before.items()} == {
        **{"first": (4 * 6 * 32,), "level0": (8, 12, 16), "level1": (16, 24, 8)}
    }
    differ = lambda after: {k for k in before if abs(after[k] - before[k]).max() > 1e-4}
    assert differ(maps(z.at[:, 6:].add(1), label)) == {"level1"}
    assert differ(maps(z.at[:, 3:6].add(1), label)) == {"level0", "level1"}
    assert differ(maps(z.at[:, :3].add(1), label)) == {"first", "level0", "level1"}
    assert differ(maps(z, jnp.array([2]))) == {"level0", "level1"}


def test_mistakes():
    with pytest.raises(UserError, match="^attention is at 0 .* or at 14, 28 pixels, not at 64$"):
        biggan.generator(28, 4)
    with pytest.raises(UserError, match="^BigGAN makes images of a small map .* not 9 x 8$"):
        biggan.discriminator((9, 8), 4, 0)
    g = biggan.generator(8, 4, 0, classes=2)
    with pytest.raises(UserError, match="^7 latents cannot be cut into 2 equal chunks"):
        jax.eval_shape(g.init, jax.random.key(0), jnp.zeros((1, 7)), jnp.zeros(1, jnp.int32))
