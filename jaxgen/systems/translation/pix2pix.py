"""Image-to-image translation with conditional adversarial networks, "pix2pix" (Isola, Zhu, Zhou &
Efros, 2017), https://arxiv.org/abs/1611.07004.

G paints b from a; D sees both and judges every patch,

    min_G max_D  E log D(a, b) + E log(1 - D(a, G(a, z))) + lambda E ||b - G(a, z)||_1      (Eq. 4)

with lambda = 100 and the norm a mean.  The noise z is dropout alone.  `objective` leaves out the
L1 term, D, or what D sees of a (Table 1).

Deviations.  As in the released codes G descends -log D (Sec. 3.3), and D's loss is halved.  As in
the PyTorch code G learns from the D that has just moved; the Lua code reuses D's answers from
before, and zeroes the biases of convolutions after every step.
"""

from typing import Literal

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.losses.adversarial import non_saturating as gan_loss
from jaxgen.models.pix2pix import UNet
from jaxgen.train.abilities import DiscriminatorScores, Translator
from jaxgen.train.game import Player, System, Turn

Objective = Literal["cgan+l1", "cgan", "gan+l1", "gan", "l1"]
Direction = Literal["a-to-b", "b-to-a"]


def pix2pix(
    generator: UNet,
    discriminator: nn.Module,
    shape: tuple[int, int, int],
    *,
    direction: Direction = "a-to-b",
    objective: Objective = "cgan+l1",
    l1_weight: float = 100.0,
    lr: float | optax.Schedule = 2e-4,
    statistics: Literal["batch", "running"] = "batch",
    noise: bool = True,
) -> System:
    """A U-Net and a discriminator of `models.patchgan`, for pairs a and b of `shape` [H, W, C].

    statistics, noise: what G is used with once it is trained; in the paper it goes on with the
      statistics of the batch that it is given, and with dropout.
    """
    adversarial, conditional = objective != "l1", "cgan" in objective

    def pair(batch):
        names = ("a", "b") if direction == "a-to-b" else ("b", "a")
        return batch[names[0]], batch[names[1]]

    def seen(a, b):
        return jnp.concatenate([a, b], axis=-1) if conditional else b

    def scores(nets, batch, key):
        """Maps of logits of real pairs and of translated ones."""
        a, b = pair(batch)
        fake = nets.generator.still(a)  # its running statistics are moved by its own turn
        on_fake = nets.discriminator(seen(a, fake))
        return nets.discriminator(seen(a, b)), on_fake

    def discriminator_loss(nets, batch, key):
        on_real, on_fake = scores(nets, batch, key)
        says_real = nn.sigmoid(on_real).mean(), nn.sigmoid(on_fake).mean()
        metrics = {"d_real": says_real[0], "d_fake": says_real[1]}
        return gan_loss.discriminator(on_real, on_fake) / 2, metrics

    def generator_loss(nets, batch, key):
        a, b = pair(batch)
        fake = nets.generator(a)
        l1 = jnp.abs(b - fake).mean()
        loss = l1_weight * l1 if "l1" in objective else 0.0
        if not adversarial:
            return loss, {"l1": l1}
        fooling = gan_loss.generator(nets.discriminator(seen(a, fake)))
        return loss + fooling, {"l1": l1, "adversarial": fooling}

    def translate(nets, inputs, key=None):
        return nets.generator(inputs["image"], train=statistics == "batch", noise=noise)

    def show(nets, batch, key):
        """Input, output and target beside each other."""
        a, b = pair(batch)
        return {"translations": jnp.concatenate([a, translate(nets, {"image": a}), b], axis=2)}

    *size, channels = shape
    # Where the innermost level is one pixel, its kernels' rims see padding alone in training.
    smallest = 2**generator.depth
    noisy = noise and generator.dropout and generator.noisy  # drawn for the whole image at once
    translator = Translator(
        translate,
        lambda batch: ({"image": pair(batch)[0]}, pair(batch)[1]),
        name=direction,
        multiple=smallest,
        any_size=min(size) > smallest,
        reach=None if noisy else generator.reach,
    )

    adam = optax.adam(lr, b1=0.5, b2=0.999)
    players = {"generator": Player(generator, [(2, *shape)], adam)}
    turns = (Turn(("generator",), generator_loss, reuse="batch+noise" if adversarial else "none"),)
    if adversarial:
        sees = (2, *size, channels * (2 if conditional else 1))
        players["discriminator"] = Player(discriminator, [sees], adam)
        turns = (Turn(("discriminator",), discriminator_loss), *turns)
    watched = (DiscriminatorScores(scores),) if adversarial else ()
    legends = {"translations": "Each strip: input, output, target"}
    return System(players, turns, show, (translator, *watched), legends)
