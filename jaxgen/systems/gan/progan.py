"""Progressive growing of GANs (Karras et al., 2018), https://arxiv.org/abs/1710.10196.

Generator and critic start at 4x4 pixels. Each stage doubles the size: the new layers are faded in,
fade = 0 to 1, and the images of the data with them (Fig. 2). At every size the game is WGAN-GP's
with a drift term (Appendix A.1),

    L = E_z f(g(z)) - E_x f(x) + lambda E (|grad f(x^)| - c)^2 / c^2 + 0.001 E f(x)^2,

with x^ uniform on the line between a datum and a sample; g descends -E f(g(z)). The slope of f is
held to c = 1 (750 for CIFAR).

A stage's data and what it makes are resized as `growing` says.

Deviations. The convolutions follow an enlargement and precede a mean over squares, as the paper
says; the authors' code by default fuses the two, which in the critic takes the mean before the
nonlinearity. A size's fade and what follows it are one stage, in which the optimizers go on.
"""

import jax
import optax
from flax import linen as nn

from jaxgen.latents import normal
from jaxgen.losses.adversarial import wasserstein as gan_loss
from jaxgen.losses.penalties import drift
from jaxgen.losses.penalties import wgan_gp as slope_penalty
from jaxgen.systems.gan.growing import Growth
from jaxgen.train.abilities import DiscriminatorScores, Sampler
from jaxgen.train.game import Player, System, Turn

DRIFT = 0.001


def progan(
    generator: nn.Module,
    critic: nn.Module,
    shape: tuple[int, int, int],
    size: int,
    fade_rounds: int,
    optimizer: optax.GradientTransformation,
    latent: int = 512,
    penalty: float = 10.0,
    target: float = 1.0,
    ema: float = 0.999,
) -> System:
    """One stage, at `size` pixels, on data of `shape` [H, W, C]: networks of `models.progan`.

    fade_rounds: in how many of its rounds the new level is faded in; 0 where there is none.
    penalty: lambda.  target: c.  ema: of the generator's weights, by round.
    """
    growth = Growth(shape, size, fade_rounds)
    fade, prior = growth.fade, normal(latent)

    def fake_images(nets, key, n):
        return nets.generator(prior(key, n), fade(nets))

    def scores(nets, batch, key):
        """Scores of real and of as many generated images, both as they are faded now."""
        real = growth.seen(nets, batch["image"])
        fake = fake_images(nets, key, len(real))
        return nets.critic(real, fade(nets)), nets.critic(fake, fade(nets))

    def critic_loss(nets, batch, key):
        key_z, key_line = jax.random.split(key)
        real = growth.seen(nets, batch["image"])
        fake = fake_images(nets, key_z, len(real))
        f = lambda x: nets.critic.still(x, fade(nets))
        on_real, on_fake = f(real), f(fake)
        slope = slope_penalty(f, real, fake, key_line, target) / target**2
        metrics = {"distance": on_real.mean() - on_fake.mean(), "penalty": slope}
        loss = gan_loss.discriminator(on_real, on_fake) + penalty * slope + DRIFT * drift(on_real)
        return loss, metrics

    def generator_loss(nets, batch, key):
        fake = fake_images(nets, key, len(batch["image"]))
        return gan_loss.generator(nets.critic(fake, fade(nets))), {}

    def generate(nets, z, condition, key):
        return growth.shown(nets.generator(z, fade(nets))).clip(-1, 1)

    return System(
        players={
            "generator": Player(generator, [(4, latent)], optimizer, ema=ema),
            "critic": Player(critic, [(4, size, size, shape[2])], optimizer),
        },
        turns=(
            Turn(("critic",), critic_loss),
            Turn(("generator",), generator_loss, reuse="batch"),
        ),
        abilities=(Sampler(prior, generate), DiscriminatorScores(scores, log_odds=False)),
    )
