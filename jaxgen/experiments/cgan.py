"""Conditional GANs of digits: `python -m jaxgen.experiments.cgan`."""

import dataclasses
from typing import Annotated, Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, Range, Rate, ShareBelowOne, size_text
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Conditional generative adversarial nets (Mirza & Osindero, 2014),
    https://arxiv.org/abs/1411.1784.

    The defaults suit two CPU cores. The paper's numbers are in experiments/cgan/paper.toml, those
    of DCGAN's code for MNIST in experiments/cgan/dcgan.toml.
    """

    channels: Literal[1, 3, 4] = 1
    rounds: Count = 3000
    rounds_per_call: Count = 20
    sample_every: Count = 500
    save_every: Count = 500
    conditioning: Literal["maxout", "concat", "projection", "acgan"] = "acgan"
    """Way in which the label enters. maxout: the paper's perceptrons, where it meets the image's
    features. concat: beside the features of every layer of DCGAN. projection: as a product with the
    last features of a spectrally normalised residual discriminator. acgan: such a one reads it."""
    width: Count = 16
    """Channels of the generator's last hidden level and of the discriminator's first, 64 in DCGAN's
    code; with projection and acgan those of every block."""
    units: Annotated[int, Range(5)] = 240
    """Maxout units that read the image; the other layers of maxout are in proportion."""
    loss: Literal["non-saturating", "hinge"] = "hinge"
    """Adversarial loss; hinge is the projection's, non-saturating that of the others' papers."""
    steps: Count = 1
    """Discriminator steps a round; 5 in the projection's paper."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """sgd is the paper's, with momentum from 0.5 to 0.7 and a rate that decays by 1.00004 a
    step."""
    lr: Rate = 5e-4
    """Learning rate of the generator; 0.1 for the paper's SGD, 2e-4 in the other papers."""
    discriminator_lr: Rate = 2e-3
    """Learning rate of the discriminator; the generator's in the papers."""
    b1: ShareBelowOne = 0.0
    """Adam's first beta; 0.5 for DCGAN and AC-GAN."""
    b2: ShareBelowOne = 0.9
    """Adam's second beta; 0.999 for DCGAN and AC-GAN."""
    ema: ShareBelowOne = 0.99
    """Decay of the generator's averaged weights; 0 averages none."""

    @property
    def rounds_matter(self) -> bool:
        return self.optimizer == "sgd"  # its momentum's

    def check(self) -> None:
        super().check()
        side, other = self.size
        residual = self.conditioning in ("projection", "acgan")
        if residual and (side < 8 or side & (side - 1) or side != other):
            raise UserError(
                f"--size is 8, 16, 32, ... pixels with --conditioning {self.conditioning}, not "
                f"{size_text(self.size)}"
            )


def system(args: Args, info):
    import optax

    from jaxgen.latents import lerp, normal, slerp, uniform
    from jaxgen.losses import adversarial
    from jaxgen.models import cgan as models
    from jaxgen.models.wgan_gp import CifarGenerator
    from jaxgen.systems.gan.cgan import LATENT, cgan
    from jaxgen.train.optim import sgd_goodfellow

    if not info.label_names:
        raise UserError(f"{args.data} has no labels; name other data")
    size, channels = info.shape[:2], info.shape[2]
    width, classes = args.width, len(info.label_names)
    prior, interpolate = uniform(LATENT), lerp
    if args.conditioning == "maxout":
        prior = uniform(LATENT, 0.0, 1.0)
        n = args.units
        generator = models.MaxoutGenerator(info.shape, classes, (5 * n // 6, 25 * n // 6, 5 * n))
        discriminator = models.MaxoutDiscriminator(classes, (n, 5), (5 * n // 24, 5), (n, 4))
    elif args.conditioning == "concat":
        generator = models.ConcatGenerator(size, channels, width, classes)
        discriminator = models.ConcatDiscriminator(width, classes)
    else:
        prior, interpolate = normal(LATENT), slerp
        generator = CifarGenerator(size, channels, width, classes)
        body = models.Residual((width,) * 4)
        head = {
            "projection": models.ProjectionDiscriminator,
            "acgan": models.AuxiliaryDiscriminator,
        }
        discriminator = head[args.conditioning](body, classes)
    rates = args.lr, args.discriminator_lr
    if args.optimizer == "adam":
        optimizers = [optax.adam(lr, b1=args.b1, b2=args.b2) for lr in rates]
    else:  # the momentum rises by optimizer step; the discriminator takes several a round
        optimizers = [
            sgd_goodfellow(lr, n * args.rounds, decay=1.00004)
            for lr, n in zip(rates, (1, args.steps), strict=True)
        ]
    return cgan(
        generator,
        discriminator,
        info.shape,
        classes,
        prior,
        interpolate,
        optimizers,
        adversarial.hinge if args.loss == "hinge" else adversarial.non_saturating,
        args.conditioning == "acgan",
        args.steps,
        args.ema,
    )


if __name__ == "__main__":
    launch(system)
