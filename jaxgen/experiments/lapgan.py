"""LAPGAN on portraits: `python -m jaxgen.experiments.lapgan`."""

import dataclasses
import itertools
from typing import Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, Rate, ShareBelowOne, Size, Spec, size_text
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError

SMALLEST = {"small": 9, "large": 13}  # images in pixels that a level's discriminator can judge


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """LAPGAN (Denton et al., 2015), https://arxiv.org/abs/1506.05751: a GAN for each level of a
    Laplacian pyramid.

    A stage for each level, in a folder of its own. The defaults suit two CPU cores; the paper's
    numbers are in experiments/lapgan/paper.toml, those of its larger networks in large.toml.
    """

    data: Spec = "faces"
    size: Size = (32, 32)
    """Side of the square images in pixels, that of the finest level."""
    coarser: tuple[Count, ...] = (8, 16)
    """Sides of the other levels, the coarsest first; each is larger than the one before."""
    rounds: Count = 22000
    """Length of the whole training, shared out among the levels."""
    rounds_per_call: Count = 10
    base_rounds: Count = 16000
    """Share of the coarsest level, in proportion to the others."""
    level_rounds: Count = 3000
    """Share of each other level."""
    batch_size: Count = 32
    net: Literal["small", "large"] = "small"
    """Networks of the levels: the code's for CIFAR-10, or those for LSUN's scenes, of fixed
    width."""
    labels: bool = False
    """Tell all networks the images' labels."""
    width: Count = 16
    """Channels of the small generators; 64 in the code, 128 for larger images."""
    discriminator_width: Count = 32
    """Channels of the small discriminators; 64 in the code."""
    base_width: Count = 600
    """Units of the coarsest level's generator; 1200 in the paper."""
    base_discriminator_width: Count = 300
    """Units of the coarsest level's discriminator; 600 in the paper."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """sgd is the paper's, whose momentum rises from 0.5 to 0.8 by 0.0008 an epoch while the rate
    falls by a factor of 1.00004. Adam has betas 0.5 and 0.999."""
    lr: Rate = 4e-4
    """Learning rate of all players; 0.02 for the paper's SGD."""
    ema: ShareBelowOne = 0.998
    """Decay of the generators' averaged weights, by round; 0 averages none, as in the paper."""

    @property
    def rounds_matter(self) -> bool:
        return True  # they are shared out

    def check(self) -> None:
        super().check()
        side, other = self.size
        if side != other:
            raise UserError(f"--size is a square's, such as {side}, not {size_text(self.size)}")
        sides = [*self.coarser, side]
        if any(b <= a for a, b in itertools.pairwise(sides)):
            raise UserError(
                f"--coarser rises to less than --size {side}, such as {max(1, side // 2)}, not "
                + " ".join(map(str, self.coarser))
            )
        if self.coarser and sides[1] < (least := SMALLEST[self.net]):
            raise UserError(
                f"--net {self.net} judges images of {least} pixels or more at all levels but the "
                f"coarsest, not {sides[1]}; leave that level out"
            )


def system(args: Args, info):
    import optax

    from jaxgen.models import lapgan as models
    from jaxgen.systems.gan.lapgan import lapgan
    from jaxgen.train.stages import Stage, share_out

    if args.labels and not info.label_names:
        raise UserError(f"{args.data} has no labels; leave --labels out, or name other data")
    classes = len(info.label_names) if args.labels else 0
    side, _, channels = info.shape
    sides = [*args.coarser, side]
    shares = [args.base_rounds, *(args.level_rounds for _ in args.coarser)]
    generators = [models.BaseGenerator((sides[0], sides[0], channels), args.base_width, classes)]
    discriminators = [models.BaseDiscriminator(args.base_discriminator_width, classes)]
    for _ in args.coarser:
        if args.net == "small":
            generators.append(models.Generator(channels, args.width, classes))
            discriminators.append(models.Discriminator(args.discriminator_width, classes))
        else:
            generators.append(models.LargeGenerator(channels, classes))
            discriminators.append(models.LargeDiscriminator(classes))

    epoch = max(1, info.examples // args.batch_size)  # in rounds
    falling = lambda step: args.lr / 1.00004 ** (step // epoch)
    rising = lambda step: (0.5 + 0.0008 * (step // epoch)).clip(max=0.8)
    sgd = optax.inject_hyperparams(optax.sgd)(falling, rising)
    optimizers = [sgd if args.optimizer == "sgd" else optax.adam(args.lr, b1=0.5)] * 2

    def stage(k, rounds):
        level = lapgan(
            generators[: k + 1],
            discriminators[k],
            info.shape,
            sides,
            optimizers,
            args.labels,
            args.ema,
        )
        return Stage(f"{sides[k]}px", level, rounds)

    return [stage(k, n) for k, n in enumerate(share_out(args.rounds, shares))]


if __name__ == "__main__":
    launch(system)
