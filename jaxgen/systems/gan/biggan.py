"""BigGAN (Brock, Donahue & Simonyan, 2019), https://arxiv.org/abs/1809.11096.

G is told a class y by the gains and biases of its norms, D by a product with its features, and both
play the hinge game, in the paper with batches eight times and networks up to four times as large as
had been usual,

    D:  E relu(1 - D(x, y)) + E relu(1 + D(G(z, y), y))
    G:  -E D(G(z, y), y) + beta sum_W ||W^T W * (1 - I)||_F^2                       (Eq. 3)

where the last term, over all kernels of G but its embedding of classes, is the orthogonal
regularisation; D takes two steps for one of G.  G is used with averaged weights and *standing
statistics*: those of its norms are estimated anew, over many minibatches of latents as they will be
used.  Latents of which all numbers lie in [-tau, tau] (the truncation trick) trade variety for
quality; it is the regularisation that makes G ready for them.

Deviations.  A sample's class is that of the example beside it, so that both have one distribution.
The authors' code for PyTorch adds half of the regularisation's gradient.  Biases are 0 at first.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgen.latents import normal, truncated
from jaxgen.losses.adversarial import hinge
from jaxgen.losses.penalties import orthogonality
from jaxgen.models.biggan import Discriminator, Generator
from jaxgen.systems.gan.conditional import LEGENDS, by_class
from jaxgen.train.abilities import DiscriminatorScores, Option, Sampler
from jaxgen.train.game import Player, System, Turn

STANDING = 64  # images of a minibatch of standing statistics
OPTIONS = {
    "truncation": Option(
        None,
        "Truncation tau: numbers of a latent outside of [-tau, tau] are drawn anew",
        low=0.01,
        curve=(0.04, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0),
    ),
    "standing": Option(
        16,
        "Minibatches over which the statistics of norms are estimated anew before images are made; "
        "with 0 they are the averages of the training",
        low=0,
    ),
}


def biggan(
    generator: Generator,
    discriminator: Discriminator,
    shape: tuple[int, int, int],
    latent: int,
    optimizers: tuple[optax.GradientTransformation, optax.GradientTransformation],
    steps: int = 2,
    orthogonal: float = 1e-4,
    ema: float | Callable | None = 0.9999,
) -> System:
    """Networks of `models.biggan` on images of `shape` [H, W, C] with labels.

    optimizers: the generator's and the discriminator's.  steps: the discriminator's a round.
    orthogonal: beta.  ema: of the generator's weights, by round where it is a function.
    """
    prior, classes = normal(latent), generator.classes

    def scores(nets, batch, key):
        """D sees data and samples as one batch, so that it takes one power step."""
        label = batch["label"]
        fake = nets.generator(prior(key, len(label)), label)
        images = jnp.concatenate([batch["image"], fake])
        return jnp.split(nets.discriminator(images, jnp.tile(label, 2)), 2)

    def discriminator_loss(nets, batch, key):
        on_real, on_fake = scores(nets, batch, key)
        accuracy = ((on_real > 0).mean() + (on_fake < 0).mean()) / 2
        return hinge.discriminator(on_real, on_fake), {"accuracy": accuracy}

    def generator_loss(nets, batch, key):
        label = batch["label"]
        fake = nets.generator(prior(key, len(label)), label)
        loss = hinge.generator(nets.discriminator(fake, label))
        kernels = jax.tree_util.tree_leaves_with_path(nets.generator.params)
        apart = sum(orthogonality(w) for path, w in kernels if path[-1].key == "kernel")
        return loss + orthogonal * apart, {"orthogonality": apart}

    def latents(z, truncation):
        return z if truncation is None else truncated(z, truncation)

    def standing_statistics(nets, key, truncation, standing):
        """The means of the moments of `standing` minibatches of random classes."""
        if not standing:
            return {}
        net, fresh = nets.generator, generator.clone(momentum=0.0)  # which keeps the last moments

        def moments(key):
            key_z, key_y = jax.random.split(key)
            z = latents(jax.random.normal(key_z, (STANDING, latent)), truncation)
            label = jax.random.randint(key_y, (STANDING,), 0, classes)
            variables = {"params": net.params, **net.collections}
            return fresh.apply(variables, z, label, mutable=["batch_stats"])[1]["batch_stats"]

        each = lax.map(moments, jax.random.split(key, standing))
        return {"generator": {"batch_stats": jax.tree.map(lambda x: x.mean(0), each)}}

    def generate(nets, z, condition, key, truncation=None, standing=0):
        return nets.generator(latents(z, truncation), condition["label"], train=False)

    label = jnp.zeros(2, jnp.int32)
    of_generator, of_discriminator = optimizers
    return System(
        players={
            "generator": Player(generator, [(2, latent), label], of_generator, ema=ema),
            "discriminator": Player(discriminator, [(2, *shape), label], of_discriminator),
        },
        turns=(
            Turn(("discriminator",), discriminator_loss, times=steps),
            Turn(("generator",), generator_loss, reuse="batch"),
        ),
        show=by_class(prior, classes, generate),
        legends=LEGENDS,
        abilities=(
            Sampler(
                *(prior, generate),
                condition=("label",),
                options=OPTIONS,
                prepare=standing_statistics,
            ),
            DiscriminatorScores(scores, log_odds=False),
        ),
    )
