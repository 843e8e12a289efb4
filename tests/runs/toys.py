"""Trained runs of toy size, made without a training."""

import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgen import draw
from jaxgen.data.source import DataInfo, Field
from jaxgen.data.tokens import Tokens
from jaxgen.runs.trained import TrainedRun
from jaxgen.train import devices, nets
from jaxgen.train.abilities import (
    SET,
    Autoencoder,
    Density,
    Energy,
    Option,
    Sampler,
    Translator,
)
from jaxgen.train.checkpoints import Checkpoints
from jaxgen.train.game import Player, System, Turn
from jaxgen.train.run import Run
from tests.experiments import styles, translator

COLOURS = ("red", "green", "blue")
ATTRIBUTES = ("smiling", "old")
IMAGE = Field("image", 3)


def trained(system, info, name="toy"):
    """The system with fresh weights."""
    return TrainedRun(system, nets.init(system, jax.random.key(1)), info, 1, name)


def saved(run, folder, experiment=None, **args):
    """The run in a folder, as a training would have left it; without an experiment it is one that
    was made from Python."""
    record = {"rounds": run.round, **args} | ({"experiment": experiment} if experiment else {})
    states = nets.place(run.states, devices.make_mesh(jax.devices()[:1]))
    with Run(folder, record, {}, run.info.to_json()):
        checkpoints = Checkpoints(folder / "checkpoints")
        checkpoints.save(run.round, states, {}, wait=True)
        checkpoints.close()
    return folder


def styled():
    info = DataInfo((16, 16, 3), {"image": IMAGE})
    return trained(styles.system(None, info), info, "styles")


def paired(any_size=True, shape=(16, 16, 3)):
    info = DataInfo(shape, {"a": IMAGE, "b": IMAGE})
    args = types.SimpleNamespace(any_size=any_size)
    return trained(translator.system(args, info), info, "translator")


class Paint(nn.Module):
    """x, times a number that is learned."""

    @nn.compact
    def __call__(self, x):
        return x * self.param("gain", nn.initializers.ones, ())


def conditional_system(info):
    """Images [4, 4, 3] of which each row says one thing: the latent, the label and the shade, the
    number of tokens, the attributes; the last channel of the first row is noise from the key."""

    def generate(nets, z, condition, key, shade=0.5, flat=False):
        n = len(z)
        noise = draw.uniform(key, n, (4,), -1, 1)
        first = jnp.stack([z, z, jnp.zeros((n, 4)) if flat else noise], axis=-1)
        label = shade * nn.one_hot(condition["label"], 3)
        words = (condition["text"] > 0).sum(1) / 16
        attributes = jnp.pad(condition["attributes"], [(0, 0), (0, 1)])
        rows = [label, jnp.repeat(words[:, None], 3, 1), attributes]
        flat_rows = [jnp.repeat(row[:, None, :], 4, 1) for row in rows]
        return nets.g(jnp.stack([first, *flat_rows], axis=1))

    def loss(nets, batch, key):
        return (nets.g(batch["image"]) ** 2).mean(), {}

    def prior(key, n):
        return draw.uniform(key, n, (4,), -1, 1)

    options = {"shade": Option(0.5, "Shade of the label"), "flat": Option(False, "Without noise")}
    names = ("label", "text", "attributes")
    return System(
        players={"g": Player(Paint(), [(1, 4, 4, 3)], optax.sgd(1e-6))},
        turns=(Turn(("g",), loss),),
        abilities=(Sampler(prior, generate, condition=names, options=options),),
    )


CONDITIONS = DataInfo(
    (4, 4, 3),
    {
        **{"image": IMAGE, "label": Field("label"), "text": Field("text")},
        **{"attributes": Field("attributes"), "caption": Field("caption")},
    },
    COLOURS,
    ATTRIBUTES,
    Tokens((), 16),
)


def conditional():
    return trained(conditional_system(CONDITIONS), CONDITIONS, "conditional")


