"""The area under the ROC curve."""

import numpy as np
import pytest

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


def test_scores_that_are_not_numbers():
    """NaN would count as the highest."""
    with pytest.raises(ValueError, match="^1 of the scores is not a number$"):
        auroc(np.array([0.0, np.nan]), np.zeros(3))
    with pytest.raises(ValueError, match="^2 of the scores are not a number$"):
        auroc(np.zeros(3), np.full(2, np.nan))


def test_of_two_gaussians():
    """Phi(d / sqrt 2) for means d deviations apart; 0.760 for d = 1."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 20_000))
    assert abs(auroc(x[0] + 1, x[1]) - 0.760) < 0.01


def test_a_set_without_scores():
    with pytest.raises(ValueError, match="no scores"):
        auroc(np.zeros(0), np.zeros(3))
    with pytest.raises(ValueError, match="no scores"):
        auroc(np.zeros(3), np.zeros(0))
