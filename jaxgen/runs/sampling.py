"""Images from a trained run's noise: samples, walks from latent to latent, mixed styles.

All take the conditions of the run's sampler (see `jaxgen.runs.choices.condition`), each one value
or several that are taken in turn, and its options: `label=3, truncation=0.7`.  What the sampler
does not take is a UserError, and so is a system without one.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.data.images import to_input
from jaxgen.data.source import to_float
from jaxgen.errors import UserError
from jaxgen.latents import lerp
from jaxgen.pictures import as_uint8
from jaxgen.progress import progress
from jaxgen.runs.choices import check_names, conditions, values
from jaxgen.solids import TURN, views
from jaxgen.train.abilities import Autoencoder, Sampler, StyleMixer, Translator
from jaxgen.train.nets import averaged, bind

if TYPE_CHECKING:
    from jaxgen.runs.trained import TrainedRun

NO_STYLES = "has no styles to mix; stylegan is a system that has"


def samples(
    trained: "TrainedRun", n: int, *, seed: int = 0, batch: int = 64, **choices
) -> Iterator[np.ndarray]:
    """`n` generated images, uint8 [b, H, W, C], b <= batch at a time.

    choices: conditions and options; labels are the classes in turn unless they are given.

    Sample i depends on the seed, i and its condition: neither on n nor, but for float rounding, on
    `batch`, unless its network looks at the whole batch or draws noise besides the latents.
    """
    sampler = checked_sampler(trained, choices)
    _counted(n=n, batch=batch)
    key_latent, *keys = _keys(seed)
    whole = -(-n // batch) * batch  # so that the last chunk, too, has the company it would have
    latents = jax.jit(sampler.prior, static_argnums=1)(key_latent, whole)
    rows = latents, conditions(trained.info, sampler.condition, choices, whole)
    return _chunks(_generator(trained, sampler, choices), rows, n, batch, keys)


def variants(
    trained: "TrainedRun", n: int, name: str, values: Sequence[Any], **options
) -> np.ndarray:
    """The `n` images of `samples` with each of several values of the sampler's option `name`, uint8
    [n, values, H, W, C]; `options` are those of `samples`."""
    each = (samples(trained, n, **{**options, name: value}) for value in values)
    return np.stack([np.concatenate(list(images)) for images in each], axis=1)


def noise_detail(
    trained: "TrainedRun", n: int, draws: int = 100, *, seed: int = 0, batch: int = 64, **choices
) -> tuple[np.ndarray, np.ndarray]:
    """The `n` images of `samples` made again and again from the same latents, with other noise: the
    first three draws of each, uint8 [n, 3, H, W, C], and the deviation of its brightness over all
    `draws` [n, H, W], of 255 grey levels (Karras et al., 2019, Fig. 4).

    UserError where the images do not depend on noise besides the latents.
    """
    sampler = checked_sampler(trained, choices)
    _counted(n=n, batch=batch)
    if draws < 3:
        raise UserError(f"draws are 3 or more, not {draws}")
    key_latent, *keys = _keys(seed)
    latents = jax.jit(sampler.prior, static_argnums=1)(key_latent, -(-n // batch) * batch)
    rows = latents, conditions(trained.info, sampler.condition, choices, len(latents))
    program = _generator(trained, sampler, choices)
    first, total, squares = [], 0, 0
    for i in range(draws):
        others = [jax.random.fold_in(key, i) for key in keys]
        images = np.concatenate(list(_chunks(program, rows, n, batch, others)))
        if i < 3:
            first.append(images)
        brightness = images.sum(axis=-1, dtype=np.int64)  # whole numbers, whose sums are exact
        total, squares = total + brightness, squares + brightness**2
    deviation = np.sqrt(draws * squares - total**2) / draws / images.shape[-1]
    if not deviation.any():
        hint = "; choose random for noise" if "noise" in sampler.options else ""
        raise UserError(f"{trained.name} draws no noise besides the latents{hint}")
    return np.stack(first, axis=1), deviation


def film(trained: "TrainedRun", n: int, frames: int, *, seed: int = 0, **choices) -> np.ndarray:
    """How the `n` images of `samples` come about, from noise, uint8 [frames, n, H, W, C]; the last
    frame is theirs, as one batch.  UserError for a system that makes images at once."""
    sampler = checked_sampler(trained, choices)
    _counted(n=n, frames=frames)
    if sampler.film is None:
        raise UserError(f"{trained.name} makes an image at once, not step by step; ask for samples")
    key_latent, *keys = _keys(seed)
    latents = jax.jit(sampler.prior, static_argnums=1)(key_latent, n)
    rows = latents, conditions(trained.info, sampler.condition, choices, n)
    options = values(sampler.options, choices)
    states = prepared(trained, sampler, options).states
    keys = (jax.random.fold_in(key, 0) for key in keys)
    return as_uint8(_film(sampler.film, frames, options, states, rows, *keys))


def walk(
    trained: "TrainedRun", n: int, frames: int, *, seed: int = 0, batch: int = 64, **choices
) -> Iterator[np.ndarray]:
    """A closed walk through the latents of `n` samples, `frames` frames from each to the next.

    Yields uint8 [b, H, W, C], b <= batch at a time, n * frames in all; frame i * frames is sample
    i, and the last frame is a step away from the first.  The path between two latents is the
    sampler's own.  A label or a text holds until the next latent, attributes go on a straight line.
    """
    sampler = checked_sampler(trained, choices)
    _counted(n=n, frames=frames, batch=batch)
    key_latent, *keys = _keys(seed)
    latents = jax.jit(sampler.prior, static_argnums=1)(key_latent, n)
    condition = conditions(trained.info, sampler.condition, choices, n)
    rows = _way(sampler.interpolate, latents, condition, n, frames)
    return _chunks(_generator(trained, sampler, choices), rows, n * frames, batch, keys)


def passage(
    trained: "TrainedRun", images: Sequence[np.ndarray], frames: int, *, batch: int = 64
) -> Iterator[np.ndarray]:
    """A closed walk through the codes of a user's images, `frames` frames from each to the next, as
    `walk` yields it.

    images: uint8 [H, W, C], two or more, which are cut and resized as the training's were.
    The path between two codes is the sampler's, where the system has one, else a straight line.
    """
    coder = trained.ability(Autoencoder, "has no encoder; a vae has one")
    _counted(frames=frames, batch=batch)
    if (n := len(images)) < 2:
        raise UserError(f"a walk is between 2 images or more, not {n}")
    inputs = np.stack([to_input(image, trained.info, "image") for image in images])
    sampler = trained.system.ability(Sampler)
    path = sampler.interpolate if sampler else lerp
    rows = _way(path, trained.encode(inputs, batch=batch), {}, n, frames)
    decoded = functools.partial(_decode, coder.decode, trained.states)
    return _chunks(decoded, rows, n * frames, batch, _keys(0)[1:])


def plane(
    trained: "TrainedRun", frames: int = 8, *, seed: int = 0, batch: int = 64, **choices
) -> Iterator[np.ndarray]:
    """A square of `frames` x `frames` images between those of four samples, row by row: from the
    first towards the second along a row, towards the third down a column; the fourth is at the far
    corner.

    Yields uint8 [b, H, W, C], b <= batch at a time.  The paths are the sampler's own; all images
    have one condition, the first where several are given.
    """
    sampler = checked_sampler(trained, choices)
    _counted(batch=batch)
    if frames < 2:
        raise UserError(f"frames are 2 or more in each direction, not {frames}")
    key_latent, *keys = _keys(seed)
    corners = jax.jit(sampler.prior, static_argnums=1)(key_latent, 4)

    @jax.jit
    def square(corners):
        first, second, third, fourth = (
            jax.tree.map(lambda x, i=i: x[i], corners) for i in range(4)
        )
        step, t = _step(sampler.interpolate), jnp.linspace(0, 1, frames)
        along = jax.vmap(step, in_axes=(None, None, 0))
        columns = along(first, second, t), along(third, fourth, t)
        rows = jax.vmap(jax.vmap(step, in_axes=(0, 0, None)), in_axes=(None, None, 0))(*columns, t)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)

    one = conditions(trained.info, sampler.condition, choices, 1)
    rows = square(corners), jax.tree.map(lambda x: jnp.repeat(x, frames**2, axis=0), one)
    return _chunks(_generator(trained, sampler, choices), rows, frames**2, batch, keys)


def _step(path):
    """The path between two single latents, which are given to it as batches of one."""

    def step(a, b, t):
        one = path(*jax.tree.map(lambda x: x[None], (a, b)), t)
        return jax.tree.map(lambda x: x[0], one)

    return step


def _way(path, latents, condition, n: int, frames: int):
    """The latents and conditions of a closed walk through `n` of them."""
    step = _step(path)

    def line(a, b, t):
        return (1 - t) * a + t * b if jnp.issubdtype(a.dtype, jnp.floating) else a

    @jax.jit
    def way(latents, condition):
        here, t = jnp.repeat(jnp.arange(n), frames), jnp.tile(jnp.arange(frames) / frames, n)
        ends = lambda x: (x[here], x[(here + 1) % n])
        passed = jax.tree.map(lambda x: jax.vmap(line)(*ends(x), t), condition)
        pairs = jax.tree.transpose(
            jax.tree.structure(latents), jax.tree.structure((0, 0)), jax.tree.map(ends, latents)
        )
        return jax.vmap(step)(*pairs, t), passed

    return way(latents, condition)


def traversal(
    trained: "TrainedRun",
    n: int | None = None,
    frames: int = 16,
    reach: float = 2.0,
    *,
    seed: int = 0,
    batch: int = 64,
    **choices,
) -> Iterator[np.ndarray]:
    """The latent of the first sample, of which one number after the other goes from -reach to
    reach in `frames` steps while the others stay.

    Yields uint8 [b, H, W, C], b <= batch at a time, n * frames in all; `n` numbers, by default the
    first 16.  UserError where the numbers of latents say nothing one by one.
    """
    sampler = checked_sampler(trained, choices)
    if not sampler.traversable:
        raise UserError(
            f"latents of {trained.name} are noise for every pixel, whose numbers say nothing one "
            "by one, so none is traversed; walk between several"
        )
    key_latent, *keys = _keys(seed)
    latent = jax.jit(sampler.prior, static_argnums=1)(key_latent, 1)
    if not hasattr(latent, "ndim") or latent.ndim != 2:
        raise UserError(f"{trained.name} has latents that are no vectors, so none is traversed")
    size = latent.shape[1]
    n = min(size, 16) if n is None else n
    _counted(n=n, frames=frames, batch=batch)
    if n > size:
        raise UserError(f"n is at most {size}, the numbers of a latent, not {n}")
    values = np.linspace(-reach, reach, frames, dtype=np.float32)[:, None]
    latents = jnp.where(np.eye(n, size, dtype=bool)[:, None], values, latent).reshape(-1, size)
    one = conditions(trained.info, sampler.condition, choices, 1)
    rows = latents, jax.tree.map(lambda x: jnp.repeat(x, n * frames, axis=0), one)
    return _chunks(_generator(trained, sampler, choices), rows, n * frames, batch, keys)


def arithmetic(
    trained: "TrainedRun", sums: Sequence[str], *, seed: int = 0, batch: int = 64, **choices
) -> np.ndarray:
    """Images of sums of latents, uint8 [rows, columns, ...]: each row shows the terms of one sum,
    and last the sum itself; where it has fewer terms than others, empty images stand before it.

    sums: of the samples' numbers, from 0, such as 3-7+12.  Of several with commas the mean is
      taken first: 1,2-4,5+7.  The sum has the conditions of its first sample.
    """
    sampler = checked_sampler(trained, choices)
    terms = [_terms(text) for text in sums]
    columns = max(len(row) for row in terms) + 1
    n = 1 + max(i for row in terms for _, who in row for i in who)
    key_latent, *keys = _keys(seed)
    latents = jax.jit(sampler.prior, static_argnums=1)(key_latent, -(-n // batch) * batch)
    if not all(jnp.issubdtype(z.dtype, jnp.floating) for z in jax.tree.leaves(latents)):
        raise UserError(f"latents of {trained.name} are no real numbers, and have no sums")
    weights = np.zeros((len(terms), columns, len(jax.tree.leaves(latents)[0])), np.float32)
    first, blank = np.zeros(weights.shape[:2], int), np.ones(weights.shape[:2], bool)
    for i, row in enumerate(terms):
        for j, (sign, who) in enumerate(row):
            np.add.at(weights[i, j], list(who), 1 / len(who))
            weights[i, -1] += sign * weights[i, j]
            first[i, j] = who[0]
        first[i, -1] = first[i, 0]
        blank[i, [*range(len(row)), -1]] = False
    add = lambda z: jnp.tensordot(weights.reshape(-1, weights.shape[-1]), z, 1)
    condition = conditions(trained.info, sampler.condition, choices, len(weights[0, 0]))
    rows = jax.tree.map(add, latents), jax.tree.map(lambda x: x[first.ravel()], condition)
    program = _generator(trained, sampler, choices)
    images = np.concatenate(list(_chunks(program, rows, first.size, batch, keys)))
    images = images.reshape(*first.shape, *images.shape[1:])
    images[blank] = 0 if sampler.of == "voxels" else 255
    return images


NUMBERED = 100_000  # samples that arithmetic can name: all up to the last are drawn


def _terms(text: str) -> list[tuple[int, tuple[int, ...]]]:
    """(1 or -1, numbers) of each term.  UserError."""
    if not re.fullmatch(r"\d+(,\d+)*([+-]\d+(,\d+)*)*", text):
        raise UserError(f"arithmetic is written like 3-7+12 or 1,2-4,5+7, not {text!r}")
    found = re.findall(r"([+-]?)([\d,]+)", text)
    terms = [(-1 if sign == "-" else 1, tuple(map(int, who.split(",")))) for sign, who in found]
    if (most := max(i for _, who in terms for i in who)) >= NUMBERED:
        raise UserError(f"arithmetic takes samples of numbers below {NUMBERED}, not {most}")
    return terms


def shown(trained: "TrainedRun", images: np.ndarray, turn: float = TURN) -> np.ndarray:
    """What a run has made [n, ...] as pictures, uint8 [n, H, W, C]: images as they are, of voxels
    the surface as it is seen from `turn` degrees to the right of the front."""
    sampler = trained.system.ability(Sampler)
    if sampler is None or sampler.of != "voxels":
        return images
    return as_uint8(views(to_float(images), turn))


def turned(trained: "TrainedRun", shapes: np.ndarray, sides: int) -> Iterator[np.ndarray]:
    """Pictures uint8 [n, H, W, 1] of voxels uint8 [n, D, H, W] from so many sides, which go all
    around them.  UserError where the run makes images."""
    if trained.ability(Sampler, "makes no images from noise").of != "voxels":
        raise UserError(f"views are of voxels, and {trained.name} makes images; leave them out")
    for i in range(sides):
        yield shown(trained, shapes, TURN + 360 * i / sides)


def mixes(
    trained: "TrainedRun",
    rows: int,
    columns: int,
    layer: int | None = None,
    *,
    seed: int = 0,
    batch: int = 64,
    **options,
) -> np.ndarray:
    """A grid of mixed styles row by row, uint8 [(rows + 1) * (columns + 1), H, W, C]: coarse styles
    of the samples at its left, fine ones of those above (Karras et al., 2019, Fig. 3).  Its corner
    is white.

    layer: number of layers, from the coarsest, with the coarse styles; by default half of them.
    options: those of the sampler.
    """
    _counted(rows=rows, columns=columns, batch=batch)
    mixer = trained.ability(StyleMixer, NO_STYLES)
    if mixer.layers < 2:
        raise UserError(f"{trained.name} {NO_STYLES}")
    layer = mixer.layers // 2 if layer is None else layer
    if not 1 <= layer < mixer.layers:
        raise UserError(f"layer is from 1 to {mixer.layers - 1}, not {layer}")
    sampler = checked_sampler(trained, options, conditions=False)
    key_latent, *keys = _keys(seed)
    latents = jax.jit(sampler.prior, static_argnums=1)(key_latent, rows + columns)
    coarse, fine = range(rows), range(rows, rows + columns)
    # A sample mixed with itself is the sample, so that one program makes the borders, too.
    pairs = [(0, 0), *((j, j) for j in fine)]  # the corner, to be painted over, is some sample
    for i in coarse:
        pairs += [(i, i), *((i, j) for j in fine)]
    chosen = tuple(jax.tree.map(lambda x, who=who: x[who], latents) for who in np.array(pairs).T)
    chosen_options = values(sampler.options, options)
    mix = functools.partial(_mix, mixer.mix, layer, chosen_options, trained.states)
    cells = np.concatenate(list(_chunks(mix, chosen, len(pairs), min(batch, len(pairs)), keys)))
    cells[0] = 255
    return cells


def _counted(**numbers: int) -> None:
    """UserError that names the first of `numbers` below 1."""
    for name, number in numbers.items():
        if number < 1:
            raise UserError(f"{name} is at least 1, not {number}")


def checked_sampler(
    trained: "TrainedRun", choices: Mapping[str, Any], conditions: bool = True, options: bool = True
) -> Sampler:
    """The run's sampler.  UserError where there is none, or for choices that it does not take."""
    translates = any(trained.system.ability(kind) for kind in (Translator, Autoencoder))
    hint = "; translate makes some of images" if translates else ""
    sampler = trained.ability(Sampler, f"makes no images from noise{hint}")
    known = (*sampler.condition * conditions, *(sampler.options if options else ()))
    check_names(trained.name, choices, known)
    return sampler


