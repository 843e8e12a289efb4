"""BigGAN on silhouettes of animals: `python -m jaxgen.experiments.biggan`."""

import dataclasses
from typing import Annotated, Literal

from tyro.conf import arg

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, CountOrZero, Range, Rate, ShareBelowOne, Size, Spec, Weight
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """BigGAN and BigGAN-deep (Brock, Donahue & Simonyan, 2019), https://arxiv.org/abs/1809.11096.

    The defaults suit two CPU cores. The paper's numbers for ImageNet at 128 pixels are in
    experiments/biggan/paper.toml, those of BigGAN-deep in experiments/biggan/deep.toml.
    """

    data: Spec = "animals"
    size: Size = (28, 28)
    channels: Literal[1, 3, 4] = 1
    flip: bool = True
    rounds: Count = 6000
    batch_size: Count = 32
    rounds_per_call: Count = 20
    sample_every: Count = 500
    save_every: Count = 500
    deep: bool = False
    """Networks of BigGAN-deep: twice as many blocks, which are bottlenecks."""
    width: Count = 8
    """Channels per unit of the paper's plan of widths, 96 there."""
    attention: Annotated[int | None, Range(0), arg(metavar="INT", help_behavior_hint="")] = None
    """Height in pixels of the maps that have self-attention, 64 in the paper; 0 for none. By
    default that of the generator's last map but one."""
    latent: Count = 60
    """Numbers of a latent. It is cut into equal chunks, one for the first map and for each level of
    the generator; 120 at 128 pixels, and 128, which are not cut, with --deep."""
    embedding: CountOrZero = 32
    """Numbers of the embedding of a class that all norms of the generator share, 128 in the paper;
    with 0 each norm has gains and biases by class."""
    hierarchical: bool = True
    """Give every level a chunk of the latent, with --deep all of it; else the first map alone has
    it."""
    steps: Count = 1
    """Discriminator steps a round, 2 in the paper."""
    orthogonal: Weight = 1e-4
    """Weight of the orthogonal regularisation of the generator; 0 leaves it out."""
    lr: Rate = 5e-4
    """Learning rate of the generator, 5e-5 in the paper."""
    discriminator_lr: Rate = 2e-3
    """Learning rate of the discriminator, 2e-4 in the paper."""
    b1: ShareBelowOne = 0.0
    """Adam's first beta."""
    b2: ShareBelowOne = 0.9
    """Adam's second beta, 0.999 in the paper."""
    ema: ShareBelowOne = 0.999
    """Decay of the generator's averaged weights, 0.9999 in the paper."""
    ema_start: CountOrZero = 500
    """Rounds before the averaging begins, 20,000 in the authors' code."""

    def check(self) -> None:
        super().check()
        if self.hierarchical and not self.embedding:
            raise UserError(
                "--embedding 0 leaves the levels nothing to be joined with their chunks of the "
                "latent; add --no-hierarchical"
            )


def system(args: Args, info):
    import jax.numpy as jnp
    import optax

    from jaxgen.models import biggan as models
    from jaxgen.systems.gan.biggan import biggan

    if not info.label_names:
        raise UserError(f"{args.data} has no labels; name other data")
    size, channels = info.shape[:2], info.shape[2]
    about = {"classes": len(info.label_names), "deep": args.deep}
    attention = models.usual_attention(size) if args.attention is None else args.attention
    plan = size, args.width, attention
    generator = models.generator(
        *plan,
        channels=channels,
        embedding=args.embedding,
        hierarchical=args.hierarchical,
        **about,
    )
    if args.latent % generator.chunks:
        n = -(-args.latent // generator.chunks) * generator.chunks
        raise UserError(f"--latent {args.latent} is no multiple of {generator.chunks}; use {n}")
    return biggan(
        generator,
        models.discriminator(*plan, **about),
        info.shape,
        args.latent,
        [optax.adam(lr, b1=args.b1, b2=args.b2) for lr in (args.lr, args.discriminator_lr)],
        args.steps,
        args.orthogonal,
        lambda round: jnp.where(round < args.ema_start, 0.0, args.ema),
    )


if __name__ == "__main__":
    launch(system)
