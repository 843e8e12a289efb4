"""MIG, segmentation scores and classification accuracy: properties and refusals."""

import jax
import numpy as np
import pytest
from flax import linen as nn
from scipy import stats
from scipy.special import logsumexp

from jaxgen.evaluate.classifier import classification_accuracy
from jaxgen.metrics.mig import mutual_information_gap, turned
from jaxgen.metrics.segmentation import (
    CITYSCAPES_BGR,
    confusion,
    fcn_input,
    scores,
    segmentation_score,
)


def grid(turn=0.0):
    """Latents that are the coordinates of an 8 x 8 grid, turned by an angle."""
    factors = np.stack(np.meshgrid(np.arange(8), np.arange(8), indexing="ij"), -1).reshape(-1, 2)
    c, s = np.cos(turn), np.sin(turn)
    mean = (factors - 3.5) @ np.array([[c, -s], [s, c]])
    return factors, mean.astype(np.float32), np.full(mean.shape, -4, np.float32)


def test_mig_of_aligned_and_turned_latents():
    factors, mean, log_sigma = grid()
    gap = mutual_information_gap(mean, mean, log_sigma, factors)
    assert gap.mig == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(np.diag(gap.information), np.log(8), rtol=0.01)


def test_turned_latents_know_as_much_but_have_no_gap():
    """By symmetry: either latent knows as much of either factor, and both together log 8 nats."""
    factors, mean, log_sigma = grid()
    straight = mean, mean, log_sigma
    for codes, gap in ((straight, 1.0), (turned(*straight, np.pi / 4), 0.0)):
        assert mutual_information_gap(*codes, factors).mig == pytest.approx(gap, abs=2e-3)
        for factor in factors.T:
            each = [joint_entropy(*(x[factor == v] for x in codes[1:])) for v in range(8)]
            known = joint_entropy(*codes[1:]) - np.mean(each)
            assert known == pytest.approx(np.log(8), rel=1e-3)


def joint_entropy(mean, log_sigma):
    """The entropy of all latents: minus the mean log density of the means under the mixture."""
    each = stats.norm.logpdf(mean[:, None], mean, np.exp(log_sigma)).sum(-1)
    return -(logsumexp(each, axis=1) - np.log(len(mean))).mean()


def test_turned_posteriors_are_those_of_turned_samples():
    """Deviations that differ: of samples drawn before the turn."""
    mean = np.tile([1.0, -2.0], (40_000, 1))
    log_sigma = np.tile(np.log([0.1, 0.8]), (40_000, 1))
    z = mean + np.exp(log_sigma) * np.random.default_rng(0).normal(size=mean.shape)
    moved, centre, spread = turned(z, mean, log_sigma, 0.6)
    np.testing.assert_allclose(moved.mean(0), centre[0], atol=0.02)
    np.testing.assert_allclose(moved.std(0), np.exp(spread)[0], rtol=0.02)
    np.testing.assert_allclose(np.hypot(*moved.T), np.hypot(*z.T), rtol=1e-5)


def test_mig_on_a_choice_of_samples():
    factors, mean, log_sigma = grid()
    with pytest.raises(ValueError, match="give a key"):
        mutual_information_gap(mean, mean, log_sigma, factors, most=6)
    gap = mutual_information_gap(mean, mean, log_sigma, factors, jax.random.key(0), most=6)
    assert gap.mig == pytest.approx(1, abs=0.2)
    with pytest.raises(ValueError, match="factor 1 has one value"):
        mutual_information_gap(mean, mean, log_sigma, factors * [1, 0])


def test_mig_is_a_gap_between_two_latents():
    factors, mean, _ = grid()
    for codes, columns in (((mean[:, :1],) * 2, factors), ((mean,) * 2, factors[:, :0])):
        spread = np.full_like(codes[0], -4)
        with pytest.raises(ValueError, match="between two latents, of one factor or more"):
            mutual_information_gap(*codes, spread, columns)


def test_confusion():
    label = np.array([[0, 0, 1], [1, 255, -1]])
    predicted = np.array([[0, 1, 1], [1, 0, 1]])
    n = confusion(label, predicted, 2)
    np.testing.assert_array_equal(n, [[1, 1], [0, 2]])
    result = scores(n)
    assert (result.pixel, result.classwise) == pytest.approx((3 / 4, 3 / 4))
    np.testing.assert_allclose(result.iou_each, [1 / 2, 2 / 3])
    # a class that is nowhere counts as 0, as in pix2pix's script
    assert scores(confusion(label, predicted, 3)).classwise == pytest.approx(1 / 2)


def test_fcn_protocol():
    photos = np.full((1, 4, 4, 3), -1, np.float32)
    photos[..., 0] = 1
    ready = fcn_input(photos, (8, 16))
    assert ready.shape == (1, 8, 16, 3)
    np.testing.assert_allclose(ready[0, 0, 0], np.array([0, 0, 255]) - CITYSCAPES_BGR, rtol=1e-6)


def test_segmentation_score_over_batches():
    """A network that reads the classes off the pixels, but takes class 2 for class 1."""
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 3, (n, 6, 6)) for n in (2, 3)]
    pairs = [(np.eye(3, dtype=np.float32)[label] * 2 - 1, label) for label in labels]
    blind = np.float32([[1, 0, 0], [0, 1, 0], [0, 1, 0]])
    result = segmentation_score(lambda x: x @ blind, pairs, 3)
    flat = np.concatenate([label.ravel() for label in labels])
    assert result.pixel == pytest.approx((flat != 2).mean())
    np.testing.assert_allclose(result.classwise_each, [1, 1, 0])


def squares(n, seed, swap=False):
    """A bright square at the left (0) or right (1)."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n).astype(np.int32)
    image = rng.integers(0, 60, (n, 8, 8, 1)).astype(np.uint8)
    for i, side in enumerate(label):
        image[i, 2:6, 4 * side : 4 * side + 3] += 150
    return {"image": image, "label": 1 - label if swap else label}


class Linear(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool = True):
        return nn.Dense(2)(x.reshape(len(x), -1))


def test_classification_accuracy():
    """What a classifier learns from samples is right of real images as far as they are right."""
    score = lambda train, *how, **sizes: classification_accuracy(
        train, squares(100, 0), *how, batch_size=32, **sizes
    )
    assert score(squares(200, 1), rounds=20) > 0.9
    assert score(squares(200, 1, swap=True), Linear(), rounds=60, learning_rate=1e-2) < 0.05
