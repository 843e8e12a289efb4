"""Retrieval, prototypes and the linear probe on data of known answer."""

import numpy as np
import pytest

from jaxgen.metrics import probe, retrieval


def test_recall_counts_ties_as_wrong():
    scores = np.array([[3.0, 1, 2], [1, 2, 3], [5, 5, 5], [1, 9, 0]])
    right = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]], bool)
    assert retrieval.recalled(scores, right).tolist() == [True, False, False, False]
    assert retrieval.recalled(scores, right, 2).tolist() == [True, True, False, True]
    assert retrieval.recalled(scores, right, 3).all()


@pytest.mark.parametrize("k", [1, 2, 5])
def test_chance_is_what_guesses_get(k):
    right = np.arange(12)[None] < np.array([1, 3, 9])[:, None]
    draws = np.random.default_rng(0)
    found = np.mean([right[:, draws.permutation(12)[:k]].any(axis=1) for _ in range(4000)])
    np.testing.assert_allclose(retrieval.chance(right, k), found, atol=0.02)


def test_prototypes_average_directions_not_lengths():
    found = retrieval.prototypes(np.array([[[2.0, 0], [0, 5]], [[0, 1], [0, 1]]]))
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [0, 1]], rtol=1e-6)


def test_probe_reads_what_is_linear_and_no_more():
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 5)).astype(np.float32)
    labels = (x @ random.normal(size=(5, 3))).argmax(axis=1)
    found, _ = probe.linear_probe(x[:400], labels[:400], x[400:], 3)
    assert (np.asarray(found) == labels[400:]).mean() > 0.9
    shuffled = random.permutation(labels)
    found, strength = probe.linear_probe(x[:400], shuffled[:400], x[400:], 3)
    common = np.bincount(shuffled).max() / 500
    assert abs((np.asarray(found) == shuffled[400:]).mean() - common) < 0.12
    assert strength in probe.STRENGTHS


def test_nearest_neighbours_vote():
    x = np.array([[0.0], [1], [2], [10], [11], [12]])
    labels = np.array([2, 0, 2, 1, 1, 0])
    found = probe.nearest_neighbours(x, labels, np.array([[0.9], [11.2], [5.9]]), k=3)
    assert found.tolist() == [2, 1, 0]  # 5.9: 2 (2), 10 (1), 1 (0), of which the lowest
    assert probe.nearest_neighbours(x, labels, x, k=1).tolist() == labels.tolist()
    assert probe.nearest_neighbours(x[:3], labels[:3], x[4:5], k=5).tolist() == [2]
