"""CLIP on emoji and their names: `python -m jaxgen.experiments.clip`."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.launch import VOCABULARY, launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """CLIP (Radford et al., 2021), https://arxiv.org/abs/2103.00020.

    The defaults are the recipe experiments/clip/quick.toml, sized for two CPU cores; the paper's
    numbers are in experiments/clip/paper.toml. Then `python -m jaxgen evaluate runs/clip`.
    """

    data: Annotated[str, tyro.conf.arg(metavar="SPEC")] = "emoji"
    """Images with captions: emoji, openmoji, folder:DIR with metadata.jsonl or metadata.csv,
    tfds:NAME[/CONFIG]; several with a plus, such as emoji+openmoji."""
    size: int = 40
    random_crop: int = 44
    rounds: int = 1500
    batch_size: int = 128
    patch: int = 8
    """Side in pixels of what the image tower cuts an image into; it divides --size."""
    width: int = 128
    """Channels of the image tower; ViT-B/32 has 768."""
    layers: int = 4
    """Blocks of the image tower."""
    text_width: int = 128
    """Channels of the text tower."""
    text_layers: int = 3
    """Blocks of the text tower."""
    heads: int = 4
    """Of attention in the image tower; the published ones have a head for 64 channels."""
    text_heads: int = 4
    """Of attention in the text tower."""
    embedding: int = 128
    """Numbers in what the towers share."""
    context: int = 22
    """Tokens of a caption, with its start and end; what is longer is cut off."""
    merges: int = 1000
    """Byte pairs that merge, at most; there are 514 tokens more."""
    vocabulary: Annotated[
        Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")
    ] = None
    """Merges to take instead of learning them from the captions: the published
    bpe_simple_vocab_16e6.txt.gz, or another run's merges.txt."""
    lr: float = 1e-3
    """AdamW's highest rate, after the warm-up; from there on it goes down to 0 as a cosine."""
    warm_up: int = 100
    """Rounds in which the rate rises."""
    weight_decay: float = 0.2
    """Of all weights that are no gains or biases."""
    prompts: tuple[str, ...] = ("{}",)
    """What is said of a class in zero-shot classification; {} stands for its name."""

    needs: ClassVar[tuple[str, ...]] = ("image", "text")

    @property
    def rounds_matter(self) -> bool:
        return True

    def check(self) -> None:
        super().check()
        if self.size % self.patch:
            raise UserError(
                f"--size {self.size} is not a multiple of --patch {self.patch}; use "
                f"{max(1, self.size // self.patch) * self.patch}"
            )
        towers = {"": (self.width, self.heads), "text-": (self.text_width, self.text_heads)}
        for tower, (width, heads) in towers.items():
            if width % heads:
                whose = f"--{tower}heads {heads}"
                raise UserError(f"--{tower}width {width} is not a multiple of {whose}")
        if self.context < 3:
            raise UserError(f"--context is at least 3 (start, a token, end), not {self.context}")
        if self.weight_decay < 0:
            raise UserError(f"--weight-decay is 0 or more, not {self.weight_decay:g}")
        if not 0 <= self.warm_up < self.rounds:
            raise UserError(f"--warm-up is from 0 to below --rounds, not {self.warm_up}")
        if not self.prompts or not all("{}" in prompt for prompt in self.prompts):
            raise UserError('--prompts are texts with {} for the name, such as "a photo of a {}."')

    def tokenizer(self, captions: Callable[[], Iterable[str]]):
        from jaxgen.data import tokens

        if self.workdir and (kept := self.workdir / VOCABULARY).is_file():
            return tokens.read(kept, self.context, self.merges)
        if self.vocabulary:
            return tokens.read(self.vocabulary, self.context, self.merges)
        return tokens.learn(captions(), self.merges, self.context)


def system(args: Args, data):
    import optax

    from jaxgen.models.clip import ImageTower, TextTower
    from jaxgen.systems.multimodal.clip import adamw, clip

    lr = optax.warmup_cosine_decay_schedule(0.0, args.lr, args.warm_up, args.rounds)
    text = (data.tokenize.size, args.context, args.text_width, args.text_layers)
    return clip(
        ImageTower(args.patch, args.width, args.layers, args.embedding, args.heads),
        TextTower(*text, args.embedding, args.text_heads),
        data.shape,
        args.context,
        adamw(lr, args.weight_decay, b2=0.98),
        args.prompts,
    )


if __name__ == "__main__":
    launch(system)
