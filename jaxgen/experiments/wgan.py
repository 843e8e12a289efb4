"""WGAN on digits: `python -m jaxgen.experiments.wgan`."""

import dataclasses

from jaxgen.commands.launch import Arguments, launch


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Wasserstein GAN (Arjovsky, Chintala & Bottou, 2017), https://arxiv.org/abs/1701.07875.

    The defaults are the recipe experiments/wgan/quick.toml, sized for two CPU cores; the paper's
    numbers are in experiments/wgan/paper.toml.
    """

    channels: int = 1
    rounds: int = 4000
    batch_size: int = 32
    width: int = 16
    """Channels of the generator's last hidden level and the critic's first."""
    lr: float = 2e-4
    """RMSProp's learning rate, of both players."""
    clip: float = 0.01
    """The critic's weights stay in [-clip, clip]."""
    critic_steps: int = 5
    """Critic steps a round."""
    critic_boost: int = 100
    """Critic steps in the first 25 rounds and in every 500th, as in the authors' code."""
    generator_norm: bool = True
    """Batch normalisation in the generator; without it is the paper's Sec. 4.3."""


def system(args: Args, shape):
    from jaxgen.systems.gan.wgan import authors_schedule, wgan

    return wgan(
        args.size,
        shape[-1],
        width=args.width,
        lr=args.lr,
        clip=args.clip,
        critic_steps=authors_schedule(args.critic_steps, args.critic_boost),
        generator_norm=args.generator_norm,
    )


if __name__ == "__main__":
    launch(system)
