"""An energy-based model of digits: `python -m jaxgen.experiments.ebm`."""

import dataclasses
from typing import Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, CountOrZero, Rate, ShareBelowOne, Size, Weight, size_text
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Implicit generation and modeling with energy-based models (Du & Mordatch, 2019),
    https://arxiv.org/abs/1903.08689.

    The defaults suit two CPU cores. Steps are smaller than the authors', and the rate falls: with
    steps and rate of theirs this small network diverges after some 600 rounds, with a rate that
    stays after some 1300. experiments/ebm/paper.toml has their CIFAR-10 model,
    classes.toml digits by class.
    """

    size: Size = (28, 28)
    channels: Literal[1, 3, 4] = 1
    rounds: Count = 2000
    batch_size: Count = 32
    sample_every: Count = 500
    save_every: Count = 500
    net: Literal["digits", "resnet"] = "digits"
    """Network: four convolutions, or residual blocks, which know labels."""
    width: Count = 16
    """Channels of the first convolution; the authors have 64 for digits and 128 for CIFAR-10."""
    labels: bool = False
    """Tell the network the images' labels."""
    steps: Count = 20
    """Steps of Langevin dynamics in a round; samples and pictures take ten times as many."""
    step_size: Rate = 5.0
    """Factor of the energy's slope in a step of Langevin dynamics."""
    largest: Weight = 0.006
    """Largest slope of the energy at a pixel that counts; 0 bounds none. Where chains make stripes
    and their energies leave those of the data, a smaller one helps."""
    alpha: Weight = 1.0
    """Weight of the squared energies."""
    buffer: CountOrZero = 10_000
    """Ends of earlier chains, from which 95 % of the chains start; 0 starts all from noise."""
    lr: Rate = 2e-4
    """Learning rate for Adam."""
    decay: bool = True
    """Let the learning rate fall to 0 at the last round."""
    ema: ShareBelowOne = 0.0
    """Decay of the averaged weights; 0 averages none."""

    @property
    def rounds_matter(self) -> bool:
        return self.decay

    def check(self) -> None:
        super().check()
        if self.labels and self.net == "digits":
            raise UserError("--net digits knows no labels; use --net resnet")
        if self.net == "resnet" and min(self.size) < 8:
            raise UserError(f"--net resnet takes --size 8 or more, not {size_text(self.size)}")


def system(args: Args, info):
    import optax

    from jaxgen.models.ebm import DigitNet, ResNet
    from jaxgen.systems.likelihood.ebm import ebm

    if args.labels and not info.label_names:
        raise UserError(f"{args.data} has no labels; leave --labels out, or name other data")
    lr = optax.linear_schedule(args.lr, 0.0, args.rounds) if args.decay else args.lr
    if args.net == "digits":
        network = DigitNet(args.width)
    else:
        w = args.width
        widths = (w,) * 3 + (2 * w,) * 3 + (4 * w,) * 3
        network = ResNet(w, widths, classes=len(info.label_names) if args.labels else 0)
    return ebm(
        network,
        info.shape,
        optax.adam(lr, b1=0.0, b2=0.999),
        args.batch_size,
        steps=args.steps,
        size=args.step_size,
        largest=args.largest,
        alpha=args.alpha,
        buffer=args.buffer,
        labels=args.labels,
        ema=args.ema,
    )


if __name__ == "__main__":
    launch(system)
