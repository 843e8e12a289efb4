"""CLIP on emoji and their names: `python -m jaxgen.experiments.clip`."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Annotated, ClassVar

from tyro.conf import arg

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import (
    Count,
    CountOrZero,
    File,
    Range,
    Rate,
    Size,
    Spec,
    Weight,
    size_text,
)
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """CLIP (Radford et al., 2021), https://arxiv.org/abs/2103.00020.

    The defaults suit two CPU cores; the paper's
    numbers are in experiments/clip/paper.toml. Then `python -m jaxgen evaluate runs/clip`.
    """

    data: Spec = "emoji"
    """Images with captions: emoji, openmoji, folder:DIR with metadata.jsonl or metadata.csv,
    tfds:NAME[/CONFIG]; several with a plus, such as emoji+openmoji."""
    size: Size = (40, 40)
    random_crop: CountOrZero = 44
    rounds: Count = 1500
    batch_size: Count = 128
    patch: Count = 8
    """Side in pixels of the patches of an image; it divides --size."""
    width: Count = 128
    """Channels of the image tower; ViT-B/32 has 768."""
    layers: Count = 4
    """Blocks of the image tower."""
    text_width: Count = 128
    """Channels of the text tower."""
    text_layers: Count = 3
    """Blocks of the text tower."""
    heads: Count = 4
    """Attention heads of the image tower; the published ones have a head for 64 channels."""
    text_heads: Count = 4
    """Attention heads of the text tower."""
    embedding: Count = 128
    """Dimensions of the space that the towers share."""
    context: Annotated[int, Range(3)] = 22
    """Tokens of a caption, with its start and end; longer captions are cut off."""
    merges: Count = 1000
    """Largest number of byte pairs that merge; there are 514 tokens more."""
    vocabulary: File = None
    """Merges to take instead of learning them from the captions, such as the published
    bpe_simple_vocab_16e6.txt.gz."""
    lr: Rate = 1e-3
    """AdamW's highest learning rate, after the warm-up; then it falls to 0 as a cosine."""
    warm_up: Annotated[
        int | None,
        Range(0),
        arg(help_behavior_hint="(default: 100, a tenth of the rounds at most)"),
    ] = None
    """Rounds in which the rate rises."""
    weight_decay: Weight = 0.2
    """Weight decay of all weights but gains and biases."""
    prompts: tuple[str, ...] = ("{}",)
    """Texts about a class in zero-shot classification; {} stands for its name."""

    needs: ClassVar[tuple[str, ...]] = ("image", "text")

    @property
    def rounds_matter(self) -> bool:
        return True

    def check(self) -> None:
        super().check()
        if any(side % self.patch for side in self.size):
            near = size_text(tuple(max(1, x // self.patch) * self.patch for x in self.size))
            raise UserError(
                f"--size {size_text(self.size)} is not a multiple of --patch {self.patch}; use "
                f"{near}"
            )
        towers = {"": (self.width, self.heads), "text-": (self.text_width, self.text_heads)}
        for tower, (width, heads) in towers.items():
            if width % heads:
                whose = f"--{tower}heads {heads}"
                raise UserError(f"--{tower}width {width} is not a multiple of {whose}")
        if self.rises >= self.rounds:
            raise UserError(f"--warm-up is below --rounds ({self.rounds}), not {self.warm_up}")
        if not self.prompts or not all("{}" in prompt for prompt in self.prompts):
            raise UserError('--prompts are texts with {} for the name, such as "a photo of a {}."')

    @property
    def rises(self) -> int:
        """Rounds of the warm-up."""
        return min(100, self.rounds // 10) if self.warm_up is None else self.warm_up

    def tokenizer(self, captions: Callable[[], Iterable[str]]):
        from jaxgen.data import tokens

        if self.vocabulary:
            return tokens.read(self.vocabulary, self.context, self.merges)
        return tokens.learn(captions(), self.merges, self.context)


def system(args: Args, info):
    from jaxgen.models.clip import ImageTower, TextTower
    from jaxgen.systems.multimodal.clip import adamw, clip
    from jaxgen.train.optim import warm_up_cosine

    lr = warm_up_cosine(args.lr, args.rises, args.rounds)
    text = (info.vocabulary.size, args.context, args.text_width, args.text_layers)
    return clip(
        ImageTower(args.patch, args.width, args.layers, args.embedding, args.heads),
        TextTower(*text, args.embedding, args.text_heads),
        info.shape,
        args.context,
        adamw(lr, args.weight_decay, b2=0.98),
        args.prompts,
    )


if __name__ == "__main__":
    launch(system)
