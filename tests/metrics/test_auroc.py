"""The area under the ROC curve."""

import numpy as np

from jaxgen.metrics.auroc import auroc


def test_it_is_the_share_of_pairs_in_order():
    """Counted pair by pair, with equal scores; and of whole sets."""
    rng = np.random.default_rng(0)
    inside, outside = rng.integers(0, 6, 50) + 1.0, rng.integers(0, 6, 70) * 1.0
    a, b = inside[:, None], outside
    assert np.isclose(auroc(inside, outside), ((a > b) + (a == b) / 2).mean())
    assert np.isclose(auroc(inside, outside) + auroc(outside, inside), 1)
    assert auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert auroc(np.zeros(3), np.zeros(4)) == 0.5


def test_of_two_gaussians():
    """Phi(d / sqrt 2) for means d deviations apart; 0.760 for d = 1."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 20_000))
    assert abs(auroc(x[0] + 1, x[1]) - 0.760) < 0.01
