"""CycleGAN on emoji of two hands: `python -m jaxgen.experiments.cyclegan`."""

import dataclasses
from typing import Annotated, ClassVar

import tyro

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """CycleGAN (Zhu et al., 2017), https://arxiv.org/abs/1703.10593.

    Learns from unpaired images of two domains, a and b, to make of each such of the other.  The
    defaults are the recipe experiments/cyclegan/quick.toml (Twemoji and OpenMoji), sized for two
    CPU cores; the paper's numbers are in experiments/cyclegan/paper.toml.
    """

    data: Annotated[str, tyro.conf.arg(metavar="SPEC")] = "emoji-domains"
    """emoji-domains (a is Twemoji, b OpenMoji), domains:DIR (trainA/ and trainB/), emoji-lines or
    pairs:DIR (whose pairs are then not used as such)."""
    size: int = 48
    flip: bool = True
    rounds: int = 24000
    batch_size: int = 1
    rounds_per_call: int = 10
    width: int = 16
    """Channels of the generators at full size; the paper's is 64."""
    blocks: int = 6
    """Residual blocks of a generator; the paper has 6 at 128 pixels and 9 at 256."""
    discriminator_width: int = 32
    """Channels of the discriminators' first level; the paper's is 64."""
    layers: int = 2
    """Levels of stride 2 in a discriminator: its patches have 16, 34, 70 pixels for 1, 2, 3."""
    lr: float = 5e-4
    """Adam's learning rate, of all players. In the second half of the rounds it falls to 0, a
    little in every round (in the authors' code, in every epoch)."""
    cycle: float = 3.0
    """Weight of the distance of an image from what there and back has made of it; the paper's is
    10."""
    identity: float = 0.33
    """Weight of the distance that a generator moves images of its target domain, in units of
    --cycle; the paper has 0 but for paintings and photographs."""
    pool: int = 50
    """Made images that the discriminators are shown again later; 0 shows them the latest alone."""

    needs: ClassVar[tuple[str, ...]] = ("a", "b")

    @property
    def rounds_matter(self) -> bool:
        return True

    def check(self) -> None:
        super().check()
        for name in ("cycle", "identity", "pool"):
            if (value := getattr(self, name)) < 0:
                raise UserError(f"--{name} is at least 0, not {value:g}")
        if self.size % 4 or self.size < 8:
            raise UserError(
                f"the generators make images of 8, 12, 16, ... pixels, not {self.size}; change "
                "--size"
            )
        if self.size >> self.layers < 3:
            most = (self.size // 3).bit_length() - 1
            raise UserError(
                f"--size {self.size} is too small for discriminators of {self.layers} --layers; "
                f"use {most} at most"
            )


def system(args: Args, data):
    from jaxgen.models.cyclegan import Generator
    from jaxgen.models.patchgan import PatchGAN
    from jaxgen.systems.translation.cyclegan import cyclegan
    from jaxgen.train.optim import linear_decay

    half = args.rounds // 2
    return cyclegan(
        Generator(args.channels, args.width, args.blocks),
        PatchGAN(args.discriminator_width, args.layers, "instance"),
        data.shape,
        args.batch_size,
        linear_decay(args.lr, args.rounds - half, half),
        args.cycle,
        args.identity,
        args.pool,
    )


if __name__ == "__main__":
    launch(system)