def scoring_system(info, ability=None):
    """log p is the brightest value [0, 255] of an image, its bound their mean, and that an
    objective, too, which is no likelihood; or the energy is minus their mean.  A film goes from
    black to white."""

    def loss(nets, batch, key):
        return (nets.g(batch["image"]) ** 2).mean(), {}

    levels = lambda nets, batch: nets.g((batch["image"] + 1) * 127.5).reshape(-1, 48)
    brightest = lambda nets, batch, key: levels(nets, batch).max(1)
    mean = lambda nets, batch, key: levels(nets, batch).mean(1)
    minus = lambda nets, batch, key: -mean(nets, batch, key)

    def film(nets, z, condition, key, frames):
        return jnp.linspace(-1, 1, frames)[:, None, None, None, None] * jnp.ones((len(z), 4, 4, 3))

    def generate(nets, z, condition, key):
        return film(nets, z, condition, key, 2)[-1]

    densities = (
        Density(brightest, "log_prob"),
        Density(mean, "bound", exact=False, of="levels"),
        Density(mean, "odd", exact=False, of="shades", likelihood=False),
    )
    abilities = (Energy(minus),) if ability == "energy" else densities
    return System(
        players={"g": Player(Paint(), [(1, 4, 4, 3)], optax.sgd(1e-6))},
        turns=(Turn(("g",), loss),),
        abilities=(
            Sampler(lambda key, n: draw.normal(key, n, (1,)), generate, film=film),
            *abilities,
        ),
    )


def energy_system(info):
    return scoring_system(info, "energy")


def scoring(system=scoring_system, name="scoring"):
    info = DataInfo((4, 4, 3), {"image": IMAGE})
    return trained(system(info), info, name)


def painting_system(info):
    """A translator with a further picture, a mask and an option; the mask says where the style's
    mean colour is put on."""

    def paint(nets, inputs, key, strength=1.0):
        colour = inputs["style"].mean((1, 2), keepdims=True)
        share = strength * inputs["mask"]
        return (1 - share) * inputs["image"] + share * colour

    def loss(nets, batch, key):
        return (nets.g(batch["image"]) ** 2).mean(), {}

    return System(
        players={"g": Player(Paint(), [(1, 4, 4, 3)], optax.sgd(1e-6))},
        turns=(Turn(("g",), loss),),
        show=lambda nets, batch, key: {"image": batch["image"]},
        abilities=(
            Translator(
                paint,
                lambda batch: (batch, batch["image"]),
                inputs=("image", "mask", "style"),
                multiple=4,
                options={"strength": Option(1.0, "Strength of the style")},
            ),
        ),
    )


def stylist():
    # `style` is an entry of the batch as well, but no picture
    fields = {"image": IMAGE, "mask": Field("mask"), "style": Field("array")}
    info = DataInfo((8, 8, 3), fields)
    return trained(painting_system(info), info, "stylist")


def editing_system(info):
    """A translator that is told attributes: channel i is as bright as attribute i, if asked."""

    def edit(nets, inputs, key):
        asked = jnp.pad(inputs[SET], [(0, 0), (0, 1)], constant_values=jnp.nan)[:, None, None]
        return jnp.where(jnp.isnan(asked), nets.g(inputs["image"]), asked)

    def pair(batch):
        return {"image": batch["image"], SET: batch["edited_attributes"]}, batch["edited"]

    return System(
        players={"g": Player(Paint(), [(1, 4, 4, 3)], optax.sgd(1e-6))},
        turns=(Turn(("g",), lambda nets, batch, key: ((nets.g(batch["image"]) ** 2).mean(), {})),),
        show=lambda nets, batch, key: {"image": batch["image"]},
        abilities=(Translator(edit, pair, ("image", SET), any_size=False),),
    )


def editor():
    fields = {"image": IMAGE, "attributes": Field("attributes")}
    info = DataInfo((4, 4, 3), fields, attribute_names=ATTRIBUTES)
    return trained(editing_system(info), info, "editor")


def coding_system(info):
    """An autoencoder whose codes are the means of squares of 2 x 2 pixels."""
    code = lambda nets, x: nets.g(x.reshape(len(x), 4, 2, 4, 2, 3).mean((2, 4)))
    decode = lambda nets, z: z.repeat(2, axis=1).repeat(2, axis=2)
    return System(
        players={"g": Player(Paint(), [(1, 4, 4, 3)])},
        turns=(Turn((), lambda nets, batch, key: (0.0, {})),),
        show=lambda nets, batch, key: batch,
        abilities=(Autoencoder(code, decode),),
    )


def coder():
    info = DataInfo((8, 8, 3), {"image": IMAGE})
    return trained(coding_system(info), info, "coder")
