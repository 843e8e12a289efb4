"""StyleGAN2 (Karras et al., 2020), https://arxiv.org/abs/1912.04958, with adaptive discriminator
augmentation (ADA; Karras et al., 2020), https://arxiv.org/abs/2006.06676.

A mapping f turns latents z into styles w, a synthesis g turns styles, one a layer, into an image.
G = g(f(z)) and D play the non-saturating logistic game,

    D:  E softplus(-D(T x)) + E softplus(D(T G(z))) + gamma/2 E ||grad_x D(T x)||^2       (R1)
    G:  E softplus(-D(T G(z)))                      + 2 E (||J_w^T y|| - a)^2      (Eq. 4)

with y random images and a the running mean of the lengths. The R1 penalty is evaluated in every
16th round and the path lengths in every 4th, on half a batch, with weights as much larger and
Adam's constants changed to suit (App. B). For 9/10 of the minibatches two latents' styles are mixed
(StyleGAN, Sec. 3.1). T are operations on the image that fire with probability p, which grows where
D overfits: where it is right about too many real images.

Deviations, of the authors' code: the real images of the R1 rounds move p once, not twice; a trained
generator is used with its fixed maps of noise, and judged so.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.errors import UserError
from jaxgen.latents import normal
from jaxgen.losses.adversarial import non_saturating as gan_loss
from jaxgen.losses.penalties import path_length, r1
from jaxgen.models.stylegan2 import crossover
from jaxgen.nn.running import RunningValue
from jaxgen.train.abilities import (
    DiscriminatorScores,
    LatentSpace,
    Option,
    Sampler,
    StyleMixer,
)
from jaxgen.train.game import Player, System, Turn, counts
from jaxgen.train.optim import lazy_adam

R1_EVERY, PATH_EVERY = 16, 4
TRUNCATION = Option(
    1.0,
    "Truncation psi of the styles: 1 the sample's own, 0.7 usual, 0 the mean, -1 the opposite",
    curve=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)


def stylegan2(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    latent: int = 512,
    lr: float = 2e-3,
    gamma: float = 10.0,
    path_weight: float = 2.0,
    mixing: float = 0.9,
    ema: float | Callable = 0.999,
    augment: Callable[[jax.Array, Any, jax.Array], jax.Array] = lambda x, p, key: x,
    ada: nn.Module | None = None,
) -> System:
    """Networks of `models.stylegan2` on images of `shape` [H, W, C].

    gamma, path_weight: of the regularisers; 0 leaves one out.  mixing: the share of minibatches.
    augment: (images, p, key) -> T(images).  ada: an `nn.ada.Controller`, which keeps p; without it
      p is 1.
    """

    prior = normal(latent)

    def styles(nets, key, n):
        key_z, key_other, key_at = jax.random.split(key, 3)
        other = (prior(key_other, n), crossover(key_at, generator.layers, mixing))
        return nets.generator(prior(key_z, n), *(other if counts(mixing) else ()), method="styles")

    def fake_images(nets, key, n):
        return nets.generator(styles(nets, key, n), method="synthesise")

    def augmented(nets, images, key):
        return augment(images, nets.ada() if ada else 1.0, key)

    def generator_loss(nets, batch, key):
        key_w, key_t = jax.random.split(key)
        fake = fake_images(nets, key_w, len(batch["image"]))
        return gan_loss.generator(nets.discriminator(augmented(nets, fake, key_t))), {}

    def path_loss(nets, batch, key):
        key_w, key_y = jax.random.split(key)
        n = len(batch["image"])
        if n % 2:  # half of each share would not be half of the batch
            raise UserError(f"{n} images a device cannot be halved; use another batch size")
        ws = styles(nets, key_w, n // 2)
        g = lambda ws: nets.generator.still(ws, method="synthesise")
        penalty, mean = path_length(g, ws, key_y, nets.path())
        nets.path(mean)
        return PATH_EVERY * path_weight * penalty, {"length": mean}

    def scores(nets, batch, key):
        """Logits of real and of as many generated images, all augmented."""
        key_w, key_real, key_fake = jax.random.split(key, 3)
        real = batch["image"]
        fake = fake_images(nets, key_w, len(real))
        seen = augmented(nets, real, key_real), augmented(nets, fake, key_fake)
        return tuple(map(nets.discriminator, seen))

    def discriminator_loss(nets, batch, key):
        on_real, on_fake = scores(nets, batch, key)
        metrics = {"sign": jnp.sign(on_real).mean()}
        if ada:
            metrics["p"] = nets.ada(on_real)
        return gan_loss.discriminator(on_real, on_fake), metrics

    def r1_loss(nets, batch, key):
        p = nets.ada() if ada else 1.0
        f = lambda x: nets.discriminator.still(augment(x, p, key))
        return R1_EVERY * r1(f, batch["image"], gamma), {}

    def mix(nets, a, b, layer, truncation=1.0):
        images = nets.generator(a, b, layer, psi=truncation, noise="fixed", train=False)
        return images.clip(-1, 1)

    def generate(nets, z, condition, key, truncation=1.0):
        return mix(nets, z, None, 0, truncation)

    def points(nets, key, n):
        return nets.generator(prior(key, n), method="styles", train=False)[:, 0]

    def maps_of(nets):
        """The fixed maps of noise; none where they change nothing."""
        return nets.generator.collections["noise"] if counts(generator.noise_rate) else {}

    def at_points(nets, w, maps):
        ws = jnp.broadcast_to(w[:, None], (len(w), generator.layers, w.shape[-1]))
        here = {"method": "synthesise", "noise": "fixed", "collections": {"noise": maps}}
        return nets.generator.still(ws, **here)

    of_generator = lazy_adam(lr, PATH_EVERY if counts(path_weight) else 0)
    of_discriminator = lazy_adam(lr, R1_EVERY if counts(gamma) else 0)
    players = {
        "generator": Player(generator, [(2, latent)], of_generator, ema),
        "discriminator": Player(discriminator, [(4, *shape)], of_discriminator),
    }
    again = {"reuse": "batch"}
    turns = [Turn(("generator",), generator_loss)]
    if counts(path_weight):
        players["path"] = Player(RunningValue(), [])
        turns.append(Turn(("generator",), path_loss, every=PATH_EVERY, name="path", **again))
    turns.append(Turn(("discriminator",), discriminator_loss, **again))
    if counts(gamma):
        turns.append(Turn(("discriminator",), r1_loss, every=R1_EVERY, name="r1", **again))
    if ada:
        players["ada"] = Player(ada, [])
    return System(
        players=players,
        turns=tuple(turns),
        abilities=(
            Sampler(prior, generate, options={"truncation": TRUNCATION}),
            StyleMixer(mix, generator.layers),
            LatentSpace(points, at_points, maps_of),
            DiscriminatorScores(scores),
        ),
    )
