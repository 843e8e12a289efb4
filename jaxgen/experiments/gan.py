"""The first GAN on digits: `python -m jaxgen.experiments.gan`."""

import dataclasses
from typing import Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.launch import launch


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Generative adversarial nets (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661.

    The defaults are the recipe experiments/gan/quick.toml, sized for two CPU cores; the paper's
    numbers are in experiments/gan/paper.toml.
    """

    size: int = 28
    channels: Literal[1, 3, 4] = 1
    rounds: int = 4000
    rounds_per_call: int = 20
    batch_size: int = 100
    loss: Literal["non-saturating", "minimax"] = "non-saturating"
    """What the generator ascends or descends: log D(G(z)), or log(1 - D(G(z))) as in Eq. 1."""
    steps: int = 1
    """Discriminator steps a round, k of Algorithm 1."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """sgd is the paper's, with momentum from 0.5 to 0.7 and a rate that decays by 1.000004 a step;
    on 5,000 digits its discriminator mostly wins for good. Adam has betas 0.5 and 0.999."""
    lr: float = 4e-4
    """The learning rate, of both players; 0.1 for the paper's SGD."""
    width: int = 1200
    """Units of the generator's two hidden layers."""
    units: int = 40
    """Maxout units of the discriminator's two hidden layers, of 5 pieces each; 240 in the paper."""

    @property
    def rounds_matter(self) -> bool:
        return self.optimizer == "sgd"  # its momentum's


def system(args: Args, data):
    import optax

    from jaxgen.losses import adversarial
    from jaxgen.models import mlp
    from jaxgen.systems.gan.gan import gan
    from jaxgen.train.game import to_float
    from jaxgen.train.optim import sgd_goodfellow

    mean = to_float(data.examples(1000))["image"].mean(axis=0)
    generator = mlp.Generator(data.shape, (args.width, args.width), bias_init=mlp.marginal(mean))
    discriminator = mlp.Discriminator(args.units)
    minimax = args.loss == "minimax"
    gan_loss = adversarial.minimax if minimax else adversarial.non_saturating
    if args.optimizer == "adam":
        optimizers = [optax.adam(args.lr, b1=0.5)] * 2
    else:  # the momentum rises by optimizer step; the discriminator takes several a round
        steps = args.rounds, args.rounds * args.steps
        optimizers = [sgd_goodfellow(args.lr, n) for n in steps]
    return gan(
        generator, discriminator, data.shape, *optimizers, gan_loss=gan_loss, steps=args.steps
    )


if __name__ == "__main__":
    launch(system)
