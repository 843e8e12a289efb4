"""Scores samples of digits with a classifier of their own: `python -m tests.digits RUN [RUN ...]`.

A small convolutional network learns the real digits (mnist5k's training split, 28 px) and must be
right on at least 95 % of the held-out ones.  On 1,000 samples it gives the share of each class and
the mean probability of the likeliest class; and of samples that were made by label, how many it
reads as what they were to be.
"""

import dataclasses
import json
import sys
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgen.data.pipeline import load
from jaxgen.evaluate.classifier import SmallClassifier
from jaxgen.runs.load import load as load_run
from jaxgen.train.abilities import Sampler
from jaxgen.train.nets import bind

STEPS, BATCH = 1500, 128


@dataclasses.dataclass(frozen=True)
class Score:
    accuracy: float
    """The classifier's accuracy on held-out real digits."""
    shares: tuple[float, ...]
    """The share of the samples by class."""
    confidence: float
    """Mean probability of the samples' likeliest class."""
    read: float | None = None
    """The share of samples made by label that are read as that label."""

    @property
    def classes(self) -> int:
        """How many classes have a share of 2 % or more."""
        return sum(share >= 0.02 for share in self.shares)


@cache
def classifier():
    """(images [n, 28, 28, 1] in [-1, 1] -> probabilities [n, 10], held-out accuracy)."""
    train = load("mnist5k", size=28, channels=1).resident
    test = load("mnist5k", size=28, channels=1, split="test").resident
    model, adam = SmallClassifier(10), optax.adam(optax.cosine_decay_schedule(1e-3, STEPS))
    scale = lambda x: jnp.asarray(x, jnp.float32) / 127.5 - 1
    params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    state = adam.init(params)

    @jax.jit
    def step(params, state, x, y):
        def loss(params):
            logits = model.apply(params, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        updates, state = adam.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        rows = rng.integers(len(train["image"]), size=BATCH)
        params, state = step(params, state, scale(train["image"][rows]), train["label"][rows])
    predict = jax.jit(lambda x: jax.nn.softmax(model.apply(params, x)))
    right = predict(scale(test["image"])).argmax(axis=1) == test["label"]
    return predict, float(right.mean())


def score(images, labels=None) -> Score:
    """The classifier's answers for images [n, H, W, 1] in [-1, 1], resized to 28 px."""
    predict, accuracy = classifier()
    assert accuracy >= 0.95, f"the classifier is right on {accuracy:.1%} only"
    images = jax.image.resize(images, (len(images), 28, 28, 1), "bilinear")
    chances = np.asarray(predict(images))
    shares = np.bincount(chances.argmax(axis=1), minlength=10) / len(images)
    read = None if labels is None else float((chances.argmax(axis=1) == labels).mean())
    return Score(accuracy, tuple(map(float, shares)), float(chances.max(axis=1).mean()), read)


def score_run(workdir: Path, n: int = 1000) -> Score:
    trained = load_run(workdir)
    labels = np.arange(n) % 10
    sampler = trained.system.ability(Sampler)
    condition = {"label": labels} if sampler.condition == ("label",) else {}

    @jax.jit
    def sample(states, condition, key):
        return sampler.generate(bind(states, key), sampler.prior(key, n), condition, key)

    samples = sample(trained.states, condition, jax.random.key(1))
    return score(samples, labels if condition else None)


if __name__ == "__main__":
    for workdir in sys.argv[1:]:
        result = score_run(Path(workdir))
        print(workdir, f"{result.classes} classes", json.dumps(dataclasses.asdict(result)))
