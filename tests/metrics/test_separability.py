"""Linear separability: the machine, what it leaves unknown, and the score of a run."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.data.arrays import arrays
from jaxgen.errors import UserError
from jaxgen.evaluate import separability as of_runs
from jaxgen.evaluate import sets
from jaxgen.evaluate.run import evaluate
from jaxgen.metrics.separability import conditional_entropy, separability, svm, table
from jaxgen.train.abilities import Sampler
from tests.quick import quick_to_compile  # noqa: F401
from tests.runs import toys

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3))


def test_the_machine_is_the_minimum_of_its_loss():
    """Two points by hand: 1/2 (w^2 + b^2) + sum of squared hinges is least at w = 4/5, b = 0; and
    one that cannot be told apart goes with its neighbours."""
    np.testing.assert_array_equal(svm(np.array([[1.0], [-1.0]]), np.array([True, False])), [1, 0])
    x = np.array([[1.0], [2.0], [3.0], [2.0], [-1.0], [-2.0]])
    has = np.array([True, True, True, False, False, False])
    np.testing.assert_array_equal(svm(x, has), [1, 1, 1, 1, 0, 0])


def test_what_is_left_unknown():
    """0 bits of what a plane separates, a whole bit of a coin, log2(3) - 2/3 by hand."""
    assert conditional_entropy(table(svm(X, X[:, 0] > 0.1), X[:, 0] > 0.1)) < 0.05
    coin = RNG.random(400) > 0.5
    assert conditional_entropy(table(svm(X, coin), coin)) > 0.95
    shares = np.array([[1, 0], [1, 1]]) / 3
    assert conditional_entropy(shares) == pytest.approx(2 / 3)
    assert conditional_entropy(np.array([[0.0, 0.0], [0.0, 1.0]])) == 0


def test_the_surest_half_counts():
    """The classifier errs where it is unsure; a ring, which no plane separates, stays unknown."""
    logits = np.where(abs(X[:, 0]) > 0.7, 9, 1) * X[:, 0]
    logits = np.where(abs(X[:, 0]) > 0.5, logits, -logits)
    ring = 10 * (abs(X[:, 1]) - 0.7)
    found = separability(X, np.stack([logits, ring], 1))
    assert found.bits[0] < 0.05
    assert found.bits[1] > 0.5
    assert found.score == pytest.approx(2 ** found.bits.sum())
    assert separability(X, np.stack([logits], 1), keep=1.0).bits[0] > found.bits[0] + 0.2


def test_questions_divide_the_examples_most_evenly():
    attributes = np.array([[0, 3, 5, 0, 1], [1, 4, 9, 2, 1], [2, 3, 9, 2, 1], [2, 5, 5, 0, 1]])
    names = ("a", "b", "c", "the same as c", "constant")
    assert of_runs.questions(attributes, names) == {"a": 1, "b": 3, "c": 5}


def test_a_run_is_scored_in_z_and_w(monkeypatch):
    """The images' brightness of the left half, which is linear in the latents; the toy's styles are
    0.25 + 0.5 z."""
    monkeypatch.setattr(of_runs, "classifier", lambda train, net, seed: bright)
    bright = lambda images: (images[:, :, :8].mean((1, 2, 3)) - 127.5)[:, None]
    images = RNG.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    labels = np.int32(RNG.integers(0, 3, (40, 1)))
    data = arrays({"image": images, "attributes": labels}, held_out=0.5, attribute_names=["left"])
    run = toys.styled()
    found = evaluate(run, ("separability", "separability-w"), data=data, samples=200)
    assert [x["metric"] for x in found] == ["separability", "separability-w"]
    for one in found:
        assert 1 <= one["value"] < 1.3
        assert one["value"] == pytest.approx(2 ** one["by_factor"]["left"])
        assert one["settings"]["above"].keys() == {"left"}
        assert 0 <= one["classifier_accuracy"] <= 1
    z = np.asarray(run.system.ability(Sampler).prior(of_runs.latent_key(0), 200))
    np.testing.assert_allclose(of_runs._latents(run, "separability-w", 200, 0), 0.25 + 0.5 * z)
    shown = bright(run.sample(200))
    assert found[0]["value"] == pytest.approx(separability(z, shown).score)

    bare = arrays({"image": images})
    with pytest.raises(UserError, match="separability needs attributes or labels, which arrays"):
        evaluate(run, ("separability",), data=bare)
    prior = lambda key, n: jnp.zeros((n, 2, 2))
    maps = dataclasses.replace(
        run.system, abilities=(dataclasses.replace(run.system.abilities[0], prior=prior),)
    )
    with pytest.raises(UserError, match="of latents that are vectors, and those of styles are not"):
        evaluate(dataclasses.replace(run, system=maps), ("separability",), data=data)
    with pytest.raises(UserError, match="has no separability-w"):
        evaluate(dataclasses.replace(run, system=maps), ("separability-w",), data=data)


def test_path_lengths_in_z_and_w(monkeypatch):
    """The toy's image is linear in its styles 0.25 + 0.5 z: along the straight line from one to the
    other the speed is constant, along the arc from z to z it is 0.5 sqrt(k) times the angle."""
    squared = lambda a, b: ((a - b) ** 2).sum((1, 2, 3))
    distance = types.SimpleNamespace(apply=squared, sha256="0")
    monkeypatch.setattr(sets.distances, "distance", lambda *_: distance)
    monkeypatch.setattr(sets.distances, "check", lambda *_: None)
    run = toys.styled()
    data = arrays({"image": np.zeros((10, 16, 16, 3), np.uint8)})
    found = evaluate(run, ("ppl", "ppl-w"), data=data, samples=4096, batch=1024)
    in_z, in_w = (x["value"] for x in found)
    assert [x["settings"]["between"] for x in found] == ["arc", "lerp"]
    basis = np.asarray(run.states["g"].params["basis"]).sum(0).reshape(4, -1)
    scale = (basis**2).sum(1).mean() / 4  # a direction at random, of styles 0.5 as long
    a, b = RNG.normal(size=(2, 20_000, 4))
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    angle = np.arccos((unit(a) * unit(b)).sum(1))
    middle = lambda x: x[(x >= np.percentile(x, 1)) & (x <= np.percentile(x, 99))].mean()
    assert in_z == pytest.approx(4 * scale * middle(angle**2), rel=0.2)
    assert in_w == pytest.approx(scale * middle(((a - b) ** 2).sum(1)), rel=0.2)
    assert in_w < in_z


def test_attributes_are_learned_each_by_itself():
    """Of two attributes, brightness above and below: a few minibatches."""
    from jaxgen.evaluate.classifier import classifier

    answers = np.int32(RNG.integers(0, 2, (64, 2)))
    rows = np.repeat(answers, 4, axis=1)[:, :, None, None] * 200
    images = np.uint8(np.broadcast_to(rows, (64, 8, 8, 1)))
    train = {"image": images, "attributes": answers}
    options = {"rounds": 60, "batch_size": 16}
    logits = classifier(train, of_runs.Attributes(2), **options)(images)
    assert logits.shape == (64, 2)
    assert ((logits > 0) == answers).mean() > 0.95
