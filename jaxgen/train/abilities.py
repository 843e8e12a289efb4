"""What a trained system is good for: its abilities, each a record of pure functions.

A command or a metric asks a system for an ability by its type (`system.ability(Sampler)`).  In all
of them `nets` are the players as `jaxgen.train.nets.bind` gives them, images are float32
[n, H, W, C] in [-1, 1], and keys are JAX's.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.latents import slerp

SET = "set"


@dataclasses.dataclass(frozen=True)
class Option:
    """A number or a choice that a user may set when a trained system is used; a flag of commands.

    default: the value that is used otherwise; its type is the option's, None stands for a number
      that is not set.
    low, high: the ends of its range.
    choices: the words that it can be; empty where it is a number.
    curve: its values along a curve of scores over it, such as that over a truncation.
    """

    default: Any
    help: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    curve: tuple[float, ...] = ()


def _generator(nets, z, condition, key):
    return nets.generator(z, train=False)


@dataclasses.dataclass(frozen=True)
class Sampler:
    """From noise to images (`sample`, `interpolate`, and all scores of sets of images).

    prior: (key, n) -> latents, a tree of arrays [n, ...].
    generate: (nets, latents, condition, key, **options) -> images; by default those of the player
      `generator`.
    interpolate: (a, b, t) -> the latents at t in [0, 1] on the path from a to b.
    condition: the names of the batch fields that `generate` is given as `condition[name]`, such as
      label (int32 [n]), text (int32 [n, L]) or attributes (float32 [n, A]).
    options: what else `generate` takes, by name.
    film: (nets, latents, condition, key, frames, **options) -> [frames, n, H, W, C], how the images
      come about; None where they are made at once.
    prepare: (nets, key, **options) -> {player: collections}, what is estimated once before images
      are made with these options, such as the statistics of norms.
    differentiable: whether images have gradients by their latents, by which the latent of a user's
      image is searched for (`project`).
    traversable: whether the numbers of a latent say something one by one (`traverse`); those of
      noise for every pixel do not.
    of: the batch field that the images are like.  Of `voxels` they are [n, D, H, W] in [-1, 1],
      filled above 0, and are shown as surfaces.
    """

    prior: Callable[[jax.Array, int], Any]
    generate: Callable[..., jax.Array] = _generator
    interpolate: Callable[[Any, Any, Any], Any] = slerp
    condition: tuple[str, ...] = ()
    options: Mapping[str, Option] = dataclasses.field(default_factory=dict)
    film: Callable[..., jax.Array] | None = None
    prepare: Callable[..., Mapping[str, Mapping[str, Any]]] | None = None
    differentiable: bool = True
    traversable: bool = True
    of: str = "image"


@dataclasses.dataclass(frozen=True)
class Translator:
    """From images to an image (`translate`, and all scores of pairs of images).

    translate: (nets, inputs, key, **options) -> images [n, scale * H, scale * W, C'].
    pair: batch -> (inputs, ground truth), by which held-out examples are scored.
    inputs: the names of the inputs [n, H, W, C]; the first is the image that is translated.  One of
      the name `SET` is float32 [n, A], what is asked of each of the data's attributes, and NaN of
      one that stays.
    name: which way, where a system has several, such as a-to-b.
    multiple: the sides of an input are multiples of it.
    any_size: whether inputs may be larger or smaller than the images of the training.
    reach: the pixels of the input on every side that a pixel of the image depends on, so that a
      large image can be translated in tiles, along with further inputs of its size; None where it
      depends on all of them, or on noise.  Moments over the whole image that `BatchNorm` and
      `InstanceNorm` take do not count.
    """

    translate: Callable[..., jax.Array]
    pair: Callable[[Any], tuple[Mapping[str, jax.Array], jax.Array]]
    inputs: tuple[str, ...] = ("image",)
    name: str = ""
    multiple: int = 1
    scale: int = 1
    any_size: bool = True
    reach: int | None = None
    options: Mapping[str, Option] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Autoencoder:
    """Codes of images, and images of codes (`translate` reconstructs by it).

    encode: (nets, images) -> codes [n, ...].
    decode: (nets, codes) -> images.
    posterior: (nets, images) -> (mean, log of the standard deviation) of the codes, [n, k] both,
      where these are random.
    """

    encode: Callable[[Any, jax.Array], jax.Array]
    decode: Callable[[Any, jax.Array], jax.Array]
    posterior: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]] | None = None


@dataclasses.dataclass(frozen=True)
class Density:
    """How likely examples are.

    log_prob: (nets, batch, key) -> nats an example [n], each by itself: scores give it batches of
      one.
    name: what it is called as a metric.
    exact: whether it is log p itself and no lower bound of it.
    of: what x is, such as binary pixels; likelihoods of different things are not compared.
    likelihood: False for an objective that is written like one and is none, such as that of a
      Bernoulli decoder of grey pixels, whose probabilities do not sum to 1.
    """

    log_prob: Callable[[Any, Any, jax.Array], jax.Array]
    name: str = "log_prob"
    exact: bool = True
    of: str = "grey levels"
    likelihood: bool = True


@dataclasses.dataclass(frozen=True)
class Energy:
    """The energy of examples, -log p up to a constant: low for what is like the data.

    values: (nets, batch, key) -> energies [n], each of an example by itself.
    """

    values: Callable[[Any, Any, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Embedder:
    """Vectors by which examples are compared (`match`, retrieval, zero-shot, linear probe).

    features: (nets, batch) -> [n, d], what a linear probe reads.
    of: the batch field that they are features of.
    image, text: (nets, batch) -> [n, k], in one space, where the cosine of a pair says how well it
      fits.
    scale: nets -> the factor that makes a cosine the logarithm of a probability, up to a constant.
    prompts: texts with {} for the name of a class, whose vector is the mean of theirs.
    """

    features: Callable[[Any, Any], jax.Array]
    image: Callable[[Any, Any], jax.Array] | None = None
    text: Callable[[Any, Any], jax.Array] | None = None
    scale: Callable[[Any], jax.Array] = lambda nets: jnp.float32(1)
    prompts: tuple[str, ...] = ("{}",)
    of: str = "image"


@dataclasses.dataclass(frozen=True)
class StyleMixer:
    """Images with the coarse styles of one latent and the fine styles of another (`mix`).

    mix: (nets, a, b, layer, **options) -> images with the styles of a before that layer, of b from
      it on; the options are the sampler's.
    layers: the number of layers.
    """

    mix: Callable[..., jax.Array]
    layers: int


@dataclasses.dataclass(frozen=True)
class LatentSpace:
    """The space in which a user's image is searched for (`project`), if not the sampler's latents.

    points: (nets, key, n) -> [n, ...], those of the latents that the sampler's prior draws by the
      same key; the search starts from their mean.
    generate: (nets, points, maps) -> images, about in [-1, 1].
    maps: nets -> maps of noise [h, w], a tree of them, empty where there are none; they are
      searched for as well.
    """

    points: Callable[[Any, jax.Array, int], jax.Array]
    generate: Callable[[Any, jax.Array, Any], jax.Array]
    maps: Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class DiscriminatorScores:
    """Scores of real and of generated images, by which a GAN's health is watched.

    scores: (nets, batch, key) -> (scores of the batch's real images, scores of generated ones),
      each [n, ...], higher for what looks more real; computed as in the discriminator's own turn.
    log_odds: whether a score is the logarithm of the odds that an image is real, which can
      saturate; a Wasserstein critic's is not.
    """

    scores: Callable[[Any, Any, jax.Array], tuple[jax.Array, jax.Array]]
    log_odds: bool = True
