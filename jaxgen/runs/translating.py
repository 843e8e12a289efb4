"""Images translated by a trained run: enlarged, restored, painted anew, reconstructed."""

import dataclasses
import functools
from typing import TYPE_CHECKING

import jax
import numpy as np
from PIL import Image

from jaxgen.data.images import RESAMPLE, to_input, to_pil, with_channels
from jaxgen.data.source import DataInfo, Field, to_program
from jaxgen.errors import UserError, memory_is_full
from jaxgen.pictures import as_uint8
from jaxgen.runs import tiling
from jaxgen.runs.choices import check_names, kind, of_one_image, values
from jaxgen.train.abilities import SET, Autoencoder, Sampler, Translator
from jaxgen.train.nets import bind

if TYPE_CHECKING:
    from jaxgen.runs.trained import TrainedRun

MAPS = ("mask", "classes")  # one channel, never blurred
FLAT = ("label", "attributes", "text", SET)  # no pictures
ROWS = 256  # of an image that are computed with at a time, for floats need four times the memory


def translate(
    trained: "TrainedRun",
    image: np.ndarray,
    *,
    direction: str | None = None,
    size: int | None = None,
    tile: int | None = None,
    seed: int = 0,
    **choices,
) -> np.ndarray:
    """The translation, uint8 [H', W', C'], of an image uint8 [H, W, C].

    direction: which way, where the system has several; by default the first.
    size: pixels of the longer side to which the image is resized first, and with it those further
      inputs that are as large as the image.
    tile: pixels of the longest side of the overlapping tiles in which a large image is translated;
      smaller ones need less memory.  By default an image that needs more than a GiB has tiles that
      need as much.  The result is the whole image's up to rounding.
    seed: of the noise, where the system draws any.
    choices: further inputs by name, such as style=painting, and options, such as steps=100.

    Inputs are padded by reflection to the sides that the system takes; one that takes images of one
    size cuts and resizes them as its training did.  Each shape is compiled once.

    A transparent image lies on white, as in training, unless the system knows of transparency
    itself.  Its alpha, resized bicubically, becomes the translation's (C' is 4) and the white is
    taken out again: laid on white, the translation is what the system makes.

    UserError for what the system does not take, or lacks, and for a full memory.
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
    inputs = {name: _padded(trained.info, way, name, x) for name, x in inputs.items()}
    options, key = values(way.options, choices), jax.random.key(seed)
    try:
        made = _translated(trained, way, options, inputs, key, tile)
    except Exception as error:
        if not memory_is_full(error):
            raise
        full = "the device's memory is full"
        line = f"size has to be smaller: {full}, and {trained.name} translates whole images only"
        if way.reach is not None:
            line = f"tile has to be smaller: {full}"
        if not way.any_size:
            line = f"{full}, and {trained.name} takes one size only; use a device that has more"
        raise UserError(line) from error
    made = made[: height * way.scale, : width * way.scale]
    transparent = image.shape[-1] == 4 and trained.info.shape[-1] != 4
    if not transparent or _kind(trained.info, first) != "image" or made.shape[-1] not in (1, 3):
        return made
    info = dataclasses.replace(trained.info, shape=(*trained.info.shape[:-1], 4))
    return _with_alpha(made, _input(info, way, first, image, size)[..., 3])


def translator(trained: "TrainedRun", direction: str | None = None) -> Translator:
    """The run's translator of that direction, by default its first; an autoencoder's direction is
    `reconstruction`.  UserError."""
    ways = {way.name: way for way in trained.system.all_of(Translator)}
    if coder := trained.system.ability(Autoencoder):
        ways["reconstruction"] = _reconstruction(coder)
    if not ways:
        hint = "; sample makes some" if trained.system.ability(Sampler) else ""
        raise UserError(f"{trained.name} makes no images from images{hint}{trained.unfinished}")
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
    known = kind(info, name)
    return known if known in (*MAPS, *FLAT) else "image"


def _translated(trained, way, options, inputs, key, tile):
    """uint8 [scale * H, scale * W, C'] of inputs whose sides the system takes."""
    batch = functools.partial(_batch, trained.info)

    def needed():
        """Bytes for the whole image at once; what is compiled here is used below."""
        shapes = jax.eval_shape(batch, inputs)
        lowered = _translate.lower(way.translate, options, trained.states, shapes, key)
        known = lowered.compile().memory_analysis()
        return known.temp_size_in_bytes if known else 0

    sides = inputs[way.inputs[0]].shape[:2]
    if tile := tiling.side(way, trained.name, sides, needed, tile):
        return tiling.translate(way, options, trained.states, inputs, batch, key, tile)
    return as_uint8(_translate(way.translate, options, trained.states, batch(inputs), key))[0]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _translate(translate, options, states, inputs, key):
    return translate(bind(states, key), inputs, key, **dict(options))


def _input(info, way, name, value, size):
    """An array of what the user gives: a picture uint8 [H, W, C], or a condition's row."""
    what = _kind(info, name)
    if what in FLAT:
        return of_one_image(info, name, value)[0]
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


def _padded(info, way, name, x):
    """The input with sides that the system takes."""
    if _kind(info, name) in FLAT:
        return x
    more = [(0, -side % way.multiple) for side in x.shape[:2]]
    return np.pad(x, (*more, (0, 0)), "symmetric")


def _batch(info, inputs):
    """The inputs as losses see them, a batch of one."""
    fields = {name: Field(_kind(info, name)) for name in inputs}
    return to_program({name: x[None] for name, x in inputs.items()}, fields)


def _with_alpha(image, alpha):
    """RGBA uint8 [H, W, 4] which, laid on white, is the image [H, W, 1|3], as far as the alpha
    [h, w] leaves room; that is resized.  Where it is 0 the image's colours stay."""
    height, width = image.shape[:2]
    whole = Image.fromarray(alpha).resize((width, height), RESAMPLE["bicubic"])
    made = np.empty((height, width, 4), np.uint8)
    made[..., 3] = whole
    for top in range(0, height, ROWS):
        rows = slice(top, top + ROWS)
        share = np.float32(made[rows, :, 3:]) / 255
        colour = (image[rows] - 255 * (1 - share)) / np.maximum(share, 1 / 255)
        made[rows, :, :3] = np.where(share > 0, colour.round().clip(0, 255), image[rows])
    return made
