"""Images and texts that belong together, by a trained run that reads both."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from jaxgen.data.images import decode, to_input
from jaxgen.data.source import to_program
from jaxgen.errors import UserError
from jaxgen.losses.contrastive import unit
from jaxgen.train.abilities import Embedder
from jaxgen.train.nets import bind

if TYPE_CHECKING:
    from jaxgen.runs.trained import TrainedRun


def likelihoods(
    trained: "TrainedRun",
    images: Sequence[np.ndarray | Path],
    texts: Sequence[str],
    by: Literal["image", "text"] = "image",
    batch: int = 64,
) -> np.ndarray:
    """How likely each answer is, given that one of them belongs to what was asked: [images, texts]
    by image, [texts, images] by text; each row's sum is 1.

    images: uint8 [H, W, C] of any size, or files.  UserError where the system does not read.
    """
    embedder = reader(trained)

    def prepare(image):
        return to_input(decode(image) if isinstance(image, Path) else image, trained.info)

    x = embedded(trained, "image", images, prepare, batch)
    y = embedded(trained, "text", texts, trained.info.vocabulary, batch)
    scores = embedder.scale(trained.nets()) * (x @ y.T if by == "image" else y @ x.T)
    return np.asarray(jax.nn.softmax(scores, axis=1))


def reader(trained: "TrainedRun") -> Embedder:
    """The run's embedder of images and texts.  UserError where it has none."""
    embedder = trained.system.ability(Embedder)
    if embedder is None or embedder.text is None or trained.info.vocabulary is None:
        raise UserError(f"{trained.name} does not read; a run of clip does")
    return embedder


def embedded(
    trained: "TrainedRun",
    side: Literal["image", "text"],
    examples: Sequence,
    prepare: Callable[[Any], np.ndarray],
    batch: int = 64,
) -> np.ndarray:
    """Unit vectors [n, d] of images or texts, `batch` at a time.

    prepare: makes of an example an image uint8 [H, W, C], or a text's tokens int32 [L].
    """
    embed, parts = getattr(trained.ability(Embedder, "compares nothing"), side), []
    for first in range(0, len(examples), batch):
        part = [prepare(x) for x in examples[first : first + batch]]
        whole = np.stack([part[i % len(part)] for i in range(batch)])  # so that one program serves
        found = _embed(embed, trained.states, to_program({side: whole}, trained.info.fields))
        parts.append(np.asarray(found)[: len(part)])
    return np.concatenate(parts)


@functools.partial(jax.jit, static_argnums=0)
def _embed(embed, states, batch):
    return unit(embed(bind(states, jax.random.key(0)), batch))