def latent_key(seed: int) -> jax.Array:
    """The key by which the latents of `samples` are drawn."""
    return _keys(seed)[0]


def _keys(seed):
    """The keys of the latents, of the networks and of other noise."""
    key, key_latent, key_noise = jax.random.split(jax.random.key(seed), 3)
    return key_latent, key, key_noise


def prepared(
    trained: "TrainedRun", sampler: Sampler, options: tuple[tuple[str, Any], ...]
) -> "TrainedRun":
    """The run with what its sampler estimates once for images with these options (`values`)."""
    if sampler.prepare is None:
        return trained
    found = _prepare(sampler.prepare, options, trained.states)
    states = {name: averaged(state).replace(ema=None) for name, state in trained.states.items()}
    for name, new in found.items():
        old = states[name]
        states[name] = old.replace(collections={**old.collections, **new})
    return dataclasses.replace(trained, states=states)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _prepare(prepare, options, states):
    key, key_nets = jax.random.split(jax.random.key(0))
    return prepare(bind(states, key_nets), key, **dict(options))


def _generator(trained, sampler, choices):
    options = values(sampler.options, choices)
    states = prepared(trained, sampler, options).states
    return functools.partial(_generate, sampler.generate, options, states)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _generate(generate, options, states, rows, key, key_noise):
    return generate(bind(states, key), *rows, key_noise, **dict(options))


@functools.partial(jax.jit, static_argnums=0)
def _decode(decode, states, rows, key, _):
    return decode(bind(states, key), rows[0])


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _film(film, frames, options, states, rows, key, key_noise):
    return film(bind(states, key), *rows, key_noise, frames, **dict(options))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _mix(mix, layer, options, states, rows, key, _):
    return mix(bind(states, key), *rows, layer, **dict(options))


def _chunks(program: Callable, rows: Any, n: int, batch: int, keys) -> Iterator[np.ndarray]:
    """What `program` (rows, *keys) -> images gives for the first `n` rows, uint8 [b, H, W, C],
    b <= batch at a time."""
    rows = jax.device_get(rows)
    many = len(jax.tree.leaves(rows)[0])
    with progress(total=n, unit="image", disable=n <= batch) as bar:
        for first in range(0, n, batch):
            # Every chunk is whole, so that one program serves.
            chosen = (first + np.arange(batch)) % many
            chunk = jax.tree.map(lambda x: x[chosen], rows)  # noqa: B023
            images = program(chunk, *(jax.random.fold_in(key, first) for key in keys))
            images = as_uint8(images)[: n - first]
            bar.update(len(images))
            yield images
