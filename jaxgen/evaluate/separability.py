"""How well a line separates latents by what their images show (`jaxgen.metrics.separability`), in
the sampler's latents and in the system's other space, such as StyleGAN's W.

The attributes are the data's, each above the value that divides the examples most evenly (light
skin from dark, no hat from any), or else the labels, each class by itself. What an image shows a
small network says that has learned it from the data.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxgen.errors import UserError
from jaxgen.evaluate import scores
from jaxgen.evaluate.classifier import SmallClassifier, classifier
from jaxgen.evaluate.metric import Metric, Scoring, spread
from jaxgen.metrics import separability as metric
from jaxgen.metrics.ppl import shrink
from jaxgen.runs.sampling import latent_key, samples
from jaxgen.train.abilities import LatentSpace, Sampler
from jaxgen.train.nets import bind

SAMPLES = 10_000
SIDE = 32  # pixels of the classifier's images, about


class Attributes(nn.Module):
    """Images to a logit for each of several attributes."""

    count: int

    @nn.compact
    def __call__(self, x, *, train: bool = True):
        return SmallClassifier(self.count)(shrink(x, SIDE))


def questions(attributes: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """{name of an attribute: the value that what counts as yes is above}, of attributes [n, a];
    neither those that have one value, nor those that say what one before has said."""
    found, answers = {}, set()
    for name, column in zip(names, attributes.T, strict=True):
        cuts = np.unique(column)[:-1]
        if len(cuts) == 0:
            continue
        shares = (column[:, None] > cuts).mean(axis=0)
        cut = float(cuts[np.argmin(np.abs(shares - 0.5))])
        answer = (column > cut).tobytes()
        if answer not in answers:
            answers.add(answer)
            found[str(name)] = cut
    return found


def check(scoring: Scoring, name: str) -> None:
    """UserError for data that say nothing of their images, and for latents that are no vectors."""
    data = scoring.taught()
    if not {"attributes", "label"} & set(data.info.fields):
        raise UserError(
            f"{name} needs attributes or labels, which {data.spec} has not; leave it out, or name "
            "other data"
        )
    sampler = scoring.trained.ability(Sampler, "draws no samples")
    one = jax.eval_shape(lambda key: sampler.prior(key, 1), jax.random.key(0))
    if not (hasattr(one, "ndim") and one.ndim == 2 and jnp.issubdtype(one.dtype, jnp.floating)):
        raise UserError(
            f"{name} is of latents that are vectors, and those of {scoring.trained.name} are not; "
            "leave it out"
        )


class Reader(NamedTuple):
    """What images show."""

    names: list[str]
    """Of the a attributes."""
    above: dict[str, float]
    """The value that yes is above, by name; none where the attributes are classes."""
    answers: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    """Examples of the data -> int32 [n, a], 0 or 1."""
    logits: Callable[[np.ndarray], np.ndarray]
    """Images uint8 [n, h, w, c] -> [n, a]."""


def read(data, seed: int = 0) -> Reader:
    """A reader of `data`'s attributes, or else its classes, which has learned from all of them."""
    taught, info, above = data.take(range(len(data))), data.info, {}
    if "attributes" in taught:
        above = questions(taught["attributes"], info.attribute_names)
        columns = [list(info.attribute_names).index(name) for name in above]
        answers = lambda x: np.int32(x["attributes"][:, columns] > list(above.values()))
        names = list(above)
    else:
        classes = np.unique(taught["label"])
        answers = lambda x: np.int32(x["label"][:, None] == classes)
        names = [info.label_names[i] if info.label_names else f"{i}" for i in classes]
    train = {"image": taught["image"], "attributes": answers(taught)}
    logits = classifier(train, Attributes(len(names)), seed=seed)
    return Reader(names, above, answers, logits)


def score(scoring: Scoring, names: Sequence[str]) -> list[dict[str, Any]]:
    """Separability in Z, in W, or in both, of the same images."""
    trained, seed, n = scoring.trained, scoring.seed, scoring.samples or SAMPLES
    (data, count), learnt = scoring.held_out(), scoring.taught()
    reader = read(learnt, seed)
    held = data.take(spread(data, count))
    right = (reader.logits(held["image"]) > 0) == reader.answers(held)
    images = samples(trained, n, seed=seed, batch=scoring.batch, **scoring.choices)
    shown = np.concatenate([reader.logits(chunk) for chunk in images])
    records = []
    for name in names:
        found = metric.separability(_latents(trained, name, n, seed), shown)
        records.append(
            scores.record(
                name,
                value=found.score,
                by_factor=dict(zip(reader.names, found.bits.tolist(), strict=True)),
                classifier_accuracy=float(right.mean()),
                settings={"above": reader.above or "classes"},
                samples=n,
                **scores.measured_on(learnt),
                seed=seed,
            )
        )
    return records


def _latents(trained, name, n, seed):
    key = latent_key(seed)
    if name == "separability":
        prior = trained.ability(Sampler, "draws no samples").prior
        return np.asarray(jax.jit(prior, static_argnums=1)(key, n))
    space = trained.ability(LatentSpace, "has no other latents")
    points = jax.jit(lambda states, key: space.points(bind(states, jax.random.key(seed)), key, n))
    return np.asarray(points(trained.states, key)).reshape(n, -1)


METRICS = {
    m.name: m
    for m in (
        Metric("separability", Sampler, score, check, False),
        Metric("separability-w", LatentSpace, score, check, False),
    )
}
