"""Adversarial losses against torch's formulas (golden files) and numbers by hand."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from jaxgen import parallel
from jaxgen.losses import adversarial
from jaxgen.train import devices

GOLDEN = Path(__file__).parents[1] / "golden"
CLOSE = {"rtol": 1e-5, "atol": 2e-5}
LN2 = float(np.log(2))


@pytest.fixture(scope="module")
def vectors():
    return {k: jnp.asarray(v) for k, v in np.load(GOLDEN / "a/gan_losses.npz").items()}


@pytest.fixture(scope="module")
def maps():
    """Logit maps of patch discriminators; the files are NCHW with one channel."""
    file = np.load(GOLDEN / "b/gan_losses.npz")
    return {k: jnp.asarray(np.moveaxis(v, 1, -1) if v.ndim == 4 else v) for k, v in file.items()}


# what the file holds / what we return
@pytest.mark.parametrize(
    ("name", "pair", "share"),
    [
        ("d_minimax_bce", "minimax", 1.0),
        ("d_minimax_bce", "non_saturating", 1.0),
        ("d_hinge", "hinge", 1.0),
        ("d_wgan", "wasserstein", 1.0),
        ("d_lsgan_half", "least_squares", 0.5),
    ],
)
def test_tell_and_its_gradient(vectors, name, pair, share):
    tell = getattr(adversarial, pair).discriminator
    real, fake = vectors["in_real_logits"], vectors["in_fake_logits"]
    value, gradient = jax.value_and_grad(tell, argnums=1)(real, fake)
    np.testing.assert_allclose(share * value, vectors[f"out_{name}"], **CLOSE)
    np.testing.assert_allclose(share * gradient, vectors[f"out_dfake_{name}"], **CLOSE)


@pytest.mark.parametrize(
    ("name", "pair", "share"),
    [
        ("g_saturating", "minimax", 1.0),
        ("g_nonsaturating", "non_saturating", 1.0),
        ("g_hinge_or_wgan", "hinge", 1.0),
        ("g_hinge_or_wgan", "wasserstein", 1.0),
        ("g_lsgan_half", "least_squares", 0.5),
    ],
)
def test_fool_and_its_gradient(vectors, name, pair, share):
    fool = getattr(adversarial, pair).generator
    value, gradient = jax.value_and_grad(fool)(vectors["in_fake_logits"])
    np.testing.assert_allclose(share * value, vectors[f"out_{name}"], **CLOSE)
    np.testing.assert_allclose(share * gradient, vectors[f"out_dfake_{name}"], **CLOSE)


def test_smoothed_is_the_cross_entropy_with_a_lower_target(vectors):
    real, fake = vectors["in_real_logits"], vectors["in_fake_logits"]
    entropy = optax.sigmoid_binary_cross_entropy
    wanted = (entropy(real, 0.9) + entropy(fake, 0.0)).mean()
    pair = adversarial.smoothed(adversarial.non_saturating, 0.1)
    np.testing.assert_allclose(pair.discriminator(real, fake), wanted, rtol=1e-5)
    np.testing.assert_array_equal(pair.generator(fake), adversarial.non_saturating.generator(fake))


@pytest.mark.parametrize(
    ("name", "pair"),
    [("vanilla", "non_saturating"), ("lsgan", "least_squares"), ("wgangp", "wasserstein")],
)
def test_patch_maps_halved_by_pix2pix(maps, name, pair):
    pair = getattr(adversarial, pair)
    real, fake = maps["in_real"], maps["in_fake"]
    np.testing.assert_allclose(
        pair.discriminator(real, fake) / 2, maps[f"out_{name}_D_total_half"], atol=1e-5
    )
    np.testing.assert_allclose(pair.generator(fake), maps[f"out_{name}_G"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("hinge", "hinge"),
        ("ls", "least_squares"),
        ("original", "non_saturating"),
        ("w", "wasserstein"),
    ],
)
def test_patch_maps_summed_by_spade(maps, name, pair):
    pair = getattr(adversarial, pair)
    real, fake = maps["in_real"], maps["in_fake"]
    total = maps[f"out_spade_{name}_D_real"] + maps[f"out_spade_{name}_D_fake"]
    np.testing.assert_allclose(pair.discriminator(real, fake), total, atol=1e-5)
    np.testing.assert_allclose(pair.generator(fake), maps[f"out_spade_{name}_G"], atol=1e-5)


def test_several_scales(maps):
    """SPADE averages the hinge over scales, UNIT sums least squares."""
    scales = [(maps["in_real"], maps["in_fake"]), (maps["in_real_scale2"], maps["in_fake_scale2"])]
    tell = lambda pair: sum(pair.discriminator(real, fake) for real, fake in scales)
    fool = lambda pair: sum(pair.generator(fake) for _, fake in scales)
    spade = maps["out_spade_hinge_ms_D_real"][0] + maps["out_spade_hinge_ms_D_fake"][0]
    np.testing.assert_allclose(tell(adversarial.hinge) / 2, spade, atol=1e-5)
    np.testing.assert_allclose(
        fool(adversarial.hinge) / 2, maps["out_spade_hinge_ms_G"][0], atol=1e-5
    )
    np.testing.assert_allclose(tell(adversarial.least_squares), maps["out_unit_D_sum"], atol=1e-5)
    np.testing.assert_allclose(fool(adversarial.least_squares), maps["out_unit_G_sum"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "pair", "share"),
    [
        ("rsgan_{}", "relativistic", 1.0),
        ("todaygan_{}_single", "relativistic_least_squares", 1.0),
    ],
)
def test_relativistic_patch_maps(maps, name, pair, share):
    pair = getattr(adversarial, pair)
    real, fake = maps["in_real"], maps["in_fake"]
    np.testing.assert_allclose(
        share * pair.discriminator(real, fake), maps["out_" + name.format("D")], atol=1e-5
    )
    np.testing.assert_allclose(
        share * pair.generator(fake, real), maps["out_" + name.format("G")], atol=1e-5
    )


def test_relativistic_average_patch_maps(maps):
    """The reference's generator has the samples' term only; ours, as the paper's, both."""
    pair = adversarial.relativistic_average
    real, fake = maps["in_real"], maps["in_fake"]
    np.testing.assert_allclose(pair.discriminator(real, fake) / 2, maps["out_ragan_D"], atol=1e-5)
    of_data = np.logaddexp(0, real - fake.mean()).mean()
    np.testing.assert_allclose(pair.generator(fake, real) - of_data, maps["out_ragan_G"], atol=1e-5)


