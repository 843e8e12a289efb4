"""Single images scored by a trained run: their log-likelihoods, or their energies."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxgen.data.images import decode, to_input
from jaxgen.data.source import digest, to_program
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
    seed: of the noise, where the system draws any: each image has its own, by its content, whatever
      the others are.
    batch: images at a time.
    choices: the conditions that the system was trained with, such as label=3: one value, or one for
      each image.

    UserError for a system that gives images no likelihood, for an image that cannot be read, for a
    condition that is lacking, and for a score that is not a number.
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
        keys = noise_keys(seed, part)
        parts.append(jax.device_get(_score(tuple(values.items()), trained.states, some, keys)))
    found = {name: np.concatenate([part[name] for part in parts]) for name in values}
    for name, x in found.items():
        for i in np.flatnonzero(np.isnan(x)):
            which = images[i] if isinstance(images[i], Path) else f"image {i + 1}"
            raise UserError(
                f"{which}: its {name} is not a number; use another round of {trained.name}"
            )
    return found


def scorers(trained: "TrainedRun") -> dict[str, Callable[[Any, Any, jax.Array], jax.Array]]:
    """(nets, batch, key) -> [n] by name: those of the densities, or else of the energy.  UserError
    where the system has neither."""
    if densities := trained.system.all_of(Density):
        return {density.name: density.log_prob for density in densities}
    lacking = (
        "gives images no likelihood; gaussian, vae, pixelcnn, realnvp and ebm are systems that do"
    )
    return {"energy": trained.ability(Energy, lacking).values}


def _prepared(image, info):
    return to_input(decode(image) if isinstance(image, Path) else image, info)


def noise_keys(seed: int, images: Sequence[np.ndarray]) -> jax.Array:
    """A key for each of n images, [n], which depends on the seed and its content alone."""
    numbers = [int(digest(np.ascontiguousarray(x).tobytes()), 16) % 2**32 for x in images]
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    return fold(jax.random.key(seed), np.array(numbers, np.uint32))


def one_by_one(
    values: Callable[[Any, Any, jax.Array], Mapping[str, jax.Array]], states, batch, keys
) -> dict[str, jax.Array]:
    """{name: [n, ...]} of `values` (nets, batch, key) -> {name: [b, ...]} for n examples, each of
    which is a batch of its own, with its own of the keys [n]: it knows nothing of the others."""

    def one(example, key):
        found = values(bind(states, key), jax.tree.map(lambda x: x[None], example), key)
        return {name: x[0] for name, x in found.items()}

    return jax.vmap(one)(batch, keys)


@functools.partial(jax.jit, static_argnums=0)
def _score(values, states, batch, keys):
    every = lambda *args: {name: value(*args) for name, value in values}
    return one_by_one(every, states, batch, keys)
