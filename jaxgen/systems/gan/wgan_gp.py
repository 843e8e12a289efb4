"""WGAN with gradient penalty (Gulrajani et al., 2017), https://arxiv.org/abs/1704.00028.

The critic of a Wasserstein GAN is kept 1-Lipschitz by a penalty on its slope (Eq. 3),

    L = E_z f(g(z)) - E_x f(x) + lambda E (|grad f(x^)|_2 - 1)^2,

with x^ uniform on the line between a datum and a sample.  The critic has no batch normalisation, as
the penalty is on each example's own slope.

The supervised critic also reads the label, as AC-GAN's does (Odena et al., 2017),
https://arxiv.org/abs/1610.09585: it descends the cross-entropy of what it reads off data, and g a
tenth of that of what it reads off samples, which are made from a label.

Deviations.  None from Alg. 1, whose numbers (lambda 10, n_critic 5, Adam 1e-4 with betas 0 and 0.9)
differ from script to script in the authors' code, so they are arguments.  Of the code's CIFAR run
two things are left out: noise of 1/128 on the data, and twice as many samples in a generator step.
In that step a sample's label is that of an example, where the code draws one uniformly.
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
READING = 0.1  # weight of g's cross-entropy
prior = normal(LATENT)


def wgan_gp(
    generator: nn.Module,
    critic: nn.Module,
    shape: tuple[int, int, int],
    generator_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    penalty: float = 10.0,
    target: float = 1.0,
    critic_steps: int = 5,
    labels: bool = False,
    augment: plain.Augmentation = plain.NONE,
) -> System:
    """Networks of `models.wgan_gp` on images of `shape` [H, W, C].

    penalty: lambda.  target: the slope that the critic is held to, per unit of the images; for the
    paper's MNIST, in [0, 1], that is 1/2 per unit of [-1, 1], and the penalty 4 lambda.
    labels: the generator is told labels, and the critic gives logits of them, too.
    augment: what the critic is shown; x and g(z) above are what it makes of them.
    """

    def label(batch):
        return (batch["label"],) if labels else ()

    def judged(critic, images, batch):
        """The scores [b], and the cross-entropy of the labels, if they are read."""
        if not labels:
            return critic(images), 0.0
        score, logits = critic(images)
        read = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        return score, read.mean()

    def both(nets, batch, key):
        """Real and generated images, as the critic is shown them."""
        key_z, key_real, key_fake, _ = augment.keys(key)
        fake = nets.generator(prior(key_z, len(batch["image"])), *label(batch))
        return augment(nets, batch["image"], key_real), augment(nets, fake, key_fake)

    def scores(nets, batch, key):
        return tuple(judged(nets.critic, images, batch)[0] for images in both(nets, batch, key))

    def critic_loss(nets, batch, key):
        key_images, key_line = jax.random.split(key)
        real, fake = both(nets, batch, key_images)  # [b, H, W, C]
        (on_real, read), (on_fake, _) = (judged(nets.critic, x, batch) for x in (real, fake))
        f = lambda x: judged(nets.critic.still, x, batch)[0]
        slope = slope_penalty(f, real, fake, key_line, target)
        metrics = {"distance": on_real.mean() - on_fake.mean(), "penalty": slope}
        metrics |= augment.adapt(nets, on_real, on_fake)
        return gan_loss.discriminator(on_real, on_fake) + penalty * slope + read, metrics

    def generator_loss(nets, batch, key):
        key_z, *_, key_fake = augment.keys(key)
        fake = nets.generator(prior(key_z, len(batch["image"])), *label(batch))
        on_fake, read = judged(nets.critic, augment(nets, fake, key_fake), batch)
        return gan_loss.generator(on_fake) + READING * read, {}

    def generate(nets, z, condition, key):
        return nets.generator(z, *label(condition), train=False)

    told = [jnp.zeros(2, jnp.int32)] * labels
    return System(
        players={
            "generator": Player(generator, [(2, LATENT), *told], generator_optimizer),
            "critic": Player(critic, [jnp.zeros((2, *shape))], critic_optimizer),
            **augment.players,
        },
        turns=(
            Turn(("critic",), critic_loss, times=critic_steps),
            Turn(("generator",), generator_loss, reuse="batch"),
        ),
        abilities=(
            Sampler(prior, generate, condition=("label",) * labels),
            DiscriminatorScores(scores, log_odds=False),
        ),
    )
