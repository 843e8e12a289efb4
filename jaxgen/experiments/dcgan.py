"""DCGAN on digits: `python -m jaxgen.experiments.dcgan`."""

import dataclasses
from typing import Literal

from jaxgen.commands.augmented import PlainGAN
from jaxgen.commands.flags import Count, Rate, Share, Weight
from jaxgen.commands.launch import launch


@dataclasses.dataclass(frozen=True)
class Args(PlainGAN):
    """DCGAN (Radford, Metz & Chintala, 2016), https://arxiv.org/abs/1511.06434.

    The defaults suit two CPU cores; the paper's numbers are in experiments/dcgan/paper.toml.
    """

    channels: Literal[1, 3, 4] = 1
    rounds: Count = 6000
    rounds_per_call: Count = 20
    save_every: Count = 2000
    batch_size: Count = 64
    instance_noise: Weight = 0.2
    variant: Literal["torch", "paper"] = "torch"
    """torch: 4x4 kernels, Gaussian latents (dcgan.torch). paper: 5x5 kernels, a dense layer,
    uniform latents and batch statistics always (the paper's Theano code)."""
    width: Count = 16
    """Channels of the generator's last hidden level and of the discriminator's first; the paper's
    is 128, dcgan.torch's 64."""
    lr: Rate = 2e-4
    """Adam's learning rate of the generator."""
    discriminator_lr: Rate = 2e-4
    """Adam's learning rate of the discriminator."""
    smoothing: Share = 0.0
    """One-sided label smoothing: the discriminator's target on real images is so much below 1
    (https://arxiv.org/abs/1606.03498)."""


def system(args: Args, info):
    from jaxgen.latents import lerp, normal, slerp, uniform
    from jaxgen.losses.adversarial import non_saturating, smoothed
    from jaxgen.models import dcgan as models
    from jaxgen.systems.gan.dcgan import LATENT, dcgan

    size, channels = info.shape[:2], info.shape[2]
    if args.variant == "paper":
        generator = models.PaperGenerator(size, channels, args.width)
        discriminator = models.PaperDiscriminator(size, args.width)
        prior, interpolate = uniform(LATENT), lerp
    else:
        generator = models.Generator(size, channels, args.width)
        discriminator = models.Discriminator(size, args.width)
        prior, interpolate = normal(LATENT), slerp
    return dcgan(
        generator,
        discriminator,
        info.shape,
        prior,
        interpolate,
        args.lr,
        args.discriminator_lr,
        smoothed(non_saturating, args.smoothing),
        args.augmentation(),
    )


if __name__ == "__main__":
    launch(system)
