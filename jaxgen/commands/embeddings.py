"""Scores of what a trained system makes of examples: retrieval, zero-shot, a linear probe.

They look at all held-out examples at once, not at chunks of them. `image-to-text` is zero-shot
classification too, by the captions of all; `zero-shot` is that by the names of the data's labels.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxgen.commands.scores import chunks, spread
from jaxgen.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from jaxgen.commands.restore import Trained
    from jaxgen.data.pipeline import Data

# (which embedding asks, which answers, among how many answers the right one may be)
RETRIEVAL = {
    "image-to-text": ("image", "text", 1),
    "text-to-image": ("text", "image", 1),
    "image-to-text-5": ("image", "text", 5),
    "text-to-image-5": ("text", "image", 5),
}
ZERO_SHOT, PROBE = "zero-shot", "linear-probe"
METRICS = dict.fromkeys((*RETRIEVAL, ZERO_SHOT, PROBE), True)  # whether higher is better
NEEDS = {"text": "captions", "label": "labels"}


def suits(system: Any) -> list[str]:
    """The metrics that the system can have."""
    if system.embed is None:
        return []
    return [*RETRIEVAL, ZERO_SHOT, PROBE] if system.embed.text else [PROBE]


def possible(name: str, data: "Data") -> bool:
    """Whether the data has what the metric needs."""
    return _needed(name) in data[0]


def _needed(name):
    return "text" if name in RETRIEVAL else "label"


def score(
    trained: "Trained", names: Sequence[str], data: "Data", train: "Data", count: int, batch: int
) -> dict[str, dict[str, Any]]:
    """`{name: {"value", "baselines"}}`, shares of `count` examples that come out right.

    train: what the probe learns from.  batch: examples at a time.  UserError where the data has no
    captions or labels.
    """
    import numpy as np

    from jaxgen.losses.contrastive import unit
    from jaxgen.metrics import probe, retrieval

    chosen = spread(data, count)
    wanted = {side for n in names if n in RETRIEVAL for side in RETRIEVAL[n][:2]}
    wanted |= {"image"} if ZERO_SHOT in names else set()
    wanted |= {"features"} if PROBE in names else set()
    for name in names:
        if not possible(name, data):
            raise UserError(
                f"{name} needs {NEEDS[_needed(name)]}, which {data.spec} has not; leave it out, or "
                "name other data by --reference"
            )
    held = _embedded(trained, wanted, data, chosen, batch)
    found = {}
    for name in names:
        if name in RETRIEVAL:
            asks, answers, k = RETRIEVAL[name]
            text = held["batch"]["text"]
            right = (text[:, None] == text[None]).all(axis=-1)  # one caption may have two images
            scores = unit(held[asks]) @ unit(held[answers]).T
            value = retrieval.recalled(scores, right, k)
            baselines = {"chance": retrieval.chance(right, k)}
        else:
            labels, classes = held["batch"]["label"], len(data.label_names)
            if name == ZERO_SHOT:
                guess = _zero_shot(trained, data, held["image"], batch)
                baselines = {"chance": 1 / classes}
            else:
                taught = _embedded(trained, {"features"}, train, range(len(train)), batch)
                learned = taught["features"], taught["batch"]["label"]
                guess, _ = probe.linear_probe(*learned, held["features"], classes)
                baselines = {}
            value = np.asarray(guess) == labels
            baselines["the commonest class"] = float(np.bincount(labels).max() / count)
        found[name] = {"value": float(np.mean(value)), "baselines": baselines}
    return found


def _embedded(trained, wanted, data, chosen, batch) -> dict[str, Any]:
    """Each of `wanted` for the chosen examples, [n, d], and what their "batch" has of numbers."""
    import jax
    import numpy as np

    from jaxgen.train.game import look, to_float

    system = trained.system

    @jax.jit
    def run(states, batch):
        nets, batch = look(system, states, jax.random.key(0)), to_float(batch)
        return {name: getattr(system.embed, name)(nets, batch) for name in wanted}

    parts: dict[str, list] = {name: [] for name in wanted}
    others: dict[str, list] = {"text": [], "label": []}
    for _, n, taken in chunks(data, chosen, batch):
        for name, values in run(trained.states, taken).items():
            parts[name].append(np.asarray(values, np.float32)[:n])
        for name in others.keys() & taken.keys():
            others[name].append(taken[name][:n])
    numbers = {name: np.concatenate(x) for name, x in others.items() if x}
    return {**{name: np.concatenate(x) for name, x in parts.items()}, "batch": numbers}


def embedded(trained: "Trained", side: str, examples: Sequence, prepare, batch: int) -> Any:
    """Unit vectors [n, d] of a person's images or texts, `batch` at a time.

    side: "image", of uint8 [H, W, C], or "text", of int32 [L], which is what `prepare` makes of an
      example.
    """
    import jax
    import numpy as np

    from jaxgen.losses.contrastive import unit
    from jaxgen.train.game import look, to_float

    @jax.jit
    def run(states, x):
        nets = look(trained.system, states, jax.random.key(0))
        return unit(getattr(trained.system.embed, side)(nets, to_float({side: x})))

    parts = []
    for first in range(0, len(examples), batch):
        part = [prepare(x) for x in examples[first : first + batch]]
        whole = np.stack([part[i % len(part)] for i in range(batch)])  # so that one program serves
        parts.append(np.asarray(run(trained.states, whole))[: len(part)])
    return np.concatenate(parts)


def _zero_shot(trained, data, images, batch) -> "np.ndarray":
    """The class whose name, in all prompts, is nearest to each image."""
    import numpy as np

    from jaxgen.losses.contrastive import unit
    from jaxgen.metrics import retrieval

    prompts, names = trained.system.embed.prompts, data.label_names
    texts = [prompt.replace("{}", name) for name in names for prompt in prompts]
    vectors = embedded(trained, "text", texts, trained.tokenize, batch)
    classes = retrieval.prototypes(vectors.reshape(len(names), len(prompts), -1))
    return np.asarray((unit(images) @ classes.T).argmax(axis=1))
