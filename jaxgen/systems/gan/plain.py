"""What the plain GANs share: what the discriminator is shown, its scores, the generator's loss."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen import draw, parallel
from jaxgen.latents import Prior
from jaxgen.losses.adversarial import GANLoss
from jaxgen.train.game import Player, counts


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """(nets, images, key) -> T(images) + noise N(0, I), which the discriminator is shown in place
    of real and of generated images, in its own turn and in the generator's, with other draws each
    time.

    operations: (images, p, key) -> T(images), such as `nn.diffaugment` or `nn.ada` have; None
      leaves the images as they are.
    ada: an `nn.ada.Controller`, which keeps p; without it p is 1.
    noise: deviation of the instance noise in the first round (Sønderby et al., 2017,
      https://arxiv.org/abs/1610.04490, Sec. 3.3; images are in [-1, 1]).
    noise_rounds: rounds in which it falls linearly to 0; 0 keeps it.
    """

    operations: Callable[[jax.Array, Any, jax.Array], jax.Array] | None = None
    ada: nn.Module | None = None
    noise: float = 0.0
    noise_rounds: int = 0

    def __call__(self, nets, images: jax.Array, key: jax.Array) -> jax.Array:
        key_t, key_noise = jax.random.split(key)
        if self.operations:
            images = self.operations(images, nets.ada() if self.ada else 1.0, key_t)
        if counts(self.noise):
            # the generator has learned once a round
            over = nets.generator.step / self.noise_rounds if self.noise_rounds else 0.0
            grain = draw.normal(key_noise, len(images), images.shape[1:])
            images = images + self.noise * jnp.maximum(1 - over, 0.0) * grain
        return images

    def keys(self, key: jax.Array):
        """Keys of the latents and of what is shown of real and of generated images, and of the
        latter in the generator's turn. Where nothing is drawn but latents, theirs is `key`."""
        return jax.random.split(key, 4) if self.operations or counts(self.noise) else (key,) * 4

    def adapt(self, nets, on_real: jax.Array, on_fake: jax.Array | None = None):
        """Tells ADA the scores of real images; returns metrics.

        on_fake: of a critic, whose scores have no zero: it is taken half way between the means.
        """
        if not self.ada:
            return {}
        zero = 0.0 if on_fake is None else parallel.mean(on_real.mean() + on_fake.mean()) / 2
        return {"p": nets.ada(on_real - zero)}

    @property
    def players(self) -> dict[str, Player]:
        return {"ada": Player(self.ada, [])} if self.ada else {}


NONE = Augmentation()


def scores(
    prior: Prior,
    augment: Augmentation = NONE,
    discriminator: str = "discriminator",
    *,
    again: bool = False,
    of: str = "image",
) -> Callable:
    """(nets, batch, key) -> (D(x), D(G(z))), of the batch's images [b, H, W, C] in [-1, 1] and of
    as many generated ones; in two passes, so that each has its own batch statistics.

    again: G learns from the same images next (`reuse="batch+noise"`). They are one pass of G, whose
      running statistics its own turn moves.
    of: the batch field that D judges, and G makes.
    """

    def both(nets, batch, key):
        key_z, key_real, key_fake, _ = augment.keys(key)
        d, real = getattr(nets, discriminator), batch[of]
        g = nets.generator.still if again else nets.generator
        fake = g(prior(key_z, len(real)))
        return d(augment(nets, real, key_real)), d(augment(nets, fake, key_fake))

    return both


def generator_loss(
    gan_loss: GANLoss,
    prior: Prior,
    augment: Augmentation = NONE,
    discriminator: str = "discriminator",
) -> Callable:
    """The loss of a generator's turn: what `gan_loss` says of D(G(z))."""

    def loss(nets, batch, key):
        key_z, *_, key_fake = augment.keys(key)
        fake = nets.generator(prior(key_z, len(batch["image"])))
        return gan_loss.generator(getattr(nets, discriminator)(augment(nets, fake, key_fake))), {}

    return loss
