"""pix2pix on line drawings: `python -m jaxgen.experiments.pix2pix`."""

import dataclasses
from typing import ClassVar, Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import (
    Count,
    CountOrZero,
    Rate,
    ShareBelowOne,
    Size,
    Spec,
    Weight,
    size_text,
)
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """pix2pix (Isola, Zhu, Zhou & Efros, 2017), https://arxiv.org/abs/1611.07004.

    The defaults suit two CPU cores; the paper's
    numbers are in experiments/pix2pix/paper.toml.
    """

    data: Spec = "emoji-lines"
    size: Size = (64, 64)
    rounds: Count = 5000
    batch_size: Count = 4
    direction: Literal["a-to-b", "b-to-a"] = "a-to-b"
    """Direction of the translation; emoji-lines: a is the outlines, b the coloured drawing."""
    objective: Literal["cgan+l1", "cgan", "gan+l1", "gan", "l1"] = "cgan+l1"
    """The losses (Table 1). With gan the discriminator does not see the input; l1 has none."""
    l1_weight: Weight = 100.0
    """Weight of the L1 term, lambda."""
    width: Count = 32
    """Channels of the U-Net's and of the discriminator's first level; the paper's is 64."""
    depth: CountOrZero = 0
    """Levels of the U-Net, each of which halves the image; 0: until a side is odd, 8 at most. With
    fewer than lead to one pixel, images of other sizes can be translated too."""
    discriminator: Literal["patch", "pixel"] = "patch"
    """patch judges patches; pixel each pixel on its own (1x1), without --layers."""
    layers: Count = 2
    """Levels of stride 2 of the PatchGAN: 1, 2, 3, 4, 5 judge patches of 16, 34, 70, 142, 286
    pixels. The paper's is 3."""
    norm: Literal["batch", "instance", "none"] = "batch"
    """Normalisation of both players."""
    skips: bool = True
    """Without, the U-Net is the paper's encoder-decoder."""
    variant: Literal["pytorch", "torch"] = "pytorch"
    """Place of the dropout. pytorch: in all of the inner levels of equal width but the last (one
    level at 64 pixels, three at 256). torch: in the three innermost (the paper's Lua code)."""
    dropout: ShareBelowOne = 0.5
    """Rate of the dropout, the only noise."""
    test_dropout: bool = True
    """Dropout also when the trained generator is used, as in the paper."""
    test_statistics: Literal["batch", "running"] = "running"
    """Statistics of batch normalisation then: those of the batch at hand (the paper), or running
    ones of the training."""
    lr: Rate = 2e-4
    """Adam's learning rate, of both players."""
    decay: bool = True
    """Lower the learning rate linearly to 0 in the second half of the rounds (PyTorch code)."""

    needs: ClassVar[tuple[str, ...]] = ("a", "b")

    @property
    def rounds_matter(self) -> bool:
        return self.decay

    def check(self) -> None:
        super().check()
        size, least = size_text(self.size), min(self.size)
        if any(side % 2 ** max(self.depth, 1) for side in self.size):
            raise UserError(
                f"--size {size} cannot be halved {max(self.depth, 1)} times; use a multiple "
                f"of {2 ** max(self.depth, 1)}, or another --depth"
            )
        if self.discriminator == "patch" and least >> self.layers < 3:
            raise UserError(
                f"--size {size} is too small for a PatchGAN of {self.layers} --layers; use "
                f"{max((least // 3).bit_length() - 1, 0)} at most, or --discriminator pixel"
            )


def system(args: Args, info):
    from jaxgen.models.patchgan import PatchGAN, PixelGAN
    from jaxgen.models.pix2pix import UNet, depth_of
    from jaxgen.systems.translation.pix2pix import pix2pix
    from jaxgen.train.optim import linear_decay

    size, channels = info.shape[:2], info.shape[2]
    depth = args.depth or depth_of(size)
    generator = UNet(depth, channels, args.width, args.norm, args.skips, args.dropout, args.variant)
    if args.discriminator == "patch":
        discriminator = PatchGAN(args.width, args.layers, args.norm)
    else:
        discriminator = PixelGAN(args.width, args.norm)
    half = args.rounds // 2
    lr = linear_decay(args.lr, args.rounds - half, half) if args.decay else args.lr
    return pix2pix(
        generator,
        discriminator,
        info.shape,
        direction=args.direction,
        objective=args.objective,
        l1_weight=args.l1_weight,
        lr=lr,
        statistics=args.test_statistics,
        noise=args.test_dropout,
    )


if __name__ == "__main__":
    launch(system)
