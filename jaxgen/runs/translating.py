"""Images translated by a trained run: enlarged, restored, painted anew, reconstructed."""

import functools
from typing import TYPE_CHECKING

import jax
import numpy as np

from jaxgen.data.images import RESAMPLE, to_input, to_pil, with_channels
from jaxgen.data.source import DataInfo, Field, to_program
from jaxgen.errors import UserError
from jaxgen.pictures import as_uint8
from jaxgen.runs.choices import check_names, condition, values
from jaxgen.train.abilities import Autoencoder, Sampler, Translator
from jaxgen.train.nets import bind

if TYPE_CHECKING:
    from jaxgen.runs.trained import TrainedRun

MAPS = ("mask", "classes")  # one channel, never blurred
FLAT = ("label", "attributes", "text")  # no pictures


def translate(
    trained: "TrainedRun",
    image: np.ndarray,
    *,
    direction: str | None = None,
    size: int | None = None,
    seed: int = 0,
    **choices,
) -> np.ndarray:
    """The translation, uint8 [H', W', C'], of an image uint8 [H, W, C].

    direction: which way, where the system has several; by default the first.
    size: pixels of the longer side to which the image is resized first, and with it those further
      inputs that are as large as the image.
    seed: of the noise, where the system draws any.
    choices: further inputs by name, such as style=painting, and options, such as steps=100.

    Inputs are padded by reflection to the sides that the system takes; one that takes images of one
    size cuts and resizes them as its training did.  Each shape is compiled once.  UserError for
    what the system does not take, or lacks.
    """
    way = translator(trained, direction)
    first, *others = way.inputs
    check_names(trained.name, choices, (*others, *way.options))
    if size and not way.any_size:
        raise UserError(f"size is fixed: {trained.name} takes images of its training's size only")
    inputs = {}
    for name in way.inputs:
        x = image if name == first else choices.get(name)
        resized = size if np.shape(x)[:2] == np.shape(image)[:2] else None
        inputs[name] = _input(trained.info, way, name, x, resized)
    height, width = inputs[first].shape[:2]
    inputs = {name: _batch(trained.info, way, name, x) for name, x in inputs.items()}
    options, key = values(way.options, choices), jax.random.key(seed)
    images = _translate(way.translate, options, trained.states, inputs, key)
    return as_uint8(images)[0, : height * way.scale, : width * way.scale]


def translator(trained: "TrainedRun", direction: str | None = None) -> Translator:
    """The run's translator of that direction, by default its first; an autoencoder's direction is
    `reconstruction`.  UserError."""
    ways = {way.name: way for way in trained.system.all_of(Translator)}
    if coder := trained.system.ability(Autoencoder):
        ways["reconstruction"] = _reconstruction(coder)
    if not ways:
        hint = "; sample makes some" if trained.system.ability(Sampler) else ""
        raise UserError(f"{trained.name} makes no images from images{hint}")
    if direction is None:
        return next(iter(ways.values()))
    if direction not in ways:
        known = " or ".join(filter(None, ways))
        hint = f"is {known}, not" if known else "cannot be chosen here; leave out"
        raise UserError(f"direction {hint} {direction}")
    return ways[direction]


@functools.cache  # one function for one coder, so that it is compiled once
def _reconstruction(coder: Autoencoder) -> Translator:
    """Images encoded and decoded."""

    def translate(nets, inputs, key):
        return coder.decode(nets, coder.encode(nets, inputs["image"]))

    pair = lambda batch: ({"image": batch["image"]}, batch["image"])
    return Translator(translate, pair, name="reconstruction", any_size=False)


def _kind(info: DataInfo, name: str) -> str:
    """The kind of an input of that name: an image, unless it is a field of another kind."""
    known = info.fields[name].kind if name in info.fields else ""
    return known if known in (*MAPS, *FLAT) else "image"


@functools.partial(jax.jit, static_argnums=(0, 1))
def _translate(translate, options, states, inputs, key):
    return translate(bind(states, key), inputs, key, **dict(options))


def _input(info, way, name, value, size):
    """An array of what the user gives: a picture uint8 [H, W, C], or a condition's row."""
    what = _kind(info, name)
    if what in FLAT:
        return condition(info, name, value)[0]
    if value is None:
        raise UserError(f"{name} is needed, and has no default; give an image")
    if not way.any_size:
        return to_input(value, info, what)
    channels = 1 if what in MAPS else info.shape[-1]
    if size or value.shape[-1] != channels:
        picture = with_channels(to_pil(value), channels)
        scale = size / max(picture.size) if size else 1
        sides = [max(1, round(side * scale)) for side in picture.size]
        picture = picture.resize(sides, RESAMPLE["nearest" if what in MAPS else "bicubic"])
        value = np.asarray(picture).reshape(picture.height, picture.width, channels)
    return value


def _batch(info, way, name, x):
    """The input as the system takes it, a batch of one."""
    what = _kind(info, name)
    if what not in FLAT:
        more = [(0, -side % way.multiple) for side in x.shape[:2]]
        x = np.pad(x, (*more, (0, 0)), "symmetric")
    return to_program({name: x[None]}, {name: Field(what)})[name]
