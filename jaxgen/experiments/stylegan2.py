"""StyleGAN2 on portraits: `python -m jaxgen.experiments.stylegan2`."""

import dataclasses
from typing import Literal

from jaxgen.commands.augmented import Augmented
from jaxgen.commands.flags import Count, Rate, Share, Size, Spec, Weight, size_text
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Augmented):
    """StyleGAN2 (Karras et al., 2020), https://arxiv.org/abs/1912.04958, with adaptive
    discriminator augmentation, https://arxiv.org/abs/2006.06676.

    The defaults suit two CPU cores; the
    paper's numbers are in experiments/stylegan2/paper.toml. A trained run can `sample`, `mix`,
    `interpolate` and `project` (python -m jaxgen).
    """

    data: Spec = "faces:6000"
    size: Size = (64, 64)
    """Side of the square images in pixels: 8, 16, 32, ...; others are resized."""
    rounds: Count = 10000
    batch_size: Count = 16
    base: Count = 512
    """Channels of a level of r pixels are base / r; 32768 in the paper, 16384 in its configuration
    E."""
    width: Count = 64
    """Largest number of channels of a level; 512 in the paper."""
    latent: Count = 64
    """Dimensions of the noise and of the styles; 512 in the paper."""
    layers: Count = 2
    """Layers of the mapping from noise to styles; 8 in the paper."""
    residual: bool = True
    """Skips in the discriminator; ADA's recipe for CIFAR-10 does without."""
    group: Count = 4
    """Images of which the discriminator sees the standard deviation together."""
    lr: Rate = 2.5e-3
    """Adam's learning rate, of both players."""
    gamma: Weight = 0.05
    """Weight of R1; 0 leaves it out. ADA's rule is .0002 size^2 / batch size; 10 in the paper."""
    path_weight: Weight = 2.0
    """Weight of the path length regularisation; 0 leaves it out."""
    noise_rate: Weight = 0.0
    """How fast the strengths of the noise learn, in times of the other weights; 1 in the paper. 0
    leaves the noise out: in a short training it would stand for detail that is still to come."""
    mixing: Share = 0.9
    """Share of the minibatches in which two styles are mixed."""
    augment: Literal["ada", "diffaugment", "none"] = "ada"
    ema_images: Count = 5000
    """Half-life, in images, of the generator's averaged weights."""
    ema_ramp_up: Weight = 0.05
    """Upper bound of the half-life as a share of the images seen so far; 0 for no bound."""

    def check(self) -> None:
        super().check()
        side, other = self.size
        if side < 8 or side & (side - 1) or side != other:
            raise UserError(f"--size is 8, 16, 32, 64, ... pixels, not {size_text(self.size)}")
        if self.base < side:
            raise UserError(f"--base is at least {side} at --size {side}")
        if self.path_weight and self.batch_size % 2:
            raise UserError("--batch-size is even, as path lengths are measured on half of it")


def system(args: Args, info):
    from jaxgen.models.stylegan2 import Discriminator, Generator, widths
    from jaxgen.systems.gan.stylegan2 import stylegan2
    from jaxgen.train.optim import half_life

    size, _, channels = info.shape
    levels = widths(size, args.base, args.width)
    return stylegan2(
        Generator(levels, channels, args.latent, args.layers, noise_rate=args.noise_rate),
        Discriminator(levels, args.group, args.residual),
        info.shape,
        latent=args.latent,
        lr=args.lr,
        gamma=args.gamma,
        path_weight=args.path_weight,
        mixing=args.mixing,
        ema=half_life(args.ema_images, args.batch_size, args.ema_ramp_up),
        augment=args.operations() or (lambda images, p, key: images),
        ada=args.controller(),
    )


if __name__ == "__main__":
    launch(system)
