"""Invertible conditional GANs for image editing (Perarnau, van de Weijer, Raducanu & Alvarez,
2016), https://arxiv.org/abs/1611.06355.

A conditional GAN makes images from a latent z and attributes y, each -1 or +1. Its discriminator is
told attributes, too, and learns that another's attributes do not fit:

    max_D  E log D(x, y) + (E log(1 - D(x, y')) + E log(1 - D(G(z, y), y))) / 2,
    max_G  E log D(G(z, y), y),

as the authors' code has it, which is also where y' is from: an example with other attributes. Then
two encoders invert G, the attributes' from images of the data, the latent's from generated ones,
the only ones whose latent is known (Eqs. 3 and 4):

    min E |z - E_z(G(z, y))|^2,    min E |y - E_y(x)|^2.

An image x is edited by G(E_z(x), y), where y has the signs of E_y(x) but for what is asked for.

Deviations, by flag. y' can be y with one attribute, by lot, the other way: then D has to see each
of them, where others' attributes differ in many of which it needs to see one. E_z can learn to
reconstruct images of the data, too, by the mean of |G(E_z(x), y) - x|. What the reconstruction
lacks of the image, x - G(E_z(x), E_y(x)), can be given back to the edited image as its `detail`:
whole where the edit changes nothing, and nothing where it changes half as much as where it changes
most, or more. None of the three is in the paper.

Further deviations. The encoders see new generated images in every minibatch, the authors a set of
182,638 that is made once. What makes these images, averaged weights and statistics where there are
any, makes all others, so that no statistics are estimated anew. What an image is not asked for
stays, also where one attribute excludes another, such as black and blond hair, which the authors
then switch off.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen import draw
from jaxgen.latents import Prior
from jaxgen.losses.adversarial import non_saturating as gan_loss
from jaxgen.systems.gan.conditional import mismatched
from jaxgen.systems.likelihood.pixels import sheet
from jaxgen.train.abilities import (
    SET,
    Autoencoder,
    DiscriminatorScores,
    Option,
    Sampler,
    Translator,
)
from jaxgen.train.game import Player, System, Turn, counts

ROWS = 8  # of a picture
LEGENDS = {
    "edits": "Rows: image, its reconstruction, and with each attribute in turn the other way"
}


def signs(attributes):
    """-1 where an attribute is not there (0, or less), +1 where it is; between 0 and 1 a line."""
    return (2.0 * attributes - 1).clip(-1, 1)


def one_wrong(y, key):
    """y [b, a] with one attribute of each row, by lot, the other way."""
    which = jnp.int32(draw.uniform(key, len(y)) * y.shape[1])
    return jnp.where(jnp.arange(y.shape[1]) == which[:, None], -y, y)


def _sampler(prior):
    def generate(nets, z, condition, key):
        return nets.generator(z, signs(condition["attributes"]), train=False)

    return Sampler(prior, generate, condition=("attributes",))


def _generator(module, latent, count, optimizer, ema):
    return Player(module, [(2, latent), (2, count)], optimizer, ema=ema)


def conditional(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    count: int,
    latent: int,
    prior: Prior,
    optimizers: Sequence[optax.GradientTransformation],
    ema: float | None = None,
    wrong_by_one: bool = False,
) -> System:
    """The conditional GAN, networks of `models.icgan` on images of `shape` [H, W, C] with `count`
    attributes and latents of `latent` numbers.

    optimizers: the generator's and the discriminator's.  ema: decay of G's averaged weights.
    wrong_by_one: whether attributes that do not fit are those that do, but for one, or another's.
    """

    def made(nets, batch, key):
        y = signs(batch["attributes"])
        return nets.generator(prior(key, len(y)), y), y

    def scores(nets, batch, key):
        fake, y = made(nets, batch, key)
        return nets.discriminator(batch["image"], y), nets.discriminator(fake, y)

    def discriminator_loss(nets, batch, key):
        real, (fake, y) = batch["image"], made(nets, batch, key)
        on_real = nets.discriminator(real, y)
        others = one_wrong(y, key) if wrong_by_one else mismatched(y, key)
        on_others = nets.discriminator(real, others)
        on_fake = nets.discriminator(fake, y)
        loss = gan_loss.discriminator(on_real, jnp.stack([on_others, on_fake]))
        accuracy = ((on_real > 0).mean() + (on_fake < 0).mean()) / 2
        return loss, {"accuracy": accuracy, "mismatch": (on_others < 0).mean()}

    def generator_loss(nets, batch, key):
        fake, y = made(nets, batch, key)
        return gan_loss.generator(nets.discriminator(fake, y)), {}

    attributes = (2, count)
    of_generator, of_discriminator = optimizers
    return System(
        players={
            "generator": _generator(generator, latent, count, of_generator, ema),
            "discriminator": Player(discriminator, [(2, *shape), attributes], of_discriminator),
        },
        turns=(
            Turn(("discriminator",), discriminator_loss),
            Turn(("generator",), generator_loss, reuse="batch+noise"),
        ),
        abilities=(_sampler(prior), DiscriminatorScores(scores)),
    )


def icgan(
    generator: nn.Module,
    encoders: tuple[nn.Module, nn.Module],
    shape: tuple[int, int, int],
    count: int,
    latent: int,
    prior: Prior,
    optimizers: Sequence[optax.GradientTransformation],
    reconstruction: float = 0.0,
    detail: float = 0.0,
) -> System:
    """The encoders E_z and E_y of the finished generator.

    reconstruction: weight of the distance of the data's images to their reconstructions.
    detail: the share of what a reconstruction lacks that an edit gives back where it changes
      nothing, if none is chosen.
    The other arguments are those of `conditional`.
    """

    def latent_loss(nets, batch, key):
        y = signs(batch["attributes"])
        z = prior(key, len(y))
        found = nets.encoder_z(nets.generator(z, y, train=False))
        loss = ((found - z) ** 2).mean()
        if not counts(reconstruction):
            return loss, {}
        again = nets.generator(nets.encoder_z(batch["image"]), y, train=False)
        lost = jnp.abs(again - batch["image"]).mean()
        return loss + reconstruction * lost, {"latent": loss, "lost": lost}

    def attributes_loss(nets, batch, key):
        y, found = signs(batch["attributes"]), nets.encoder_y(batch["image"])
        return ((found - y) ** 2).mean(), {"accuracy": (y * found > 0).mean()}

    def inverted(nets, images):
        """Latents and attributes, -1 or +1, of images."""
        y = jnp.where(nets.encoder_y(images, train=False) > 0, 1.0, -1.0)
        return nets.encoder_z(images, train=False), y

    def encode(nets, images):
        return jnp.concatenate(inverted(nets, images), axis=1)

    def decode(nets, codes):
        return nets.generator(codes[:, :latent], codes[:, latent:], train=False)

    def with_detail(edited, x, again, detail):
        """Gives back what the reconstruction lacks, least where the edit changes most."""
        change = jnp.abs(edited - again).mean(-1, keepdims=True)
        much = change.max((1, 2, 3), keepdims=True) / 2
        untouched = 1 - (change / jnp.maximum(much, 1e-6)).clip(max=1)
        return (edited + detail * untouched * (x - again)).clip(-1, 1)

    def edit(nets, inputs, key, detail=detail):
        x = inputs["image"]
        z, y = inverted(nets, x)
        asked = jnp.where(jnp.isnan(inputs[SET]), y, signs(inputs[SET]))
        edited, again = (nets.generator(z, y, train=False) for y in (asked, y))
        return with_detail(edited, x, again, detail)

    def pair(batch):
        truth = batch["edited"]
        before, after = batch["attributes"], batch["edited_attributes"]
        asked = jnp.where(before == after, jnp.nan, after)
        return {"image": batch["image"], SET: asked}, truth

    def show(nets, batch, key):
        x = batch["image"][:ROWS]
        z, y = inverted(nets, x)
        flips = jnp.concatenate([jnp.ones((1, count)), 1 - 2 * jnp.eye(count)])
        each = [nets.generator(z, y * flip, train=False) for flip in flips]
        each[1:] = [with_detail(edited, x, each[0], detail) for edited in each[1:]]
        grid = jnp.stack([x, *each], axis=1).reshape(-1, *shape)
        return {"edits": sheet(grid, columns=len(flips) + 1)}

    given_back = "Share of what the reconstruction lacks that is given back where nothing changes"
    return System(
        players={
            "generator": _generator(generator, latent, count, None, None),
            "encoder_z": Player(encoders[0], [(2, *shape)], optimizers[0]),
            "encoder_y": Player(encoders[1], [(2, *shape)], optimizers[1]),
        },
        turns=(
            Turn(("encoder_z",), latent_loss),
            Turn(("encoder_y",), attributes_loss, reuse="batch"),
        ),
        show=show,
        legends=LEGENDS,
        abilities=(
            Translator(
                edit,
                pair,
                ("image", SET),
                name="edit",
                any_size=False,
                options={"detail": Option(detail, given_back, low=0, high=1)},
            ),
            _sampler(prior),
            Autoencoder(encode, decode),
        ),
    )
