"""WGAN-GP on digits: `python -m jaxgen.experiments.wgan_gp`."""

import dataclasses
from typing import Literal

from jaxgen.commands.augmented import PlainGAN
from jaxgen.commands.flags import Count, Rate, ShareBelowOne, Weight
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(PlainGAN):
    """WGAN with gradient penalty (Gulrajani et al., 2017), https://arxiv.org/abs/1704.00028.

    The defaults suit two CPU cores. The paper's numbers are in experiments/wgan_gp/paper.toml,
    those of its other residual networks in supervised.toml and resnet101.toml.
    """

    channels: Literal[1, 3, 4] = 1
    rounds: Count = 3000
    batch_size: Count = 32
    net: Literal["dcgan", "mnist", "cifar-resnet", "good-resnet", "resnet-101"] = "dcgan"
    """The networks: DCGAN-like (any size), the same without normalisation on [0, 1] (the code's
    MNIST), and the residual networks for CIFAR, for 64 pixels and of 101 layers."""
    labels: bool = False
    """Make images of a class, with the residual networks for CIFAR: the supervised critic also
    reads the label."""
    width: Count = 16
    """Base width of the networks: 128 for CIFAR, 64 for MNIST and 64 pixels in the paper."""
    lr: Rate = 5e-4
    """Adam's learning rate, of both players; 1e-4 in the paper."""
    b1: ShareBelowOne = 0.0
    """Adam's first beta."""
    b2: ShareBelowOne = 0.9
    """Adam's second beta."""
    decay: bool = False
    """Let the learning rate fall linearly to 0 over the rounds (the code's CIFAR ResNet)."""
    penalty: Weight = 10.0
    """Weight of the gradient penalty, lambda."""
    critic_steps: Count = 5
    """Critic steps a round."""

    @property
    def rounds_matter(self) -> bool:
        return self.decay

    def check(self) -> None:
        super().check()
        if self.labels and self.net != "cifar-resnet":
            raise UserError(f"--net {self.net} knows no labels; use --net cifar-resnet")


def system(args: Args, info):
    import optax

    from jaxgen.models import wgan_gp as models
    from jaxgen.systems.gan.wgan_gp import wgan_gp

    if args.labels and not info.label_names:
        raise UserError(f"{args.data} has no labels; leave --labels out, or name other data")
    size, channels = info.shape[:2], info.shape[2]
    classes = len(info.label_names) if args.labels else 0
    unit = args.net == "mnist"
    generator, critic = {
        "dcgan": lambda: (
            models.Generator(size, channels, args.width),
            models.Critic(args.width),
        ),
        "mnist": lambda: (
            models.Generator(size, channels, args.width, norm=False, unit=True),
            models.Critic(args.width, unit=True),
        ),
        "cifar-resnet": lambda: (
            models.CifarGenerator(size, channels, args.width, classes),
            models.CifarCritic(args.width, classes),
        ),
        "good-resnet": lambda: (
            models.GoodGenerator(size, channels, args.width),
            models.GoodCritic(args.width),
        ),
        "resnet-101": lambda: (
            models.DeepGenerator(size, channels, args.width),
            models.DeepCritic(args.width),
        ),
    }[args.net]()
    # The rate is by optimizer step; the critic takes several a round.
    falling = lambda steps: optax.linear_schedule(args.lr, 0.0, steps)
    rates = [falling(args.rounds), falling(args.rounds * args.critic_steps)]
    adams = [optax.adam(rate if args.decay else args.lr, b1=args.b1, b2=args.b2) for rate in rates]
    return wgan_gp(
        generator,
        critic,
        info.shape,
        *adams,
        # (2 s - 1)^2 = 4 (s - 1/2)^2: what a slope s per unit of [-1, 1] is on [0, 1].
        penalty=args.penalty * (4 if unit else 1),
        target=0.5 if unit else 1.0,
        critic_steps=args.critic_steps,
        labels=args.labels,
        augment=args.augmentation(),
    )


if __name__ == "__main__":
    launch(system)
