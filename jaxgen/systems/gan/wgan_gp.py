"""WGAN with gradient penalty (Gulrajani et al., 2017), https://arxiv.org/abs/1704.00028.

The critic of a Wasserstein GAN is kept 1-Lipschitz by a penalty on its slope (Eq. 3),

    L = E_z f(g(z)) - E_x f(x) + lambda E (|grad f(x^)|_2 - 1)^2,

with x^ uniform on the line between a datum and a sample.  The critic has no batch normalisation, as
the penalty is on each example's own slope.

Deviations.  None from Alg. 1, whose numbers (lambda 10, n_critic 5, Adam 1e-4 with betas 0 and 0.9)
differ from script to script in the authors' code, so they are arguments.  Of the code's CIFAR run
two things are left out: noise of 1/128 on the data, and twice as many samples in a generator step.
"""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.latents import normal
from jaxgen.losses.adversarial import wasserstein as gan_loss
from jaxgen.losses.penalties import wgan_gp as slope_penalty
from jaxgen.systems.gan import plain
from jaxgen.train.abilities import DiscriminatorScores, Sampler
from jaxgen.train.game import Player, System, Turn

LATENT = 128


prior = normal(LATENT)
scores = plain.scores(prior, "critic")


def wgan_gp(
    generator: nn.Module,
    critic: nn.Module,
    shape: tuple[int, int, int],
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    penalty: float = 10.0,
    target: float = 1.0,
    critic_steps: int = 5,
) -> System:
    """Networks of `models.wgan_gp` on images of `shape` [H, W, C].

    penalty: lambda.  target: the slope that the critic is held to, per unit of the images; for the
    paper's MNIST, in [0, 1], that is 1/2 per unit of [-1, 1], and the penalty 4 lambda.
    """

    def critic_loss(nets, batch, key):
        real = batch["image"]  # [b, H, W, C] in [-1, 1]
        key_z, key_line = jax.random.split(key)
        fake = nets.generator(prior(key_z, len(real)))
        on_real, on_fake = nets.critic(real), nets.critic(fake)
        slope = slope_penalty(nets.critic.still, real, fake, key_line, target)
        metrics = {"distance": on_real.mean() - on_fake.mean(), "penalty": slope}
        return gan_loss.discriminator(on_real, on_fake) + penalty * slope, metrics

    def generator_loss(nets, batch, key):
        fake = nets.generator(prior(key, len(batch["image"])))
        return gan_loss.generator(nets.critic(fake)), {}

    return System(
        players={
            "generator": Player(generator, [(2, LATENT)], generator_optimizer),
            "critic": Player(critic, [jnp.zeros((2, *shape))], critic_optimizer),
        },
        turns=(
            Turn(("critic",), critic_loss, times=critic_steps),
            Turn(("generator",), generator_loss, reuse="batch"),
        ),
        abilities=(Sampler(prior), DiscriminatorScores(scores, log_odds=False)),
    )
