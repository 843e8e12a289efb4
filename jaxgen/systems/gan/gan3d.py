"""Learning a probabilistic latent space of object shapes via 3D generative-adversarial modeling
(3D-GAN; Wu, Zhang, Xue, Freeman & Tenenbaum, 2016), https://arxiv.org/abs/1610.07584.

A GAN of volumetric convolutions makes shapes as voxels.  D and G play (Eq. 1)

    min_G max_D  E_x log D(x) + E_z log(1 - D(G(z)))

with voxels x that are 0 or 1.  As D learns faster than G, its learning rate is 1/250 of G's, and it
stays as it is in a round unless it was right about no more than 80 % of the last minibatch, of the
real and the generated shapes together.  D's features then classify shapes (Sec. 4.2).

Deviations.  Where the paper is silent, and codes differ: G ascends log D(G(z)), learns from the
shapes that D has just judged, and also while D stays; D judges real and generated shapes in batches
of their own; weights start as DCGAN's, N(0, 0.02), which is not said in the paper.  A D that stays
keeps its weights, Adam's moments and counts and its running statistics, which move in its own turn
alone.  The paper's classifier is a linear SVM, here a linear probe is logistic regression.  Latents
are uniform in [-1, 1), the paper's in [0, 1): of these three quarters of the first layer's variance
are the same for every z, and shapes hardly depend on it.
"""

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen import parallel
from jaxgen.latents import lerp, uniform
from jaxgen.losses.adversarial import non_saturating as gan_loss
from jaxgen.nn.running import RunningValue
from jaxgen.solids import views
from jaxgen.systems.gan import plain
from jaxgen.train.abilities import DiscriminatorScores, Embedder, Sampler
from jaxgen.train.game import Player, System, Turn

LATENT = 200
PRIOR = uniform(LATENT)
TURNED, SIDES = 4, 8  # shapes that are shown from all around, and from how many sides
LEGENDS = {
    "samples": "Each sample from the front, the right and above",
    "turned": "A row a sample, seen from sides all around",
}


def gan3d(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, ...],
    lr: float = 2.5e-3,
    discriminator_lr: float = 1e-5,
    most: float = 0.8,
    ema: float | None = None,
) -> System:
    """Networks of `models.gan3d` on voxels of `shape` [D, H, W].

    most: accuracy on the last minibatch above which the discriminator stays; 1 never stops it.
    ema: decay of the generator's averaged weights.
    """
    scores = plain.scores(PRIOR, again=True, of="voxels")

    def discriminator_loss(nets, batch, key):
        on_real, on_fake = scores(nets, batch, key)
        # Counts are whole numbers, so that any number of devices decides alike.
        right = parallel.shares((on_real > 0).sum() + (on_fake < 0).sum()).sum()
        accuracy = right / (2 * len(on_real) * parallel.size())
        skipped = jnp.float32(nets.last_accuracy() > most)
        nets.last_accuracy(accuracy)
        loss = gan_loss.discriminator(on_real, on_fake)
        return loss, {"accuracy": accuracy, "skipped": skipped}

    def generator_loss(nets, batch, key):
        fake = nets.generator(PRIOR(key, len(batch["voxels"])))
        return gan_loss.generator(nets.discriminator.still(fake)), {}

    def generate(nets, z, condition, key):
        return 2 * nets.generator(z, train=False)[..., 0] - 1

    def features(nets, batch):
        return nets.discriminator(batch["voxels"], train=False, features=True)

    def show(nets, batch, key):
        shapes = generate(nets, PRIOR(key, len(batch["voxels"])), {}, key)
        around = [views(shapes[:TURNED], 360.0 * i / SIDES) for i in range(SIDES)]
        return {"samples": views(shapes), "turned": jnp.concatenate(around, axis=2)}

    adam = lambda lr: optax.adam(lr, b1=0.5, b2=0.999)
    return System(
        players={
            "generator": Player(generator, [(2, LATENT)], adam(lr), ema=ema),
            "discriminator": Player(discriminator, [(2, *shape, 1)], adam(discriminator_lr)),
            "last_accuracy": Player(RunningValue(), []),
        },
        turns=(
            Turn(("discriminator",), discriminator_loss, skip=lambda values: values["skipped"] > 0),
            Turn(("generator",), generator_loss, reuse="batch+noise"),
        ),
        show=show,
        legends=LEGENDS,
        abilities=(
            Sampler(PRIOR, generate, lerp, of="voxels"),
            Embedder(features, of="voxels"),
            DiscriminatorScores(scores),
        ),
    )
