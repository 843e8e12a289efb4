"""`python -m jaxgen match RUN IMAGE ... --texts ...`: which texts belong to a user's images."""

from typing import Annotated, Literal

from tyro.conf import arg

from jaxgen.commands.choices import Batch, Copy, Round, Run, System, open_run
from jaxgen.commands.flags import Count
from jaxgen.commands.translate import Images, image_files
from jaxgen.errors import MissingData, UserError

Texts = Annotated[
    tuple[str, ...],
    arg(metavar="TEXT ...", help_behavior_hint="(default: the captions of the training data)"),
]


def match(
    run: Run,
    images: Images,
    *,
    texts: Texts = (),
    by: Literal["image", "text"] = "image",
    top: Count = 5,
    batch: Batch = 64,
    system: System = None,
    round: Round = None,
    copy: Copy = None,
) -> str:
    """Images and texts that belong together, by a run that reads both: zero-shot classification.

    Args:
        texts: Texts to choose from, such as "a dog" "a cat".
        by: For each image the likeliest texts, or for each text the likeliest images.
        top: Number of likeliest ones.
    """
    files = list(image_files(images))
    trained = open_run(run, system, round, copy)
    from jaxgen.runs.matching import likelihoods, reader

    reader(trained)
    texts = texts or _captions(trained.args)
    likely = likelihoods(trained, files, texts, by, batch)
    names = [str(file) for file in files]
    asked, answers = (names, texts) if by == "image" else (texts, names)
    return "\n".join(_lines(asked, answers, likely, top))


def _captions(args):
    """The captions of the training data, each once."""
    from jaxgen.commands.arguments import CAPTIONS

    try:
        found = args.load_data(resident="no").all_captions(CAPTIONS) if args else ()
    except MissingData as error:
        raise UserError(f"{error}, or give --texts") from None
    if not found:
        where = args.data if args else "a run that was made from Python"
        raise UserError(f"{where} has no captions to choose from; give --texts")
    return tuple(dict.fromkeys(found))


def _lines(asked, answers, likely, top):
    for name, row in zip(asked, likely, strict=True):
        yield name
        for i in (-row).argsort(kind="stable")[:top]:
            yield f"  {row[i]:6.1%}  {answers[i]}"
