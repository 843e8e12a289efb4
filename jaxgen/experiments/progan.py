"""Progressive GAN on emoji: `python -m jaxgen.experiments.progan`."""

import dataclasses
from typing import Annotated

import tyro

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Progressive growing of GANs (Karras et al., 2018), https://arxiv.org/abs/1710.10196.

    A stage for 4, 8, 16, ... pixels up to --size, each in a folder of its own. The defaults are the
    recipe experiments/progan/quick.toml, sized for two CPU cores; the paper's numbers are in
    experiments/progan/paper.toml.
    """

    data: Annotated[str, tyro.conf.arg(metavar="SPEC")] = "emoji"
    size: int = 64
    """Side of the images in pixels: 4, 8, 16, ...; others are resized."""
    rounds: int = 3200
    """Of the last stage, the full size; a round is a step of each player. With fewer than
    --fade-rounds the last layers stay partly faded in."""
    stage_rounds: int = 1600
    """Of each stage between the first and the last."""
    first_rounds: int = 1600
    """Of the first stage, 4 pixels."""
    fade_rounds: int = 640
    """In how many of a stage's rounds its new layers are faded in; half of them in the paper."""
    batch_size: int = 16
    width: int = 64
    """Channels of a level, at most; 512 in the paper."""
    base: int = 512
    """A level of r pixels has 2 base / r channels; 8192 in the paper."""
    latent: int = 64
    """Dimensions of the noise; 512 in the paper."""
    group: int = 4
    """Images whose spread the critic sees together."""
    lr: float = 2e-3
    """Adam's learning rate, of both players; 0.001 in the paper."""
    penalty: float = 10.0
    """The weight of the penalty on the critic's slope, lambda."""
    target: float = 1.0
    """The slope that the critic is held to; 750 for the paper's CIFAR."""
    ema: float = 0.998
    """Decay of the generator's averaged weights, by round; 0.999 in the paper, 0 averages none."""

    def check(self) -> None:
        super().check()
        if self.size < 4 or self.size & (self.size - 1):
            raise UserError(f"--size is 4, 8, 16, 32, 64, ... pixels, not {self.size}")
        if self.size > 8 and self.fade_rounds > self.stage_rounds:
            raise UserError(
                f"--fade-rounds {self.fade_rounds} are more than --stage-rounds "
                f"{self.stage_rounds}; a stage must end grown"
            )
        if 2 * self.base < self.size:
            raise UserError(f"--base is at least {self.size // 2} at --size {self.size}")
        if self.target <= 0:
            raise UserError(f"--target is more than 0, not {self.target:g}")
        if not 0 <= self.ema < 1:
            raise UserError(f"--ema is from 0 up to 1, not {self.ema:g}")


def system(args: Args, data):
    import optax

    from jaxgen.models import progan as models
    from jaxgen.systems.gan.progan import progan
    from jaxgen.train.stages import Stage

    channels, sides = data.shape[-1], models.sides(args.size)
    rounds = [args.first_rounds, *(args.stage_rounds for _ in sides[1:])]
    rounds[-1] = args.rounds

    def stage(side, rounds):
        system = progan(
            models.Generator(side, channels, args.base, args.width),
            models.Critic(args.base, args.width, args.group),
            data.shape,
            side,
            fade_rounds=args.fade_rounds if side > 4 else 0,
            optimizer=optax.adam(args.lr, b1=0.0, b2=0.99),
            latent=args.latent,
            penalty=args.penalty,
            target=args.target,
            ema=args.ema,
        )
        return Stage(f"{side}px", system, data, rounds, args.batch_size)

    return list(map(stage, sides, rounds))


if __name__ == "__main__":
    launch(system)
