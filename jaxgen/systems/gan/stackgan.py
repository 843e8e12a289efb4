"""StackGAN (Zhang, Xu, Li, Zhang, Wang, Huang & Metaxas, 2017), https://arxiv.org/abs/1612.03242.

Text to photo-realistic image synthesis with stacked generative adversarial networks. The text t of
an image has the vector phi_t of a frozen encoder. Stage I paints small images s_0 = G_0(z, c_0),
Stage II makes large ones of them, G(s_0, c). Either stage has a condition of its own, drawn from a
Gaussian about the text (conditioning augmentation),

    c = mu(phi_t) + sigma(phi_t) eps,    eps ~ N(0, I),

which keeps near the standard one, and a matching-aware discriminator: that an image is real is not
enough, it is to fit the text (Eqs. 3 and 4; for Stage II, Eqs. 5 and 6, with s_0 for z):

    max_D  E log D(x, phi_t) + (E log(1 - D(x, phi_t')) + E log(1 - D(G(z, c), phi_t))) / 2,
    max_G  E log D(G(z, c), phi_t) - lambda KL(N(mu, sigma^2) || N(0, I)),

with t' another image's text. The KL is a mean over dimensions and lambda is 2, as in the authors'
code.

Deviations. eps is Gaussian as in the paper, in the code a truncated one. The code pairs a text with
another's image; here, as in the paper, an image has another's text. phi_t is of a transformer, such
as CLIP's, in the paper of a char-CNN-RNN. An image has one text in a minibatch, in the code the
mean of four. Stage II is given images of Stage I's averaged weights, if there are any, and running
statistics. The paper halves Stage I's 64 pixels twice, to 16 x 16, where the text meets them: of
smaller images Stage II halves fewer, as they would come to 4 x 4 and little would be left of them.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.latents import normal
from jaxgen.losses.adversarial import non_saturating as gan_loss
from jaxgen.losses.likelihood import gaussian_kl
from jaxgen.models.clip import TextTower
from jaxgen.models.stackgan import StageOne, StageTwo
from jaxgen.nn.resample import shrink
from jaxgen.systems.gan import plain
from jaxgen.systems.gan.conditional import mismatched
from jaxgen.train.abilities import DiscriminatorScores, Sampler
from jaxgen.train.game import Player, System, Turn

SCALE = 4  # of Stage II's images beside Stage I's
STRIPS = 24  # examples in a picture
LEGENDS = (
    "Each strip: the image of Stage I, enlarged, the true image of the same text",
    "Each strip: the image of Stage I, enlarged, that of Stage II, the true image of the same text",
)


def matching_aware(on_real, on_wrong, on_fake):
    """D's loss, of logits of real images with their texts, of real ones with other texts, and of
    generated ones with the texts that they were made from."""
    of_both = gan_loss.discriminator(on_real, on_wrong) + gan_loss.discriminator(on_real, on_fake)
    return of_both / 2


def divergence(mu, log_sigma):
    """KL(N(mu, sigma^2) || N(0, I)) in nats, the mean over examples and dimensions."""
    return gaussian_kl(mu, 2 * log_sigma).mean() / mu.shape[1]


def stackgan(
    text: TextTower,
    generators: Sequence[StageOne | StageTwo],
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    latent: int,
    optimizers: Sequence[optax.GradientTransformation],
    kl: float = 2.0,
    ema: float | None = None,
    pretrained: Callable[[], Mapping[str, Any]] | None = None,
    noise: float = 0.0,
) -> System:
    """A stage for images of `shape` [H, W, C]; those of Stage I have a quarter of the sides.

    text: the frozen encoder; its weights are those of a stage before, or `pretrained`.
    generators: Stage I's; for Stage II it, which holds still, and Stage II's own.
    latent: numbers of z.  kl: lambda.  ema: decay of the generator's averaged weights.
    optimizers: the generator's and the discriminator's.
    noise: deviation of the noise on all images that the discriminator sees.
    """
    augment = plain.Augmentation(noise=noise)
    stage = len(generators)
    names = [f"generator_{i}" for i in range(1, stage + 1)]
    mine, judge = names[-1], f"discriminator_{stage}"
    noises = [generator.condition for generator in generators]
    ends = [latent + sum(noises[:i]) for i in range(stage)]
    prior = normal(latent + sum(noises))

    def real(batch):
        return shrink(batch["image"], SCALE) if stage == 1 else batch["image"]

    def paint(nets, latents, told, train=False):
        """Images [b, h, w, c] of each stage, and mu and log sigma of the last one's condition."""
        z, *eps = jnp.split(latents, ends, axis=1)
        images, moments = [z], []
        for name, noise in zip(names, eps, strict=True):
            learns = train and name == mine
            x, *moments = getattr(nets, name)(images[-1], told, noise, train=learns)
            images.append(x)
        return images[1:], moments

    def play(nets, batch, key):
        """The texts' vectors, generated images, and the moments of their condition."""
        told = nets.text(batch["text"])
        images, moments = paint(nets, prior(key, len(told)), told, train=True)
        return told, images[-1], moments

    def scores(nets, batch, key):
        key_made, key_real, key_fake, _ = augment.keys(key)
        told, fake, _ = play(nets, batch, key_made)
        d = getattr(nets, judge)
        return d(augment(nets, real(batch), key_real), told), d(augment(nets, fake, key_fake), told)

    def discriminator_loss(nets, batch, key):
        key_made, key_real, key_fake, _ = augment.keys(key)
        told, fake, _ = play(nets, batch, key_made)
        others = mismatched(batch["text"], key_made, told)
        d, true = getattr(nets, judge), augment(nets, real(batch), key_real)
        on_real, on_wrong = d(true, told), d(true, others)
        on_fake = d(augment(nets, fake, key_fake), told)
        about = {
            "accuracy": ((on_real > 0).mean() + (on_fake < 0).mean()) / 2,
            "matched": nn.sigmoid(on_real).mean(),
            "mismatched": nn.sigmoid(on_wrong).mean(),
        }
        return matching_aware(on_real, on_wrong, on_fake), about

    def generator_loss(nets, batch, key):
        key_made, *_, key_fake = augment.keys(key)
        told, fake, moments = play(nets, batch, key_made)
        fooling = gan_loss.generator(getattr(nets, judge)(augment(nets, fake, key_fake), told))
        near = divergence(*moments)
        return fooling + kl * near, {"adversarial": fooling, "kl": near}

    def each(nets, latents, condition):
        """Images of each stage, enlarged bicubically to the size of the data's."""
        images, _ = paint(nets, latents, nets.text(condition["text"]))
        return [jax.image.resize(x, (len(x), *shape), "cubic").clip(-1, 1) for x in images]

    def generate(nets, latents, condition, key):
        return each(nets, latents, condition)[-1]

    def show(nets, batch, key):
        few = {name: x[:STRIPS] for name, x in batch.items()}
        made = each(nets, prior(key, len(few["image"])), few)
        return {"samples": jnp.concatenate([*made, few["image"]], axis=2)}

    height, width, channels = shape
    small, told = (2, height // SCALE, width // SCALE, channels), (2, text.embedding)
    tokens = jnp.zeros((2, text.context), jnp.int32)
    players = {"text": Player(text, [tokens], variables=pretrained)}
    for name, module, first in zip(names, generators, [(2, latent), small], strict=False):
        players[name] = Player(module, [first, told, (2, module.condition)])
    players[mine] = dataclasses.replace(players[mine], optimizer=optimizers[0], ema=ema)
    judged = small if stage == 1 else (2, *shape)
    players[judge] = Player(discriminator, [judged, told], optimizers[1])
    return System(
        players=players,
        turns=(
            Turn((judge,), discriminator_loss),
            Turn((mine,), generator_loss, reuse="batch+noise"),
        ),
        show=show,
        legends={"samples": LEGENDS[stage - 1]},
        abilities=(
            Sampler(prior, generate, condition=("text",)),
            DiscriminatorScores(scores),
        ),
    )
