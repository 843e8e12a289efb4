"""KID, the Inception score and the nearest-neighbour measures: properties and refusals."""

import jax
import numpy as np
import pytest

from jaxgen.metrics import kid as kid_module
from jaxgen.metrics import precision_recall as pr
from jaxgen.metrics.inception_score import inception_score
from jaxgen.metrics.kid import kid, kid_subsets


def gaussian(n, d=16, seed=0, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(n, d)) + shift).astype(np.float32)


def test_kid_of_unequal_sets_by_hand():
    x, y = gaussian(30, 4).astype(float), gaussian(20, 4, 1, 0.5).astype(float)
    k = lambda a, b: (a @ b.T / 4 + 1) ** 3
    within = lambda a: (k(a, a).sum() - np.trace(k(a, a))) / (len(a) * (len(a) - 1))
    by_hand = within(x) + within(y) - 2 * k(x, y).mean()
    assert float(kid(x, y)) == pytest.approx(by_hand, rel=1e-5)


def test_kid_in_blocks(monkeypatch):
    x, y = gaussian(101), gaussian(57, seed=1, shift=0.3)
    whole = float(kid(x, y))
    monkeypatch.setattr(kid_module, "BLOCK", 500)
    kid.clear_cache()
    assert float(kid(x, y)) == pytest.approx(whole, rel=1e-5)
    kid.clear_cache()


def test_kid_subsets():
    x, y = gaussian(300), gaussian(200, seed=1)
    values = kid_subsets(x, y, jax.random.key(0), subsets=50, size=60)
    assert values.shape == (50,)
    assert len(np.unique(values)) == 50
    assert abs(values.mean()) < 4 * values.std() / 50**0.5  # equal distributions
    # a subset of everything is everything: drawn without repetition
    whole = kid_subsets(x[:200], y, jax.random.key(0), subsets=2, size=200)
    np.testing.assert_allclose(whole, kid(x[:200], y), rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="there are 200: make more"):
        kid_subsets(x, y, jax.random.key(0), size=201)


def test_kid_in_float32_of_like_sets():
    """The means that are subtracted are 1,000 times their difference."""
    x, y = np.abs(gaussian(1000, 64)), np.abs(gaussian(1000, 64, 1, 0.02))
    with jax.enable_x64(True):
        exact = float(kid(x.astype(float), y.astype(float)))
    assert float(kid(x, y)) == pytest.approx(exact, rel=1e-3)


def test_inception_score_by_hand():
    sure = 50 * np.eye(4, dtype=np.float32)[np.arange(40) % 4]
    assert inception_score(sure, splits=10).mean == pytest.approx(4, rel=1e-5)
    assert inception_score(sure, splits=10).std == pytest.approx(0, abs=1e-5)
    assert inception_score(np.zeros((40, 4), np.float32)).mean == pytest.approx(1, rel=1e-6)
    in_turn = np.sort(np.arange(40) % 4)
    by_class = 50 * np.eye(4, dtype=np.float32)[in_turn]
    assert inception_score(by_class, splits=4).mean == pytest.approx(1, rel=1e-5)
    assert inception_score(by_class, splits=4, key=jax.random.key(0)).mean > 2
    with pytest.raises(ValueError, match="5 samples"):
        inception_score(sure[:5])


def test_equal_and_distant_sets():
    x = gaussian(200)
    assert tuple(pr.precision_recall(x, x)) == (1, 1)
    assert pr.density_coverage(x, x).coverage == 1
    far = x + 100
    assert tuple(pr.precision_recall(x, far)) == (0, 0)
    assert tuple(pr.density_coverage(x, far)) == (0, 0)


def test_equal_distributions():
    """E density = 1 (Naeem et al., Sec. 3)."""
    density, coverage = pr.density_coverage(gaussian(1000, 4), gaussian(1000, 4, 1))
    assert density == pytest.approx(1, abs=0.1)
    assert coverage == pytest.approx(1 - 0.5**5, abs=0.03)


def test_half_of_the_modes():
    """Two far Gaussians, of which the samples show one: precise, but half is not recalled."""
    real = np.concatenate([gaussian(200, 4), gaussian(200, 4, 1) + 50])
    precision, recall = pr.precision_recall(real, gaussian(400, 4, 2))
    assert precision > 0.85
    assert 0.4 < recall <= 0.5
    assert 0.4 < pr.density_coverage(real, gaussian(400, 4, 2)).coverage <= 0.5


def test_boundaries():
    """On a line, with k = 1, samples on the edge of a ball: inside for precision, not density."""
    real = np.array([[0.0], [1], [5]], np.float32)
    fake = np.array([[-1.0], [2], [10]], np.float32)
    np.testing.assert_allclose(pr.radii(real, 1), [1, 1, 4], rtol=1e-6)
    assert pr.precision_recall(real, fake, 1).precision == pytest.approx(2 / 3)
    density, coverage = pr.density_coverage(real, fake, 1)
    assert density == pytest.approx(1 / 3)  # 2 lies in the ball around 5
    assert coverage == pytest.approx(1 / 3)


def test_neighbours_in_blocks(monkeypatch):
    real, fake = gaussian(90, 3), gaussian(70, 3, 1, 0.5)
    measures = (pr.precision_recall, pr.density_coverage)
    values = lambda: [measure(real, fake) for measure in measures]
    whole = values()
    monkeypatch.setattr(pr, "BLOCK", 700)
    for measure in measures:
        measure.clear_cache()
    for a, b in zip(whole, values()):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    for measure in measures:
        measure.clear_cache()


def test_too_few_neighbours():
    with pytest.raises(ValueError, match="3 points have no 3-th"):
        pr.radii(gaussian(3), 3)
