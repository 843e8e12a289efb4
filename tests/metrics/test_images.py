"""PSNR, SSIM, sliced Wasserstein and path length: properties and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.latents import lerp
from jaxgen.metrics import pixels, ppl, swd


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_equal_images():
    x = noise(2, 176, 180, 1)
    assert np.isinf(pixels.psnr(x, x)).all()
    np.testing.assert_allclose(pixels.ssim(x, x), 1, rtol=1e-6)
    np.testing.assert_allclose(pixels.ms_ssim(x, x), 1, rtol=1e-6)


def test_opposite_images():
    """Contrast terms are negative: SSIM says so, MS-SSIM is 0 and not NaN."""
    x = noise(1, 176, 176, 1)
    assert pixels.ssim(x, 255 - x) < 0
    assert pixels.ms_ssim(x, 255 - x) == 0


def test_peak():
    a, b = noise(1, 20, 20, 3), noise(1, 20, 20, 3, seed=1)
    unit = lambda x: x.astype(np.float32) / 255
    for score in (pixels.psnr, pixels.ssim):
        np.testing.assert_allclose(score(a, b), score(unit(a), unit(b), 1.0), rtol=1e-5)


def test_psnr_by_hand():
    a = np.zeros((2, 4, 4, 3), np.uint8)
    b = np.stack([a[0] + 255, a[0] + 51])
    np.testing.assert_allclose(pixels.psnr(a, b), [0, 20 * np.log10(5)], atol=1e-5)


def test_too_small():
    with pytest.raises(ValueError, match="11 pixels"):
        pixels.ssim(noise(1, 10, 30, 1), noise(1, 10, 30, 1))
    with pytest.raises(ValueError, match="more than 160"):
        pixels.ms_ssim(noise(1, 160, 300, 1), noise(1, 160, 300, 1))


def test_crop():
    x = noise(2, 9, 8, 3)
    assert pixels.crop(x, 0).shape == x.shape
    np.testing.assert_array_equal(pixels.crop(x, 2), x[:, 2:7, 2:6])


def test_pyramid_of_three_levels():
    x = noise(2, 64, 64, 1).astype(np.float32)
    pyramid = swd.laplacian_pyramid(x, 3)
    assert [level.shape[1] for level in pyramid] == [64, 32, 16]
    np.testing.assert_allclose(swd.from_pyramid(pyramid), x, atol=1e-3)
    flat = swd.laplacian_pyramid(np.full((1, 64, 64, 1), 7.0, np.float32), 3)
    np.testing.assert_allclose(flat[2], 7, rtol=1e-6)
    np.testing.assert_allclose(flat[0], 0, atol=1e-5)


def test_sliced_wasserstein_of_a_shift():
    """|shift . direction| along each direction."""
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    directions = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0].astype(np.float32)
    shift = np.array([1, -2, 0.5], np.float32)
    value = swd.sliced_wasserstein(x, (x + shift)[::-1], directions)
    assert value == pytest.approx(np.abs(shift @ directions).mean(), rel=1e-5)


def test_swd_of_sets():
    a, b = noise(12, 32, 32, 1), noise(12, 32, 32, 1, seed=1)
    smooth = np.repeat(np.repeat(a[:, :8, :8], 4, axis=1), 4, axis=2)
    distance = lambda x, y: swd.swd(x, y, jax.random.key(0), count=32, directions=32, batch=8)
    like, unlike = distance(a, b), distance(a, smooth)
    assert like.shape == (2,)
    assert (like > 0).all()
    assert unlike[0] > 1.2 * like[0]
    with pytest.raises(ValueError, match="must be equal"):
        distance(a, b[:5])
    with pytest.raises(ValueError, match="power of two"):
        distance(a[:, :24, :24], b[:, :24, :24])


def squared(a, b):
    return ((a - b) ** 2).sum(axis=tuple(range(1, a.ndim)))


def test_a_straight_path_has_one_speed():
    """Linear generator, lerp: the squared length of the image of b - a, at every t."""
    rng = np.random.default_rng(0)
    w, a, b = (rng.normal(size=s).astype(np.float32) for s in ((4, 6), (9, 4), (9, 4)))
    lengths = ppl.path_lengths(
        lambda z: z @ w, squared, a, b, np.linspace(0, 1, 9, dtype=np.float32), lerp
    )
    np.testing.assert_allclose(lengths, ((((b - a) @ w) ** 2).sum(axis=1)), rtol=1e-2)


def test_ppl_of_the_sphere():
    """Speed is the angle, whose square has the mean of independent directions."""
    value = ppl.ppl(
        lambda z: z, squared, lambda key, n: jax.random.normal(key, (n, 64)), jax.random.key(0), 512
    )
    assert value == pytest.approx((np.pi / 2) ** 2, rel=0.03)
    again = ppl.ppl(
        lambda z: z.reshape(-1, 8, 8, 1),
        squared,
        lambda key, n: jax.random.normal(key, (n, 64)),
        jax.random.key(0),
        100,
        end=True,
    )
    assert again == pytest.approx((np.pi / 2) ** 2, rel=0.05)


def test_filter_keeps_the_percentiles():
    values = np.arange(101, dtype=np.float32)
    values[100] = 1e6
    assert ppl.filtered_mean(values) == pytest.approx(np.arange(1, 100).mean())


def test_face_and_shrink():
    x = jnp.arange(2 * 64 * 64, dtype=jnp.float32).reshape(2, 64, 64, 1)
    np.testing.assert_array_equal(ppl.face(x), x[:, 24:56, 16:48])
    np.testing.assert_allclose(ppl.shrink(x, 16)[0, 0, 0, 0], x[0, :4, :4].mean())
    assert ppl.shrink(x, 256).shape == x.shape