@pytest.mark.parametrize(
    ("pair", "told", "fooled"),
    [
        ("minimax", 2 * LN2, -LN2),
        ("non_saturating", 2 * LN2, LN2),
        ("least_squares", 1.0, 1.0),
        ("hinge", 2.0, 0.0),
        ("wasserstein", 0.0, 0.0),
        ("relativistic", LN2, LN2),
        ("relativistic_least_squares", 1.0, 1.0),
        ("relativistic_average", 2 * LN2, 2 * LN2),
    ],
)
def test_values_at_logits_zero(pair, told, fooled):
    pair, zero = getattr(adversarial, pair), jnp.zeros(4)
    np.testing.assert_allclose(pair.discriminator(zero, zero), told, atol=1e-6)
    np.testing.assert_allclose(pair.generator(zero, zero), fooled, atol=1e-6)


def test_only_the_saturating_generator_starves_when_the_discriminator_wins():
    sure = jnp.array([-7.0])  # D(G(z)) = 1e-3
    starved = jax.grad(adversarial.minimax.generator)(sure)
    fed = jax.grad(adversarial.non_saturating.generator)(sure)
    np.testing.assert_allclose(starved, -1e-3, rtol=0.1)
    np.testing.assert_allclose(fed, -1, rtol=0.01)


def test_relativistic_average_is_over_the_global_batch():
    real, fake = jax.random.normal(jax.random.key(0), (2, 8, 3))
    loss = lambda real, fake: parallel.mean(
        adversarial.relativistic_average.discriminator(real, fake)
    )
    step = jax.shard_map(
        jax.value_and_grad(loss, argnums=(0, 1)),
        mesh=devices.make_mesh(),
        in_specs=P(parallel.AXIS),
        out_specs=(P(), P(parallel.AXIS)),
    )
    want, got = jax.value_and_grad(loss, argnums=(0, 1))(real, fake), jax.jit(step)(real, fake)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), want, got)
