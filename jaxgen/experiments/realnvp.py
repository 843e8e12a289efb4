"""RealNVP on digits: `python -m jaxgen.experiments.realnvp`."""

import dataclasses
from typing import Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, Rate, Size, Weight, size_text
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """RealNVP (Dinh et al., 2017), https://arxiv.org/abs/1605.08803.

    The defaults suit two CPU cores; the released code's numbers are in
    experiments/realnvp/paper.toml.
    """

    size: Size = (28, 28)
    channels: Literal[1, 3, 4] = 1
    rounds: Count = 4000
    batch_size: Count = 32
    width: Count = 16
    """Channels of the finest scale; each coarser scale has twice as many. 32 in the code."""
    scales: Count = 3
    """Scales, each with half the sides of the one before; 4 in the code."""
    blocks: Count = 2
    """Residual blocks of a coupling; 2 in the code, 8 in the paper for 32 pixels."""
    lr: Rate = 1e-3
    """Learning rate for Adam."""
    decay: bool = True
    """Let the learning rate fall to 0 at the last round; the code's stays."""
    clip: Rate = 100.0
    """Largest norm of a gradient."""
    weight_decay: Weight = 5e-5
    """Weight decay of the kernels' magnitudes and the checkerboard couplings' scales."""

    @property
    def rounds_matter(self) -> bool:
        return self.decay

    def check(self) -> None:
        super().check()
        if any(side % 2 ** (self.scales - 1) for side in self.size):
            raise UserError(
                f"--scales {self.scales} needs sides that {2 ** (self.scales - 1)} divides, and "
                f"--size is {size_text(self.size)}; use fewer scales or another size"
            )


def system(args: Args, info):
    import optax

    from jaxgen.models.realnvp import RealNVP
    from jaxgen.systems.likelihood.realnvp import realnvp

    lr = optax.linear_schedule(args.lr, 0.0, args.rounds) if args.decay else args.lr
    optimizer = optax.chain(optax.clip_by_global_norm(args.clip), optax.adam(lr))
    flow = RealNVP(args.width, args.blocks, args.scales)
    return realnvp(flow, info.shape, optimizer, args.weight_decay)


if __name__ == "__main__":
    launch(system)
