"""pix2pix on line drawings: `python -m jaxgen.experiments.pix2pix`."""

import dataclasses
from typing import Annotated, ClassVar, Literal

import tyro

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """pix2pix (Isola, Zhu, Zhou & Efros, 2017), https://arxiv.org/abs/1611.07004.

    The defaults are the recipe experiments/pix2pix/quick.toml, sized for two CPU cores; the paper's
    numbers are in experiments/pix2pix/paper.toml.
    """

    data: Annotated[str, tyro.conf.arg(metavar="SPEC")] = "emoji-lines"
    size: int = 64
    rounds: int = 5000
    batch_size: int = 4
    direction: Literal["a-to-b", "b-to-a"] = "a-to-b"
    """Which of a pair is the input; emoji-lines: a is the outlines, b the coloured drawing."""
    objective: Literal["cgan+l1", "cgan", "gan+l1", "gan", "l1"] = "cgan+l1"
    """The losses (Table 1). With gan the discriminator does not see the input; l1 has none."""
    l1_weight: float = 100.0
    """lambda, the weight of the L1 term."""
    width: int = 32
    """Channels of the U-Net's and of the discriminator's first level; the paper's is 64."""
    depth: int = 0
    """How often the U-Net halves the image; 0: until the side is odd, 8 times at most. With fewer
    than lead to one pixel, images of other sizes can be translated too."""
    discriminator: Literal["patch", "pixel"] = "patch"
    """pixel: judges each pixel on its own (1x1), and has no --layers."""
    layers: int = 2
    """Levels of stride 2 of the PatchGAN: 1, 2, 3, 4, 5 judge patches of 16, 34, 70, 142, 286
    pixels. The paper's is 3."""
    norm: Literal["batch", "instance", "none"] = "batch"
    """Of both players."""
    skips: bool = True
    """Without, the U-Net is the paper's encoder-decoder."""
    variant: Literal["pytorch", "torch"] = "pytorch"
    """Where dropout is. pytorch: in all of the inner levels of equal width but the last (one level
    at 64 pixels, three at 256). torch: in the three innermost (the paper's Lua code)."""
    dropout: float = 0.5
    """Rate, from 0 up to 1; the only noise."""
    test_dropout: bool = True
    """Dropout also when the trained generator is used, as in the paper."""
    test_statistics: Literal["batch", "running"] = "running"
    """What batch normalisation uses then: the statistics of the batch that it is given (the paper),
    or running ones of the training."""
    lr: float = 2e-4
    """Adam's learning rate, of both players."""
    decay: bool = True
    """Lower the learning rate linearly to 0 in the second half of the rounds (PyTorch code)."""

    needs: ClassVar[tuple[str, ...]] = ("a", "b")

    @property
    def rounds_matter(self) -> bool:
        return self.decay

    def check(self) -> None:
        super().check()
        for name in ("depth", "l1_weight"):
            if getattr(self, name) < 0:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} is at least 0, not {getattr(self, name):g}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"--dropout is a rate from 0 up to 1, not {self.dropout:g}")
        if self.size % 2 ** max(self.depth, 1):
            raise UserError(
                f"--size {self.size} cannot be halved {max(self.depth, 1)} times; use a multiple "
                f"of {2 ** max(self.depth, 1)}, or another --depth"
            )
        if self.discriminator == "patch" and self.size >> self.layers < 3:
            raise UserError(
                f"--size {self.size} is too small for a PatchGAN of {self.layers} --layers; use "
                f"{max((self.size // 3).bit_length() - 1, 0)} at most, or --discriminator pixel"
            )


def system(args: Args, data):
    from jaxgen.models.patchgan import PatchGAN, PixelGAN
    from jaxgen.models.pix2pix import UNet, depth_of
    from jaxgen.systems.translation.pix2pix import pix2pix
    from jaxgen.train.optim import linear_decay

    size, _, channels = data.shape
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
        data.shape,
        direction=args.direction,
        objective=args.objective,
        l1_weight=args.l1_weight,
        lr=lr,
        statistics=args.test_statistics,
        noise=args.test_dropout,
    )


if __name__ == "__main__":
    launch(system)
