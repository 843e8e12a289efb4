"""StyleGAN (Karras et al., 2019), https://arxiv.org/abs/1812.04948.

A mapping f turns latents z into styles w, a synthesis g turns styles, one a layer, and noise into
an image. G = g(f(z)) and D play the non-saturating logistic game with a penalty on D's slope (R1),

    D:  E softplus(D(G(z))) + E softplus(-D(x)) + gamma/2 E ||grad_x D(x)||^2
    G:  E softplus(-D(G(z)))

while they grow from 8x8 pixels, a stage for each size (`growing`). For 9/10 of the minibatches the
styles of two latents are mixed: one's before a random layer, the other's from it on (Sec. 3.1). In
use styles can be drawn towards their mean, w' = w_mean + psi (w - w_mean) (Appendix B), in the
eight coarsest layers, up to 32 pixels, as in the authors' code.

Deviations. The convolutions of all sizes are fused with the change of size, which computes the same
(the authors' code does so from 128 pixels on, with the kernel turned). A size's fade and what
follows it are one stage, in which the optimizers go on. A trained generator is used with its fixed
maps of noise; the authors' figures and scores draw them anew, as `noise="random"` does.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.latents import normal
from jaxgen.losses.adversarial import non_saturating as gan_loss
from jaxgen.losses.penalties import r1
from jaxgen.models.stylegan2 import crossover
from jaxgen.systems.gan.growing import Growth
from jaxgen.systems.gan.stylegan2 import TRUNCATION
from jaxgen.train.abilities import DiscriminatorScores, LatentSpace, Option, Sampler, StyleMixer
from jaxgen.train.game import Player, System, Turn, counts

OPTIONS = {
    "truncation": TRUNCATION,
    "truncated_layers": Option(
        8, "Layers, from the coarsest, whose styles truncation draws to the mean", low=0
    ),
    "noise": Option(
        "fixed",
        "Noise of the layers: maps that are fixed, random (drawn anew) or off; coarse or fine: "
        "fixed ones in the coarser half of the levels only, or in the finer",
        choices=("fixed", "random", "off", "coarse", "fine"),
    ),
}


def stylegan(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    size: int,
    fade_rounds: int,
    optimizer: optax.GradientTransformation,
    latent: int = 512,
    gamma: float = 10.0,
    mixing: float = 0.9,
    ema: float | Callable = 0.999,
) -> System:
    """One stage, at `size` pixels, on data of `shape` [H, W, C]: networks of `models.stylegan`.

    fade_rounds: in how many of its rounds the new level is faded in; 0 where there is none.
    gamma: of R1.  mixing: the share of minibatches.  ema: of the generator's weights, by round.
    """
    growth = Growth(shape, size, fade_rounds)
    fade, prior, layers = growth.fade, normal(latent), generator.layers

    def fake_images(nets, key, n):
        key_z, key_other, key_at = jax.random.split(key, 3)
        other = (prior(key_other, n), crossover(key_at, layers, mixing)) if counts(mixing) else ()
        ws = nets.generator(prior(key_z, n), *other, method="styles")
        return nets.generator(ws, method="synthesise", fade=fade(nets))

    def scores(nets, batch, key):
        """Logits of real and of as many generated images, both as they are faded now."""
        real = growth.seen(nets, batch["image"])
        fake = fake_images(nets, key, len(real))
        return nets.discriminator(real, fade(nets)), nets.discriminator(fake, fade(nets))

    def discriminator_loss(nets, batch, key):
        on_real, on_fake = scores(nets, batch, key)
        f = lambda x: nets.discriminator.still(x, fade(nets))
        penalty = r1(f, growth.seen(nets, batch["image"]), gamma)
        return gan_loss.discriminator(on_real, on_fake) + penalty, {"penalty": penalty}

    def generator_loss(nets, batch, key):
        fake = fake_images(nets, key, len(batch["image"]))
        return gan_loss.generator(nets.discriminator(fake, fade(nets))), {}

    def mix(nets, a, b, layer, truncation=1.0, truncated_layers=8, noise="fixed"):
        cut = {"psi": truncation, "truncated": truncated_layers, "train": False}
        ws = nets.generator(a, b, layer, method="styles", **cut)
        fixed, off = ("fixed",), ("off",)
        coarse = layers // 4 * 2  # two a level
        maps = {
            "coarse": coarse * fixed + (layers - coarse) * off,
            "fine": coarse * off + (layers - coarse) * fixed,
        }.get(noise, noise)
        images = nets.generator(ws, method="synthesise", noise=maps, fade=fade(nets))
        return growth.shown(images).clip(-1, 1)

    def generate(nets, z, condition, key, **options):
        return mix(nets, z, None, 0, **options)

    def points(nets, key, n):
        return nets.generator(prior(key, n), method="styles", train=False)[:, 0]

    def maps_of(nets):
        """The fixed maps of noise; none where they change nothing."""
        return nets.generator.collections["noise"] if counts(generator.noise_rate) else {}

    def at_points(nets, w, maps):
        ws = jnp.broadcast_to(w[:, None], (len(w), layers, w.shape[-1]))
        here = {"method": "synthesise", "noise": "fixed", "collections": {"noise": maps}}
        return growth.shown(nets.generator.still(ws, fade=fade(nets), **here))

    return System(
        players={
            "generator": Player(generator, [(4, latent)], optimizer, ema),
            "discriminator": Player(discriminator, [(4, size, size, shape[2])], optimizer),
        },
        turns=(
            Turn(("discriminator",), discriminator_loss),
            Turn(("generator",), generator_loss, reuse="batch"),
        ),
        abilities=(
            Sampler(prior, generate, options=OPTIONS),
            StyleMixer(mix, layers),
            LatentSpace(points, at_points, maps_of),
            DiscriminatorScores(scores),
        ),
    )
