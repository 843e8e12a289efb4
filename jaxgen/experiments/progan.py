"""Progressive GAN on portraits: `python -m jaxgen.experiments.progan`."""

import dataclasses

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import (
    Count,
    Rate,
    ShareBelowOne,
    Size,
    Spec,
    Weight,
    check_fades,
    size_text,
)
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Progressive growing of GANs (Karras et al., 2018), https://arxiv.org/abs/1710.10196.

    A stage for 4, 8, 16, ... pixels up to --size, each in a folder of its own. The defaults suit
    two CPU cores; the paper's numbers are in experiments/progan/paper.toml.
    """

    data: Spec = "faces"
    size: Size = (64, 64)
    """Side of the square images in pixels: 4, 8, 16, ...; others are resized."""
    rounds: Count = 9600
    """Length of the whole training, shared out among the stages; a round is a step of each
    player."""
    first_rounds: Count = 1600
    """Share of the first stage, 4 pixels, in proportion to the others."""
    stage_rounds: Count = 1600
    """Share of each stage between the first and the last."""
    last_rounds: Count = 3200
    """Share of the last stage, the full size."""
    fade_rounds: Count = 640
    """Share in which a stage's new layers are faded in, out of --stage-rounds; half in the
    paper."""
    batch_size: Count = 16
    width: Count = 64
    """Largest number of channels of a level; 512 in the paper."""
    base: Count = 512
    """Channels of a level of r pixels are 2 base / r; 8192 in the paper."""
    latent: Count = 64
    """Dimensions of the noise; 512 in the paper."""
    group: Count = 4
    """Images of which the critic sees the standard deviation together."""
    lr: Rate = 2e-3
    """Adam's learning rate, of both players; 0.001 in the paper."""
    penalty: Weight = 10.0
    """Weight of the penalty on the critic's gradient, lambda."""
    target: Rate = 1.0
    """Norm to which the critic's gradient is held; 750 for the paper's CIFAR."""
    ema: ShareBelowOne = 0.998
    """Decay of the generator's averaged weights, by round; 0.999 in the paper, 0 averages none."""

    @property
    def rounds_matter(self) -> bool:
        return True  # they are shared out

    def check(self) -> None:
        super().check()
        side, other = self.size
        if side < 4 or side & (side - 1) or side != other:
            raise UserError(f"--size is 4, 8, 16, 32, 64, ... pixels, not {size_text(self.size)}")
        check_fades(self, side > 4, side > 8)
        if 2 * self.base < side:
            raise UserError(f"--base is at least {side // 2} at --size {side}")


def system(args: Args, info):
    import optax

    from jaxgen.models import progan as models
    from jaxgen.systems.gan.progan import progan
    from jaxgen.train.stages import Stage, share_out

    channels, sides = info.shape[-1], models.sides(args.size[0])
    shares = [args.first_rounds, *(args.stage_rounds for _ in sides[1:])]
    shares[-1] = args.last_rounds
    rounds = share_out(args.rounds, shares)
    fade_rounds = max(1, round(args.rounds * args.fade_rounds / sum(shares)))

    def stage(side, rounds):
        system = progan(
            models.Generator(side, channels, args.base, args.width),
            models.Critic(args.base, args.width, args.group),
            info.shape,
            side,
            fade_rounds=fade_rounds if side > 4 else 0,
            optimizer=optax.adam(args.lr, b1=0.0, b2=0.99),
            latent=args.latent,
            penalty=args.penalty,
            target=args.target,
            ema=args.ema,
        )
        return Stage(f"{side}px", system, rounds)

    return list(map(stage, sides, rounds))


if __name__ == "__main__":
    launch(system)
