"""CycleGAN on emoji of two hands: `python -m jaxgen.experiments.cyclegan`."""

import dataclasses
from typing import ClassVar

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, CountOrZero, Rate, Size, Spec, Weight, size_text
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """CycleGAN (Zhu et al., 2017), https://arxiv.org/abs/1703.10593.

    Translates between two domains of images, a and b, learned from unpaired examples. The defaults
    (Twemoji and OpenMoji) suit two CPU cores; the paper's numbers are in
    experiments/cyclegan/paper.toml.
    """

    data: Spec = "emoji-domains"
    """emoji-domains (a is Twemoji, b OpenMoji), domains:DIR (trainA/ and trainB/), emoji-lines or
    pairs:DIR (whose pairs are then not used as such)."""
    size: Size = (48, 48)
    flip: bool = True
    rounds: Count = 24000
    batch_size: Count = 1
    rounds_per_call: Count = 10
    width: Count = 16
    """Channels of the generators at full size; the paper's is 64."""
    blocks: Count = 6
    """Residual blocks of a generator; the paper has 6 at 128 pixels and 9 at 256."""
    discriminator_width: Count = 32
    """Channels of the discriminators' first level; the paper's is 64."""
    layers: Count = 2
    """Levels of stride 2 in a discriminator: its patches have 16, 34, 70 pixels for 1, 2, 3."""
    lr: Rate = 5e-4
    """Adam's learning rate, of all players. In the second half of the rounds it falls to 0, a
    little in every round (in the authors' code, in every epoch)."""
    cycle: Weight = 3.0
    """Weight of the distance of an image from its translation there and back; 10 in the paper."""
    identity: Weight = 0.33
    """Weight of the distance that a generator moves images of its target domain, in units of
    --cycle; the paper has 0 but for paintings and photographs."""
    pool: CountOrZero = 50
    """Generated images that the discriminators are shown again later; 0 shows the latest only."""

    needs: ClassVar[tuple[str, ...]] = ("a", "b")

    @property
    def rounds_matter(self) -> bool:
        return True

    def check(self) -> None:
        super().check()
        least = min(self.size)
        if any(side % 4 for side in self.size) or least < 8:
            raise UserError(
                "the generators make images of 8, 12, 16, ... pixels a side, not "
                f"{size_text(self.size)}; change --size"
            )
        if least >> self.layers < 3:
            most = (least // 3).bit_length() - 1
            raise UserError(
                f"--size {size_text(self.size)} is too small for discriminators of {self.layers} "
                f"--layers; use {most} at most"
            )


def system(args: Args, info):
    from jaxgen.models.cyclegan import Generator
    from jaxgen.models.patchgan import PatchGAN
    from jaxgen.systems.translation.cyclegan import cyclegan
    from jaxgen.train.optim import linear_decay

    half = args.rounds // 2
    return cyclegan(
        Generator(args.channels, args.width, args.blocks),
        PatchGAN(args.discriminator_width, args.layers, "instance"),
        info.shape,
        args.batch_size,
        linear_decay(args.lr, args.rounds - half, half),
        args.cycle,
        args.identity,
        args.pool,
    )


if __name__ == "__main__":
    launch(system)
