"""LAPGAN's networks: parameters counted from the authors' code, and a level beside a reference."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.errors import UserError
from jaxgen.losses.adversarial import non_saturating
from jaxgen.models.lapgan import (
    BaseDiscriminator,
    BaseGenerator,
    Discriminator,
    Generator,
    LargeDiscriminator,
    LargeGenerator,
    Standard,
)
from jaxgen.systems.gan.lapgan import build, collapse, down, up

GOLDEN = Path(__file__).parents[1] / "golden/d/lapgan_level.npz"


def variables(module, *inputs):
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return jax.eval_shape(lambda: module.init(keys, *inputs))


def count(module, *inputs):
    return sum(x.size for x in jax.tree.leaves(variables(module, *inputs)["params"]))


def level(side, channels=3):
    """Zeros: noise, images, labels."""
    return jnp.zeros((2, side**2)), jnp.zeros((2, side, side, channels)), jnp.zeros(2, jnp.int32)


def test_parameter_counts_of_the_levels():
    """The authors' code, built by hand layer by layer; 64 or 128 planes, and with ten classes."""
    z, x, label = level(32)
    assert count(Generator(), z, x) == 218_179
    assert count(Generator(width=128), z, x) == 837_763
    assert count(Generator(classes=10), z, x, label) == 232_579
    assert count(Discriminator(width=128), x, x) == 437_889
    assert count(Discriminator(classes=10), x, x, label) == 129_409
    for side, n in ((14, 107_905), (16, 108_353), (28, 113_729), (32, 116_545)):
        _, x, _ = level(side)
        assert count(Discriminator(), x, x) == n


def test_parameter_counts_of_the_coarsest_level():
    z = jnp.zeros((2, 100))
    assert count(BaseGenerator(), z) == 1_792_992
    assert count(BaseGenerator((32, 32, 3), 8000), z) == 89_395_072
    assert count(BaseDiscriminator(), level(8)[1]) == 477_001
    assert count(BaseDiscriminator(1600), level(32)[1]) == 7_480_001
    _, x, label = level(8)
    assert count(BaseGenerator(classes=10), z, label) == 1_792_992 + 10 * 1200
    assert count(BaseDiscriminator(classes=10), x, label) == 477_001 + 10 * 600


def test_parameter_counts_of_the_large_networks():
    z, x, _ = level(32)
    assert count(LargeGenerator(), z, x) == 1_090_995
    assert count(LargeDiscriminator(), x, x) == 873_761
    _, x, _ = level(64)
    assert count(LargeDiscriminator(), x, x) == 1_832_225


@pytest.mark.parametrize("discriminator", [Discriminator(), LargeDiscriminator()])
def test_the_smallest_images(discriminator):
    """One pixel is left where nothing is padded."""
    least = discriminator.smallest
    _, x, _ = level(least)
    assert variables(discriminator, x, x)["params"]["Dense_0"]["kernel"].shape[0] in (64, 416)
    _, x, _ = level(least - 1)
    with pytest.raises(UserError, match=f"{least} pixels or more, not {least - 1}; leave that"):
        variables(discriminator, x, x)


def test_the_coarsest_level_is_standardised():
    """Pixel by pixel, by the images that it starts from; a pixel that hardly changes is not blown
    up. The generator starts at their mean, as far as its noise goes."""
    x = jax.random.normal(jax.random.key(0), (50, 4, 4, 3)) * jnp.linspace(0.2, 2, 3) + 1
    x = x.at[:, 0, 0].set(0.9)
    values = Standard().init({}, x, x)
    y = np.asarray(Standard().apply(values, x))
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y[:, 1:].std(0), 1, rtol=1e-4)
    np.testing.assert_allclose(y[:, 0, 0], 0, atol=1e-5)
    np.testing.assert_allclose(Standard().apply(values, jnp.asarray(y), back=True), x, atol=1e-5)
    z = jax.random.uniform(jax.random.key(1), (50, 100), minval=-1.0)
    generator = BaseGenerator((4, 4, 3), 8)
    made = np.asarray(generator.apply(generator.init(jax.random.key(2), z, None, x), z))
    assert abs(made.mean(0) - x.mean(0)).max() < 0.1
    assert 0 < made[:, 0, 0].std(0).min() < made[:, 0, 0].std(0).max() < 0.01


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        g = {name: jnp.asarray(x) for name, x in file.items()}
    nhwc = lambda x: x.transpose(0, 2, 3, 1) if x.ndim == 4 else x
    conv = lambda n: {
        "kernel": g[f"param_{n}.weight"].transpose(2, 3, 1, 0),
        "bias": g[f"param_{n}.bias"],
    }
    g["G"] = {f"Conv_{i}": conv(f"G.{i}") for i in range(3)}
    dense = g["param_D.fc.weight"].reshape(1, 4, 4, 4).transpose(2, 3, 1, 0).reshape(-1, 1)
    g["D"] = {f"Conv_{i}": conv(f"D.{i}") for i in range(2)}
    g["D"]["Dense_0"] = {"kernel": dense, "bias": g["param_D.fc.bias"]}
    return {name: nhwc(x) if name[:3] in ("in_", "out") else x for name, x in g.items()}


def test_a_level_golden(golden):
    """Filters, G, D and both losses, at 16 pixels and 4 planes."""
    g, close = golden, lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)
    low, residual = build(g["in_fine"], (8, 16))
    coarse = up(low, 16)
    close(low, g["out_low"])
    close(coarse, g["out_coarse"])
    close(residual, g["out_residual"])

    noise = g["in_noise_plane"].reshape(len(low), -1)
    made = Generator(3, 4).apply({"params": g["G"]}, noise, coarse)
    close(made, g["out_generated_residual"])
    judge = lambda x: Discriminator(4).apply({"params": g["D"]}, x, coarse, train=False)
    on_real, on_fake = judge(residual), judge(made)
    close(on_real, g["out_D_logit_real"])
    close(on_fake, g["out_D_logit_fake"])
    total = non_saturating.discriminator(on_real, on_fake)
    close(total, g["out_d_loss_sum"])
    close(total / 2, g["out_d_loss_mean_of_batch_half_real_half_fake"])
    close(non_saturating.generator(on_fake), g["out_g_loss_nonsaturating"])


@pytest.mark.parametrize("sides", [(4, 8, 16, 32), (8, 14, 28), (5, 32), (32,)])
def test_the_pyramid_is_exact(sides):
    """Also where a side is no half of the next; what it stores of an even image is nothing."""
    x = jax.random.uniform(jax.random.key(0), (2, sides[-1], sides[-1], 3), minval=-1.0)
    pyramid = build(x, sides)
    assert [len(level[0]) for level in pyramid] == list(sides)
    np.testing.assert_allclose(collapse(pyramid), x, rtol=0, atol=3e-7)
    even = build(jnp.full_like(x, 0.3), sides)
    np.testing.assert_allclose(even[0], 0.3, rtol=1e-6)
    assert all(abs(h).max() < 1e-6 for h in even[1:])


def test_the_mean_over_the_area_of_each_larger_pixel():
    x = jnp.arange(3.0)[None, :, None, None] * jnp.ones((1, 3, 3, 1))
    small = down(x, 2)[0, :, 0, 0]
    np.testing.assert_allclose(small, [(0 + 0.5 * 1) / 1.5, (0.5 * 1 + 2) / 1.5], rtol=1e-6)
    z = jax.random.normal(jax.random.key(1), (1, 28, 28, 2))
    np.testing.assert_allclose(down(z, 8).mean((1, 2)), z.mean((1, 2)), atol=1e-6)
