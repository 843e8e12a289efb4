"""LAPGAN (Denton et al., 2015), https://arxiv.org/abs/1506.05751.

Deep generative image models using a Laplacian pyramid of adversarial networks. A pyramid has the
coarsest image I_K and, of each finer level, what the coarser image lacks, enlarged,

    h_k = I_k - u(I_(k+1)),  I_(k+1) = d(I_k),  and back  I_k = u(I_(k+1)) + h_k.  (Eqs. 3 and 4)

Each level has a game of its own (Alg. 1), with real coarse images, so that none waits for another:

    min_G max_D  E log D(h_k, u(I_(k+1))) + E log(1 - D(G(z_k, u(I_(k+1))), u(I_(k+1)))),

G by its non-saturating form; the coarsest level has a plain GAN of images. In sampling the coarse
images are those of the level before (Eq. 5). All networks may be told the image's label.

The paper leaves its filters open: d takes the mean over each larger pixel's area, u is bilinear.

Deviations. Pixels are standardised, each by its mean and deviation in 1,000 training images, at the
coarsest level alone, in the code at every one. u keeps the centres of pixels in place, Torch's the
corners. Real and generated differences are of the same images, in the code of others, and its G
learns from twice as many.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxgen.latents import lerp, uniform
from jaxgen.losses.adversarial import non_saturating as gan_loss
from jaxgen.train.abilities import DiscriminatorScores, Sampler
from jaxgen.train.game import Player, System, Turn

LATENT = 100
STRIPS = 24  # examples in a picture
LEGENDS = {"levels": "Each strip: an image from the coarsest level to this one"}


def down(x: jax.Array, side: int) -> jax.Array:
    """Images [b, h, h, c] with sides of `side` pixels, each the mean over its area."""
    ends, pixel = np.arange(side + 1) * len(x[0]) / side, np.arange(len(x[0]))
    shared = np.minimum(ends[1:, None], pixel + 1) - np.maximum(ends[:-1, None], pixel)
    weights = np.float32(shared.clip(0) * side / len(x[0]))
    return jnp.einsum("ih,bhwc,jw->bijc", weights, x, weights, precision="highest")


def up(x: jax.Array, side: int) -> jax.Array:
    """Images [b, h, h, c] enlarged bilinearly to sides of `side` pixels."""
    return jax.image.resize(x, (len(x), side, side, x.shape[-1]), "bilinear")


def build(images: jax.Array, sides: Sequence[int]) -> list[jax.Array]:
    """The pyramid of images [b, h, h, c], with h the last of `sides`: the coarsest image, then the
    differences of each finer level."""
    differences = []
    for side in sides[-2::-1]:
        coarse = down(images, side)
        differences.append(images - up(coarse, images.shape[1]))
        images = coarse
    return [images, *reversed(differences)]


def collapse(pyramid: Sequence[jax.Array]) -> jax.Array:
    """The images that a pyramid is of."""
    return functools.reduce(lambda coarse, h: up(coarse, h.shape[1]) + h, pyramid)


def lapgan(
    generators: Sequence[nn.Module],
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    sides: Sequence[int],
    optimizers: Sequence[optax.GradientTransformation],
    labels: bool = False,
    ema: float | None = None,
) -> System:
    """A level of the pyramid of images of `shape` [H, H, C]: networks of `models.lapgan`.

    generators: that of this level is the last; the others, of all coarser levels, hold still. They
      are those of the stages before, and only samples need them.
    sides: those of all levels, the coarsest first, up to H.
    optimizers: of the generator and of the discriminator.
    labels: whether the networks are told the images' labels.
    ema: decay of the generator's averaged weights, by round.
    """
    levels = range(len(generators))
    level, noises = levels[-1], [LATENT, *(side**2 for side in sides[1:])]
    names = [f"generator_{side}" for side in sides]
    mine, judge = names[level], f"discriminator_{sides[level]}"
    prior = uniform(sum(noises[: level + 1]))

    def given(k, coarse, fields):
        """What both players of level k are given: the coarse images, enlarged, and the labels."""
        enlarged = [up(coarse, sides[k])] if k else []
        return enlarged + ([fields["label"]] if labels else [])

    def play(nets, batch, key):
        """What is real at this level, what is generated, and what the players are given."""
        *coarser, real = build(batch["image"], sides)[: level + 1]
        told = given(level, coarser and collapse(coarser), batch)
        z = uniform(noises[level])(key, len(real))
        return real, getattr(nets, mine)(z, *told), told

    def scores(nets, batch, key):
        real, fake, told = play(nets, batch, key)
        d = getattr(nets, judge)
        return d(real, *told), d(fake, *told)

    def discriminator_loss(nets, batch, key):
        on_real, on_fake = scores(nets, batch, key)
        accuracy = ((on_real > 0).mean() + (on_fake < 0).mean()) / 2
        loss = gan_loss.discriminator(on_real, on_fake) / 2  # the code's mean of the two terms
        return loss, {"accuracy": accuracy}

    def generator_loss(nets, batch, key):
        _, fake, told = play(nets, batch, key)
        return gan_loss.generator(getattr(nets, judge)(fake, *told)), {}

    def images(nets, z, condition):
        """Those of all levels so far, each made from the one before."""
        made, ends = [], np.cumsum(noises)
        for k, noise in enumerate(jnp.split(z, ends[:level], axis=1)):
            told = given(k, made and made[-1], condition)
            x = getattr(nets, names[k])(noise, *told, train=False)
            made.append(told[0] + x if k else x)
        return made

    def generate(nets, z, condition, key):
        return up(images(nets, z, condition)[-1], shape[0]).clip(-1, 1)

    def film(nets, z, condition, key, frames):
        blocks = lambda x: jax.image.resize(x, (len(x), *shape), "nearest").clip(-1, 1)
        shown = jnp.stack([blocks(x) for x in images(nets, z, condition)])
        return shown[np.linspace(0, level, frames).round().astype(int)]

    def show(nets, batch, key):
        """Samples; and some of them level by level."""
        z = prior(key, len(batch["image"]))
        few = {name: x[:STRIPS] for name, x in batch.items()}
        strips = jnp.concatenate(film(nets, z[:STRIPS], few, key, level + 1), axis=2)
        return {"samples": generate(nets, z, batch, key), "levels": strips}

    def inputs(k, *first):
        """What a player of level k is made with, `first` or differences; the coarsest level's start
        from images of the training."""
        square, label = (2, sides[k], sides[k], shape[2]), [jnp.zeros(2, jnp.int32)] * labels
        if k:
            return [*(first or [square]), square, *label]
        start = [*(first or [square]), *(label or [None])]
        return lambda examples: [*start, build(examples(1000)["image"], sides)[0]]

    players = {names[k]: Player(generators[k], inputs(k, (2, noises[k]))) for k in levels}
    players[mine] = dataclasses.replace(players[mine], optimizer=optimizers[0], ema=ema)
    players[judge] = Player(discriminator, inputs(level), optimizers[1])
    return System(
        players=players,
        turns=(Turn((judge,), discriminator_loss), Turn((mine,), generator_loss)),
        show=show,
        legends=LEGENDS,
        abilities=(
            Sampler(prior, generate, lerp, ("label",) if labels else (), film=film),
            DiscriminatorScores(scores),
        ),
    )
