"""FID: exact in float32, without gathering, and from any parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxgen import parallel
from jaxgen.metrics import fid as module
from jaxgen.metrics.fid import fid, from_covariance, merge, moments, stream
from jaxgen.train import devices


def features(n, d, seed, shift=0.0):
    """Correlated, mostly positive and with dead dimensions, like a network's pooled features; their
    variances fall off by a factor of 10,000."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(d, d)) * np.geomspace(1, 0.01, d)[:, None]
    x = np.maximum(rng.normal(size=(n, d)) @ mix / 4 + 0.4 + shift, 0)
    x[:, :: d // 8] = 0
    return x.astype(np.float32)


def in_float64(a, b):
    """By the textbook: Tr (S_1^(1/2) S_2 S_1^(1/2))^(1/2), in NumPy."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(a.T))
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    trace = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ np.cov(b.T) @ root), 0)).sum()
    apart = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    return apart + a.var(axis=0, ddof=1).sum() + b.var(axis=0, ddof=1).sum() - 2 * trace


@pytest.mark.parametrize(("n", "d"), [(1000, 256), (200, 512)])
@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_float32_agrees_with_float64(n, d, shift):
    a, b = features(n, d, 1), features(n, d, 2, shift)
    single = float(fid(moments(a), moments(b)))
    with jax.enable_x64(True):
        double = float(fid(moments(a.astype(float)), moments(b.astype(float))))
    assert single == pytest.approx(double, rel=1e-4)
    # numpy's roots of rounded zeros are good to 1e-5 where samples are few
    assert double == pytest.approx(in_float64(a, b), rel=1e-5)


def test_nearly_equal_sets():
    """Where the textbook's difference of traces has lost every digit."""
    a = features(1000, 256, 1)
    b = a + 1e-3 * features(1000, 256, 2)
    with jax.enable_x64(True):
        exact = float(fid(moments(a.astype(float)), moments(b.astype(float))))
    assert float(fid(moments(a), moments(b))) == pytest.approx(exact, rel=1e-3)
    assert 0 <= float(fid(moments(a), moments(a))) < 1e-8


def test_any_parts_are_the_whole(monkeypatch):
    a, b = features(500, 64, 1), features(500, 64, 2, 0.1)
    whole, other = moments(a), moments(b)
    parts = merge(merge(moments(a[:64]), moments(a[64:300])), moments(a[300:]))
    padded = moments(np.concatenate([a, 1e3 + a]), np.arange(1000) < 500)
    monkeypatch.setattr(module, "BLOCK", 64)
    for m in (parts, padded, moments(a), merge(whole, moments(a[:0]))):
        assert m.count == 500
        np.testing.assert_allclose(m.mean, a.mean(axis=0), rtol=1e-5, atol=1e-6)
        assert m.factor.shape == (64, 64)
        covariance = m.factor.T @ m.factor / 499
        np.testing.assert_allclose(covariance, np.cov(a.T), rtol=1e-3, atol=1e-5)
        assert float(fid(m, other)) == pytest.approx(float(fid(whole, other)), rel=1e-5)


@pytest.mark.parametrize(("n", "d"), [(300, 48), (60, 128)])
def test_four_devices_give_the_same(n, d):
    """Batches split over devices, the last one padded; each device keeps a factor of its own."""
    a, b = features(n, d, 1), features(n, d, 2, 0.1)
    mesh = devices.make_mesh(jax.devices()[:4])
    split = NamedSharding(mesh, PartitionSpec(parallel.AXIS))

    def batches(size=24):
        for i in range(0, n, size):
            part = a[i : i + size]
            full = np.full((size, d), np.nan, np.float32)
            full[: len(part)] = part
            yield tuple(jax.device_put(x, split) for x in (full, np.arange(size) < len(part)))

    streamed = stream(batches(), mesh)
    assert streamed.count == n
    assert float(fid(streamed, moments(b))) == pytest.approx(in_float64(a, b), rel=1e-4)
    assert float(fid(streamed, moments(a))) < 1e-6 * float((streamed.factor**2).sum() / n)


def test_features_are_not_gathered():
    """Adding a batch moves nothing between devices."""
    mesh = devices.make_mesh(jax.devices()[:4])
    split = NamedSharding(mesh, PartitionSpec(parallel.AXIS))
    batch = tuple(jax.device_put(x, split) for x in (features(64, 8, 1), np.ones(64, bool)))
    text = module._add.lower(None, [batch], mesh=mesh).compile().as_text()
    assert not any(word in text for word in ("all-gather", "all-reduce", "all-to-all", "permute("))


def test_published_statistics():
    a, b = features(300, 32, 1), features(300, 32, 2, 0.1)
    published = from_covariance(a.mean(axis=0), np.cov(a.T), 300)
    assert float(fid(published, moments(b))) == pytest.approx(in_float64(a, b), rel=1e-4)


def test_shifted_and_scaled_gaussians():
    """(mu_1 - mu_2)^2 + (s_1 - s_2)^2 in each dimension."""
    x = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
    s = x.std(axis=0, ddof=1)
    value = fid(moments(x), moments(3 * x + 2))
    np.testing.assert_allclose(
        value, ((2 * x.mean(axis=0) + 2) ** 2 + (2 * s) ** 2).sum(), rtol=1e-5
    )


def test_no_batches():
    with pytest.raises(ValueError, match="no batches"):
        stream([], devices.make_mesh(jax.devices()[:1]))


def test_one_sample_has_no_covariance():
    assert jnp.isnan(fid(moments(np.ones((1, 3))), moments(np.ones((9, 3)))))
