"""The first GAN on digits: `python -m jaxgen.experiments.gan`."""

import dataclasses
from typing import Literal

from jaxgen.commands.augmented import PlainGAN
from jaxgen.commands.flags import Count, Rate, Share, Size
from jaxgen.commands.launch import launch


@dataclasses.dataclass(frozen=True)
class Args(PlainGAN):
    """Generative adversarial nets (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661.

    The defaults suit two CPU cores; the paper's numbers are in experiments/gan/paper.toml.
    """

    size: Size = (28, 28)
    channels: Literal[1, 3, 4] = 1
    rounds: Count = 4000
    rounds_per_call: Count = 20
    batch_size: Count = 100
    loss: Literal["non-saturating", "minimax"] = "non-saturating"
    """Objective of the generator: ascend log D(G(z)), or descend log(1 - D(G(z))) as in Eq. 1."""
    smoothing: Share = 0.0
    """One-sided label smoothing: the discriminator's target on real images is so much below 1
    (https://arxiv.org/abs/1606.03498)."""
    steps: Count = 1
    """Discriminator steps a round, k of Algorithm 1."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """sgd is the paper's, with momentum from 0.5 to 0.7 and a rate that decays by 1.000004 a step;
    on 5,000 digits its discriminator mostly wins for good. Adam has betas 0.5 and 0.999."""
    lr: Rate = 4e-4
    """Learning rate of both players; 0.1 for the paper's SGD."""
    width: Count = 1200
    """Units of the generator's two hidden layers."""
    units: Count = 40
    """Maxout units of the discriminator's two hidden layers, of 5 pieces each; 240 in the paper."""

    @property
    def rounds_matter(self) -> bool:
        return self.optimizer == "sgd"  # its momentum's


def system(args: Args, info):
    import optax

    from jaxgen.losses import adversarial
    from jaxgen.models import mlp
    from jaxgen.systems.gan.gan import gan
    from jaxgen.train.optim import sgd_goodfellow

    if args.optimizer == "adam":
        optimizers = [optax.adam(args.lr, b1=0.5)] * 2
    else:  # the momentum rises by optimizer step; the discriminator takes several a round
        optimizers = [sgd_goodfellow(args.lr, n * args.rounds) for n in (1, args.steps)]
    loss = adversarial.minimax if args.loss == "minimax" else adversarial.non_saturating
    return gan(
        mlp.Generator(info.shape, (args.width, args.width)),
        mlp.Discriminator(args.units),
        info.shape,
        *optimizers,
        adversarial.smoothed(loss, args.smoothing),
        args.steps,
        augment=args.augmentation(),
    )


if __name__ == "__main__":
    launch(system)
