"""CycleGAN (Zhu, Park, Isola & Efros, 2017), https://arxiv.org/abs/1703.10593.

Unpaired translation: G makes of images of A such of B, F the way back.  D_B tells G's from real
ones of B, D_A tells F's, and what has gone both ways should be what it was (Eq. 3):

    min_{G, F} max_{D_A, D_B}  L_GAN(G, D_B) + L_GAN(F, D_A)
                               + 10 E_a |F(G(a)) - a|_1 + 10 E_b |G(F(b)) - b|_1

with least squares for the logarithms of L_GAN (Sec. 4), plus for paintings and photographs (Sec.
5.2) the identity, half as heavy as the cycle: 5 E_b |G(b) - b|_1 + 5 E_a |F(a) - a|_1.

As in the authors' PyTorch code, both generators take a step, then both discriminators, on the
images that the former made before their step; the discriminators' loss is halved, and they see the
images through a pool of 50 older ones.  (Their Torch code steps G, D_B, F, D_A one by one.)

Deviations.  With batches larger than 1 every position of the batch has its share of the pool to
itself, so that the number of devices does not matter.  Both domains are shuffled anew in every
epoch, where the code draws images of B with replacement.
"""

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.losses.adversarial import least_squares as gan_loss
from jaxgen.nn.replay import ImagePool
from jaxgen.train.abilities import DiscriminatorScores, Translator
from jaxgen.train.game import Player, System, Turn, counts

STRIPS = 24  # in the picture


def l1(x, y):
    return jnp.abs(x - y).mean()


def cyclegan(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    batch_size: int,
    lr: float | optax.Schedule = 2e-4,
    cycle: float = 10.0,
    identity: float = 0.5,
    pool: int = 50,
) -> System:
    """Two players of each network, of `models.cyclegan` and `models.patchgan`, on images of `shape`
    [H, W, C] in batches of `batch_size`.

    cycle: the weight of |F(G(a)) - a|_1; identity: that of |G(b) - b|_1, in units of `cycle`;
    pool: how many images each pool holds.
    """

    def generators_loss(nets, batch, key):
        a, b = batch["a"], batch["b"]
        fake_b, fake_a = nets.g(a), nets.f(b)
        nets.pool_b(fake_b)  # for the discriminators' turn
        nets.pool_a(fake_a)
        fooling = gan_loss.generator(nets.d_b(fake_b)) + gan_loss.generator(nets.d_a(fake_a))
        cycled = l1(nets.f(fake_b), a) + l1(nets.g(fake_a), b)
        loss = fooling + cycle * cycled
        metrics = {"adversarial": fooling / 2, "cycle": cycled / 2}
        if counts(identity):
            same = l1(nets.g(b), b) + l1(nets.f(a), a)
            loss += identity * cycle * same
            metrics["identity"] = same / 2
        return loss, metrics

    def discriminators_loss(nets, batch, key):
        loss_a = gan_loss.discriminator(nets.d_a(batch["a"]), nets.d_a(nets.pool_a())) / 2
        loss_b = gan_loss.discriminator(nets.d_b(batch["b"]), nets.d_b(nets.pool_b())) / 2
        return loss_a + loss_b, {"a": loss_a, "b": loss_b}

    def translator(name, player):
        """From the first letter of `name` to the last, by one of the generators."""
        source, target = name[0], name[-1]
        return Translator(
            lambda nets, inputs, key: getattr(nets, player)(inputs["image"]),
            lambda batch: ({"image": batch[source]}, batch[target]),
            name=name,
            multiple=4,
            reach=getattr(generator, "reach", None),
        )

    def scores(nets, batch, key):
        """D_B's scores of real images of B and of translated ones."""
        return nets.d_b(batch["b"]), nets.d_b(nets.g(batch["a"]))

    def show(nets, batch, key):
        """Strips a, G(a), F(G(a)), b, F(b), G(F(b))."""
        a, b = batch["a"][:STRIPS], batch["b"][:STRIPS]
        fake_b, fake_a = nets.g(a), nets.f(b)
        strips = [a, fake_b, nets.f(fake_b), b, fake_a, nets.g(fake_a)]
        return {"samples": jnp.concatenate(strips, axis=2)}

    adam = optax.adam(lr, b1=0.5, b2=0.999)
    images = (batch_size, *shape)
    return System(
        players={
            "g": Player(generator, [images], adam),
            "f": Player(generator, [images], adam),
            "d_a": Player(discriminator, [images], adam),
            "d_b": Player(discriminator, [images], adam),
            "pool_a": Player(ImagePool(pool), [images]),
            "pool_b": Player(ImagePool(pool), [images]),
        },
        turns=(
            Turn(("g", "f"), generators_loss),
            Turn(("d_a", "d_b"), discriminators_loss, reuse="batch+noise"),
        ),
        show=show,
        legends={"samples": "Each strip: a, G(a), F(G(a)), b, F(b), G(F(b))"},
        abilities=(
            translator("a-to-b", "g"),
            translator("b-to-a", "f"),
            DiscriminatorScores(scores, log_odds=False),
        ),
    )
