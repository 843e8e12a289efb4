"""Single images scored by a trained run: their log-likelihoods, or their energies."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxgen.data.images import decode, to_input
from jaxgen.data.source import to_program
from jaxgen.errors import UserError
from jaxgen.runs.choices import check_names, conditions
from jaxgen.train.abilities import Density, Energy, Sampler
from jaxgen.train.nets import bind

if TYPE_CHECKING:
    from jaxgen.runs.trained import TrainedRun


def score(
    trained: "TrainedRun",
    images: Sequence[np.ndarray | Path],
    *,
    seed: int = 0,
    batch: int = 64,
    **choices,
) -> dict[str, np.ndarray]:
    """{name: [n]} of n images: log-likelihoods in nats by the names of the system's densities
    (`log_prob`, `elbo`), or its `energy`, which is -log p up to a constant.

    images: uint8 [H, W, C] of any size, or files; they are cut and resized as in training.
    seed: of the noise, where the system draws any.
    batch: images at a time.
    choices: the conditions that the system was trained with, such as label=3: one value, or one for
      each image.

    UserError for a system that gives images no likelihood, for an image that cannot be read, and
    for a condition that is lacking.
    """
    values, sampler = scorers(trained), trained.system.ability(Sampler)
    needed = sampler.condition if sampler else ()
    check_names(trained.name, choices, needed)
    for name in needed:
        if choices.get(name) is None:
            raise UserError(f"{name} is needed: {trained.name} scores an image and its {name}")
    rows = conditions(trained.info, needed, choices, len(images))
    parts: list[dict[str, np.ndarray]] = []
    for first in range(0, len(images), batch):
        part = [_prepared(x, trained.info) for x in images[first : first + batch]]
        some = {k: x[first : first + batch] for k, x in rows.items()}
        some |= to_program({"image": np.stack(part)}, trained.info.fields)
        key = jax.random.fold_in(jax.random.key(seed), first)
        parts.append(jax.device_get(_score(tuple(values.items()), trained.states, some, key)))
    return {name: np.concatenate([part[name] for part in parts]) for name in values}


def scorers(trained: "TrainedRun") -> dict[str, Callable[[Any, Any, jax.Array], jax.Array]]:
    """(nets, batch, key) -> [n] by name: those of the densities, or else of the energy.  UserError
    where the system has neither."""
    if densities := trained.system.all_of(Density):
        return {density.name: density.log_prob for density in densities}
    lacking = "gives images no likelihood; vae, gaussian and ebm are systems that do"
    return {"energy": trained.ability(Energy, lacking).values}


def _prepared(image, info):
    return to_input(decode(image) if isinstance(image, Path) else image, info)


@functools.partial(jax.jit, static_argnums=0)
def _score(values, states, batch, key):
    return {name: value(bind(states, key), batch, key) for name, value in values}
