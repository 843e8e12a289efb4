"""StyleGAN2 on emoji: `python -m jaxgen.experiments.stylegan2`."""

import dataclasses
from typing import Annotated, Literal

import tyro

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """StyleGAN2 (Karras et al., 2020), https://arxiv.org/abs/1912.04958, with adaptive
    discriminator augmentation, https://arxiv.org/abs/2006.06676.

    The defaults are the recipe experiments/stylegan2/quick.toml, sized for two CPU cores; the
    paper's numbers are in experiments/stylegan2/paper.toml. A trained run can `sample`, `mix`,
    `interpolate` and `project` (python -m jaxgen).
    """

    data: Annotated[str, tyro.conf.arg(metavar="SPEC")] = "emoji"
    size: int = 64
    """Side of the images in pixels: 8, 16, 32, ...; others are resized."""
    rounds: int = 10000
    batch_size: int = 16
    base: int = 512
    """A level of r pixels has base / r channels; 32768 in the paper, 16384 in its configuration
    E."""
    width: int = 64
    """Channels of a level, at most; 512 in the paper."""
    latent: int = 64
    """Dimensions of the noise and of the styles; 512 in the paper."""
    layers: int = 2
    """Of the mapping from noise to styles; 8 in the paper."""
    residual: bool = True
    """The discriminator has skips; ADA's recipe for CIFAR-10 does without."""
    group: int = 4
    """Images whose spread the discriminator sees together."""
    lr: float = 2.5e-3
    """Adam's learning rate, of both players."""
    gamma: float = 0.05
    """Weight of R1; 0 leaves it out. ADA's rule is .0002 size^2 / batch size; 10 in the paper."""
    path_weight: float = 2.0
    """Weight of the path lengths' spread; 0 leaves it out."""
    mixing: float = 0.9
    """The share of minibatches in which two styles are mixed."""
    augment: Literal["ada", "diffaugment", "none"] = "ada"
    """What is done to all that the discriminator sees; diffaugment is
    https://arxiv.org/abs/2006.10738."""
    ada_target: float = 0.6
    """The mean sign of the discriminator's logits of real images that ADA holds."""
    ada_images: int = 500_000
    """In how many images ADA's probability can go from 0 to 1."""
    ema_images: int = 5000
    """The half-life of the generator's averaged weights."""
    ema_ramp_up: float = 0.05
    """The half-life is this share of the images seen so far, at most; 0 for no such bound."""

    def check(self) -> None:
        super().check()
        if self.size < 8 or self.size & (self.size - 1):
            raise UserError(f"--size is 8, 16, 32, 64, ... pixels, not {self.size}")
        if self.base < self.size:
            raise UserError(f"--base is at least {self.size} at --size {self.size}")
        if self.augment == "ada" and self.channels == 4:
            raise UserError("--augment ada changes colours of 1 or 3 channels; use --channels 3")
        if self.path_weight and self.batch_size % 2:
            raise UserError("--batch-size is even, as path lengths are measured on half of it")
        for name in ("gamma", "path_weight", "ema_ramp_up"):
            if (value := getattr(self, name)) < 0:
                raise UserError(f"--{name.replace('_', '-')} is 0 or more, not {value:g}")
        if not 0 <= self.mixing <= 1:
            raise UserError(f"--mixing is from 0 to 1, not {self.mixing:g}")
        if not -1 < self.ada_target < 1:
            raise UserError(f"--ada-target is between -1 and 1, not {self.ada_target:g}")


def system(args: Args, data):
    from jaxgen.models.stylegan2 import Discriminator, Generator, widths
    from jaxgen.nn import ada, diffaugment
    from jaxgen.systems.gan.stylegan2 import stylegan2
    from jaxgen.train.optim import half_life

    size, _, channels = data.shape
    levels = widths(size, args.base, args.width)
    changes = {
        "ada": ada.augment,
        "diffaugment": lambda images, p, key: diffaugment.augment(images, key),
        "none": lambda images, p, key: images,
    }
    controller = ada.Controller(target=args.ada_target, speed=1 / args.ada_images)
    return stylegan2(
        Generator(levels, channels, args.latent, args.layers),
        Discriminator(levels, args.group, args.residual),
        data.shape,
        latent=args.latent,
        lr=args.lr,
        gamma=args.gamma,
        path_weight=args.path_weight,
        mixing=args.mixing,
        ema=half_life(args.ema_images, args.batch_size, args.ema_ramp_up),
        augment=changes[args.augment],
        ada=controller if args.augment == "ada" else None,
    )


if __name__ == "__main__":
    launch(system)
