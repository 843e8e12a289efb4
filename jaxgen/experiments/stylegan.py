"""StyleGAN on drawn faces: `python -m jaxgen.experiments.stylegan`."""

import dataclasses

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, Rate, Share, Size, Spec, Weight, check_fades, size_text
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """StyleGAN (Karras et al., 2019), https://arxiv.org/abs/1812.04948.

    A stage for 8, 16, 32, ... pixels up to --size, each in a folder of its own. The defaults suit
    two CPU cores; the paper's numbers are in experiments/stylegan/paper.toml. A trained run can
    `sample`, `mix`, `interpolate` and `project` (python -m jaxgen).
    """

    data: Spec = "faces"
    size: Size = (64, 64)
    """Side of the square images in pixels: 8, 16, 32, ...; others are resized."""
    rounds: Count = 7400
    """Length of the whole training, shared out among the stages; a round is a step of each
    player."""
    first_rounds: Count = 1600
    """Share of the first stage, 8 pixels, in proportion to the others."""
    stage_rounds: Count = 1600
    """Share of each stage between the first and the last."""
    last_rounds: Count = 2600
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
    """Dimensions of the noise and of the styles; 512 in the paper."""
    layers: Count = 8
    """Layers of the mapping from noise to styles."""
    group: Count = 4
    """Images of which the discriminator sees the standard deviation together."""
    lr: Rate = 2e-3
    """Adam's learning rate, of both players; 0.001 to 0.003 in the paper, by the size."""
    gamma: Weight = 1.0
    """Weight of R1; 10 in the paper."""
    noise_rate: Weight = 0.01
    """How fast the strengths of the noise learn, in times of the other weights; 1 in the paper. In
    a short training they would grow first, and the noise stand for detail that is still to come."""
    mixing: Share = 0.9
    """Share of the minibatches in which two styles are mixed."""
    ema_images: Count = 5000
    """Half-life, in images, of the generator's averaged weights; 10,000 in the paper."""

    @property
    def rounds_matter(self) -> bool:
        return True  # they are shared out

    def check(self) -> None:
        super().check()
        side, other = self.size
        if side < 8 or side & (side - 1) or side != other:
            raise UserError(f"--size is 8, 16, 32, 64, ... pixels, not {size_text(self.size)}")
        check_fades(self, side > 8, side > 16)
        if 2 * self.base < side:
            raise UserError(f"--base is at least {side // 2} at --size {side}")


def system(args: Args, info):
    import optax

    from jaxgen.models import stylegan as models
    from jaxgen.models.progan import sides
    from jaxgen.systems.gan.stylegan import stylegan
    from jaxgen.train.optim import half_life
    from jaxgen.train.stages import Stage, share_out

    levels = sides(args.size[0])[1:]
    shares = [args.first_rounds, *(args.stage_rounds for _ in levels[1:])]
    shares[-1] = args.last_rounds
    rounds = share_out(args.rounds, shares)
    fade_rounds = max(1, round(args.rounds * args.fade_rounds / sum(shares)))

    def stage(side, rounds):
        widths = models.widths(side, args.base, args.width)
        system = stylegan(
            models.Generator(
                *(widths, info.shape[-1], args.latent, args.layers), noise_rate=args.noise_rate
            ),
            models.Discriminator(args.base, args.width, args.group),
            info.shape,
            side,
            fade_rounds=fade_rounds if side > 8 else 0,
            optimizer=optax.adam(args.lr, b1=0.0, b2=0.99),
            latent=args.latent,
            gamma=args.gamma,
            mixing=args.mixing,
            ema=half_life(args.ema_images, args.batch_size),
        )
        return Stage(f"{side}px", system, rounds)

    return list(map(stage, levels, rounds))


if __name__ == "__main__":
    launch(system)
