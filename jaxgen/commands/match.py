"""`python -m jaxgen match RUN IMAGE ... --texts ...`: which texts belong to a person's images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from jaxgen.commands.apply import Inputs, image_files
from jaxgen.commands.embeddings import embedded
from jaxgen.commands.sample import Round, RunFolder, at_least, called
from jaxgen.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from jaxgen.commands.restore import Trained

Texts = Annotated[
    tuple[str, ...],
    arg(metavar="TEXT ...", help_behavior_hint="(default: the captions of the training data)"),
]


def match(
    run: RunFolder,
    inputs: Inputs,
    *,
    texts: Texts = (),
    by: Literal["image", "text"] = "image",
    top: int = 5,
    round: Round = None,
    batch: int = 64,
) -> str:
    """Images and texts that belong together, by a run that reads both: zero-shot classification.

    Args:
        run: A run folder, such as runs/clip; it may be at work.
        inputs: Image files, or folders of them.
        texts: What the images may show, such as "a dog" "a cat".
        by: For each image the likeliest texts, or for each text the likeliest images.
        top: How many of them.
        round: The checkpoint's round.
        batch: Images or texts at a time; fewer need less memory.
    """
    at_least(1, top=top, batch=batch)
    files = image_files(inputs)
    from jaxgen.commands.restore import open_run

    trained = open_run(run, round)
    if trained.system.embed is None or trained.system.embed.text is None:
        raise UserError(f"{called(trained)} does not read; match takes a run of clip")
    if not texts:
        from jaxgen.commands.launch import CAPTIONS, load_data

        texts = tuple(dict.fromkeys(load_data(trained.args).all_captions(CAPTIONS)))
        if not texts:
            raise UserError(f"{trained.args.data} has no captions to choose from; give --texts")
    chances = likelihoods(trained, list(files), texts, by, batch)
    names = [str(file) for file in files]
    asked, answers = (names, texts) if by == "image" else (texts, names)
    return "\n".join(_lines(asked, answers, chances, top))


def likelihoods(
    trained: "Trained",
    files: Sequence[Path],
    texts: Sequence[str],
    by: str = "image",
    batch: int = 64,
) -> "np.ndarray":
    """How likely each answer is, given that one of them belongs to what was asked: [images, texts]
    by image, [texts, images] by text; each row's sum is 1."""
    import jax
    import numpy as np

    from jaxgen.data.images import decode, to_input
    from jaxgen.train.game import look

    load = lambda file: to_input(decode(file), trained.args)
    x = embedded(trained, "image", files, load, batch)
    y = embedded(trained, "text", texts, trained.tokenize, batch)
    scale = trained.system.embed.scale(look(trained.system, trained.states, jax.random.key(0)))
    scores = scale * (x @ y.T if by == "image" else y @ x.T)
    return np.asarray(jax.nn.softmax(scores, axis=1))


def _lines(asked, answers, chances, top):
    for name, row in zip(asked, chances, strict=True):
        yield name
        for i in (-row).argsort(kind="stable")[:top]:
            yield f"  {row[i]:6.1%}  {answers[i]}"
