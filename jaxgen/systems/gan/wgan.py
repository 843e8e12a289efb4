"""Wasserstein GAN (Arjovsky, Chintala & Bottou, 2017), https://arxiv.org/abs/1701.07875.

A critic f estimates the earth-mover distance between data and samples (Eqs. 2 and 3),

    W(P_r, P_g) = max_{|f|_L <= 1}  E_{x ~ P_r} f(x) - E_{z ~ N(0, I)} f(g(z)),

and the generator g descends the estimate.  f is kept Lipschitz by clipping its weights (Alg. 1).

Deviations.  As Alg. 1 says, and unlike the authors' code, the clipping follows each step rather
than precedes it: the code's generator sees a critic one step outside of the box, and our critic's
very first step starts outside.  The code's signs are both the other way round: the same game.
As in the code every step draws its own z, and moves g's running statistics, the critic's too.
"""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.latents import normal
from jaxgen.losses.adversarial import wasserstein as gan_loss
from jaxgen.systems.gan import plain
from jaxgen.train.abilities import DiscriminatorScores, Sampler
from jaxgen.train.game import Player, System, Turn
from jaxgen.train.optim import clip_weights, rmsprop

LATENT = 100


def authors_schedule(few: int = 5, many: int = 100, first: int = 25, again: int = 500):
    """Critic steps by round: the code trains the critic well early, and again now and then."""
    return lambda round: many if round < first or round % again == 0 else few


prior = normal(LATENT)


def wgan(
    generator: nn.Module,
    critic: nn.Module,
    shape: tuple[int, int, int],
    lr: float = 5e-5,
    clip: float = 0.01,
    critic_steps: int | Callable[[int], int] = 5,
    augment: plain.Augmentation = plain.NONE,
) -> System:
    """DCGAN's networks without the sigmoid, or those of Sec. 4.3, on images of `shape` [H, W, C].

    critic_steps: a round; `authors_schedule()` is the released code's.
    augment: what the critic is shown.
    """
    scores = plain.scores(prior, augment, "critic")

    def critic_loss(nets, batch, key):
        on_real, on_fake = scores(nets, batch, key)
        metrics = {"distance": on_real.mean() - on_fake.mean()}
        metrics |= augment.adapt(nets, on_real, on_fake)
        return gan_loss.discriminator(on_real, on_fake), metrics

    generator_loss = plain.generator_loss(gan_loss, prior, augment, "critic")
    clipped = optax.chain(rmsprop(lr), clip_weights(clip))
    return System(
        players={
            "generator": Player(generator, [(2, LATENT)], rmsprop(lr)),
            "critic": Player(critic, [jnp.zeros((2, *shape))], clipped),
            **augment.players,
        },
        turns=(
            Turn(("critic",), critic_loss, times=critic_steps),
            Turn(("generator",), generator_loss, reuse="batch"),
        ),
        abilities=(Sampler(prior), DiscriminatorScores(scores, log_odds=False)),
    )
