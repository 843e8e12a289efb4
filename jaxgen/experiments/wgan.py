"""WGAN on digits: `python -m jaxgen.experiments.wgan`."""

import dataclasses
from typing import Literal

from jaxgen.commands.augmented import PlainGAN
from jaxgen.commands.flags import Count, Rate
from jaxgen.commands.launch import launch


@dataclasses.dataclass(frozen=True)
class Args(PlainGAN):
    """Wasserstein GAN (Arjovsky, Chintala & Bottou, 2017), https://arxiv.org/abs/1701.07875.

    The defaults suit two CPU cores; the paper's numbers are in experiments/wgan/paper.toml.
    """

    channels: Literal[1, 3, 4] = 1
    rounds: Count = 6000
    batch_size: Count = 32
    net: Literal["dcgan", "dcgan-without-norm", "mlp"] = "dcgan"
    """The generator; the two others are the harder cases of Sec. 4.3. The critic is DCGAN's."""
    width: Count = 16
    """Channels of the critic's first level and of the generator's last hidden one (the mlp always
    has 512 units); 64 in the paper."""
    lr: Rate = 2e-4
    """RMSProp's learning rate, of both players; 5e-5 in the paper."""
    clip: Rate = 0.01
    """Limit of the critic's weights, which stay in [-clip, clip]."""
    critic_steps: Count = 5
    """Critic steps a round."""
    critic_boost: Count = 100
    """Critic steps in the first 25 rounds and in every 500th, as in the authors' code."""


def system(args: Args, info):
    from jaxgen.models import dcgan, mlp
    from jaxgen.systems.gan.wgan import authors_schedule, wgan

    size, channels = info.shape[:2], info.shape[2]
    if args.net == "mlp":
        generator = mlp.WganGenerator(info.shape)
    else:
        generator = dcgan.Generator(size, channels, args.width, norm=args.net == "dcgan")
    critic = dcgan.Discriminator(size, args.width)
    schedule = authors_schedule(args.critic_steps, args.critic_boost)
    rates = args.lr, args.clip
    return wgan(generator, critic, info.shape, *rates, schedule, args.augmentation())


if __name__ == "__main__":
    launch(system)
