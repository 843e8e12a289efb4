"""DCGAN on digits: `python -m jaxgen.experiments.dcgan`."""

import dataclasses
from typing import Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.launch import launch


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """DCGAN (Radford, Metz & Chintala, 2016), https://arxiv.org/abs/1511.06434.

    The defaults are the recipe experiments/dcgan/quick.toml, sized for two CPU cores; the paper's
    numbers are in experiments/dcgan/paper.toml.
    """

    channels: Literal[1, 3, 4] = 1
    rounds: int = 6000
    rounds_per_call: int = 20
    save_every: int = 2000
    batch_size: int = 64
    variant: Literal["torch", "paper"] = "torch"
    """torch: 4x4 kernels, Gaussian latents (dcgan.torch). paper: 5x5 kernels, a dense layer,
    uniform latents and batch statistics always (the paper's Theano code)."""
    width: int = 16
    """Channels of the generator's last hidden level and of the discriminator's first; the paper's
    is 128, dcgan.torch's 64."""
    lr: float = 2e-4
    """Adam's learning rate, of both players."""


def system(args: Args, data):
    from jaxgen.models import dcgan as models
    from jaxgen.systems.gan.dcgan import dcgan, normal, uniform

    size, _, channels = data.shape
    if args.variant == "paper":
        generator = models.PaperGenerator(size, channels, args.width)
        discriminator, noise = models.PaperDiscriminator(size, args.width), uniform
    else:
        generator = models.Generator(size, channels, args.width)
        discriminator, noise = models.Discriminator(size, args.width), normal
    return dcgan(generator, discriminator, data.shape, noise, args.lr)


if __name__ == "__main__":
    launch(system)
