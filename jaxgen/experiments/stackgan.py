"""StackGAN, portraits of what a caption says: `python -m jaxgen.experiments.stackgan`."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import arg

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import (
    Count,
    CountOrZero,
    Range,
    Rate,
    ShareBelowOne,
    Size,
    Spec,
    Weight,
    size_text,
)
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError

SMALLEST = 32  # pixels, of which Stage I makes 8
# Sizes of the text encoder, where none is taken from a run of clip.
ENCODER = {"text_width": 64, "text_layers": 2, "text_heads": 4, "embedding": 128, "context": 40}

_of_run = arg(help_behavior_hint="(default: that of --text-encoder)")
OfRun = Annotated[int | None, Range(1), _of_run]


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """StackGAN (Zhang et al., 2017), https://arxiv.org/abs/1612.03242: images of texts.

    Three stages: an encoder of texts, which then holds still, Stage I, which makes images of a
    quarter of the size, and Stage II, which makes large ones of them. The defaults suit two CPU
    cores; the paper's numbers are in experiments/stackgan/paper.toml. Then
    `python -m jaxgen sample runs/stackgan --text "a smiling person with long red hair"`.
    """

    data: Spec = "faces:20000"
    """Images with captions: faces, of which the default draws many, so that discriminators learn
    fewer by heart; emoji; folder:DIR with metadata.jsonl or metadata.csv; several with a plus, such
    as emoji+openmoji."""
    size: Size = (64, 64)
    """Sides of Stage II's images in pixels."""
    rounds: Count = 11000
    """Length of the whole training, shared out among the stages."""
    text_rounds: CountOrZero = 2
    """Share of the text encoder, in proportion to the others."""
    first_rounds: Count = 8
    """Share of Stage I."""
    second_rounds: Count = 1
    """Share of Stage II."""
    batch_size: Count = 32
    text_encoder: Annotated[
        Path | None, arg(metavar="RUN", help_behavior_hint="(default: one that is trained here)")
    ] = None
    """Run of clip whose text encoder and vocabulary are taken, without the first stage."""
    text_width: OfRun = None
    """Channels of the text encoder, and of the image encoder beside which it learns; 64 without
    --text-encoder."""
    text_layers: OfRun = None
    """Blocks of both; 2 without --text-encoder."""
    text_heads: OfRun = None
    """Attention heads of both; 4 without --text-encoder."""
    embedding: OfRun = None
    """Numbers of a text's vector; 128 without --text-encoder, 1,024 in the paper."""
    context: Annotated[int | None, Range(3), _of_run] = None
    """Tokens of a text, with its start and end; longer texts are cut off. 40 without
    --text-encoder."""
    merges: Count = 1000
    """Largest number of byte pairs that merge; there are 514 tokens more."""
    patch: Count = 8
    """Side in pixels of the patches that the image encoder sees; it divides --size."""
    text_lr: Rate = 1e-3
    """Highest learning rate of the encoders."""
    latent: Count = 100
    """Numbers of a latent z."""
    condition: Count = 128
    """Numbers of the condition that is drawn about a text's vector."""
    first_width: Count = 96
    """Channels of the last hidden level of Stage I's generator; 128 in the paper."""
    first_discriminator_width: Count = 48
    """Channels of the first layer of Stage I's discriminator; 64 in the paper."""
    width: Count = 16
    """Channels of the first layer of Stage II's generator; 128 in the paper."""
    discriminator_width: Count = 16
    """Channels of the first layer of Stage II's discriminator; 64 in the paper."""
    blocks: Count = 4
    """Residual blocks of Stage II."""
    kl: Weight = 2.0
    """Weight of the divergence of a condition from the standard Gaussian; 1 in the paper, 2 in the
    authors' code."""
    first_lr: Rate = 5e-4
    """Learning rate of Stage I's generator; 2e-4 in the paper, as those of all players."""
    first_discriminator_lr: Rate = 1e-4
    """Learning rate of Stage I's discriminator."""
    lr: Rate = 1e-3
    """Learning rate of Stage II's generator."""
    discriminator_lr: Rate = 2e-4
    """Learning rate of Stage II's discriminator."""
    halve_every: CountOrZero = 2667
    """Rounds of a stage after which its rates are halved, again and again; 100 epochs in the paper.
    0 never halves them."""
    b1: ShareBelowOne = 0.5
    """Adam's first beta."""
    instance_noise: Weight = 0.2
    """Standard deviation of the noise on all that the discriminators see, of images in [-1, 1]
    (https://arxiv.org/abs/1610.04490); 0 adds none, as in the paper."""
    ema: ShareBelowOne = 0.995
    """Decay of the generators' averaged weights; 0 averages none, as in the paper."""

    needs: ClassVar[tuple[str, ...]] = ("image", "text")

    def __post_init__(self):
        super().__post_init__()
        if left := [name for name in ENCODER if getattr(self, name) is None]:
            sizes = _sizes(self.text_encoder) if self.text_encoder else ENCODER
            for name in left:
                object.__setattr__(self, name, sizes[name])

    @property
    def rounds_matter(self) -> bool:
        return True  # they are shared out

    @property
    def encoder(self) -> dict[str, int]:
        """Sizes of the text encoder, by the names of `ENCODER`."""
        return {name: getattr(self, name) for name in ENCODER}

    def check(self) -> None:
        super().check()
        size, sizes = size_text(self.size), self.encoder
        if any(side < SMALLEST or side % 16 for side in self.size):
            near = size_text(tuple(max(SMALLEST, side // 16 * 16) for side in self.size))
            raise UserError(
                f"--size is a multiple of 16 from {SMALLEST} on, such as {near}, not {size}"
            )
        if self.text_encoder:
            for name, value in _sizes(self.text_encoder).items():
                if sizes[name] != value:
                    raise UserError(
                        f"--{name.replace('_', '-')} is {value} in {self.text_encoder}, not "
                        f"{sizes[name]}; leave it out"
                    )
        elif any(side % self.patch for side in self.size):
            raise UserError(f"--patch {self.patch} does not divide --size {size}; use 8")
        elif sizes["text_width"] % sizes["text_heads"]:
            raise UserError(
                f"--text-width {sizes['text_width']} is not a multiple of --text-heads "
                f"{sizes['text_heads']}"
            )

    def tokenizer(self, captions: Callable[[], Iterable[str]]):
        from jaxgen.data import tokens

        if not self.text_encoder:
            return tokens.learn(captions(), self.merges, self.encoder["context"])
        from jaxgen.runs.load import read_info

        _sizes(self.text_encoder)
        return read_info(self.text_encoder).vocabulary


def _sizes(run: Path) -> dict[str, int]:
    """Those of the text encoder of a run of clip.  UserError for what is none."""
    from jaxgen.train.run import read_run

    said = read_run(run).args
    name = said.get("experiment", "a system of your own")
    if name != "jaxgen.experiments.clip":
        whose = name.rpartition(".")[2]
        raise UserError(f"--text-encoder {run} is a run of {whose}; name a run of clip")
    return {name: said[name] for name in ENCODER}


def system(args: Args, info):
    import optax

    from jaxgen.models import stackgan as models
    from jaxgen.models.clip import ImageTower, TextTower
    from jaxgen.runs.load import load
    from jaxgen.systems.gan.stackgan import SCALE, stackgan
    from jaxgen.systems.multimodal.clip import adamw, clip
    from jaxgen.train.optim import warm_up_cosine
    from jaxgen.train.stages import Stage, share_out

    width, layers, heads, embedding, context = args.encoder.values()
    text = TextTower(info.vocabulary.size, context, width, layers, embedding, heads)
    shares = [args.text_rounds] * (not args.text_encoder) + [args.first_rounds, args.second_rounds]
    *of_text, first, second = share_out(args.rounds, shares)
    stages, pretrained = [], None
    if args.text_encoder:
        run = args.text_encoder
        pretrained = lambda: load(run).frozen("text").variables
    for rounds in of_text:
        image = ImageTower(args.patch, width, layers, embedding, heads)
        lr = warm_up_cosine(args.text_lr, min(100, rounds // 10), rounds)
        stages = [
            Stage("text", clip(image, text, info.shape, context, adamw(lr, 0.2, 0.98)), rounds)
        ]

    height, side, channels = info.shape
    small = height // SCALE, side // SCALE
    generators = [
        models.StageOne(small, channels, args.first_width, args.condition),
        models.StageTwo(args.width, args.condition, args.blocks),
    ]

    def stage(number, rounds):
        every = args.halve_every or rounds
        lrs, width = {
            1: ((args.first_lr, args.first_discriminator_lr), args.first_discriminator_width),
            2: ((args.lr, args.discriminator_lr), args.discriminator_width),
        }[number]
        rates = [optax.exponential_decay(lr, every, 0.5, staircase=True) for lr in lrs]
        discriminator = models.Discriminator(width, args.condition)
        return stackgan(
            text,
            generators[:number],
            discriminator,
            info.shape,
            args.latent,
            [optax.adam(rate, b1=args.b1) for rate in rates],
            args.kl,
            args.ema,
            pretrained if number == 1 else None,
            args.instance_noise,
        )

    return [
        *stages,
        Stage("stage-1", stage(1, first), first),
        Stage("stage-2", stage(2, second), second),
    ]


if __name__ == "__main__":
    launch(system)
