"""`python -m jaxgen sample RUN`: images from a trained run's noise."""

from pathlib import Path

from jaxgen.commands.choices import (
    Batch,
    Copy,
    OfSampler,
    Out,
    Round,
    RunFolder,
    System,
    by,
    open_run,
)
from jaxgen.commands.flags import Count, Seed
from jaxgen.commands.terminal import writing
from jaxgen.errors import UserError


def sample(
    run: RunFolder,
    *,
    n: Count = 64,
    seed: Seed = 0,
    single: bool = False,
    out: Out = None,
    batch: Batch = 64,
    system: System = None,
    round: Round = None,
    copy: Copy = None,
    **choices: OfSampler,
) -> Path:
    """Samples of a trained run: one grid, or a PNG file each.

    Args:
        n: Number of images. The first ones of a seed are the same however many follow.
        seed: Seed of the latents.
        single: Write numbered files 00000.png, 00001.png, ... into a folder.
        out: PNG file, or with --single a folder.
    """
    if out and not single and out.suffix.lower() != ".png":
        raise UserError(f"--out {out} is no .png file; name one, or ask for a folder with --single")
    trained = open_run(run, system, round, copy)
    import numpy as np

    from jaxgen.data.images import to_pil
    from jaxgen.pictures import grid, save_png
    from jaxgen.runs.sampling import samples

    name = f"samples_round_{trained.round:08d}_seed_{seed}{by(choices, copy)}"
    path = out or run / "use" / (name if single else f"{name}.png")
    chunks = samples(trained, n, seed=seed, batch=batch, **choices)
    with writing(path, folder=single):
        if not single:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_png(path, grid(np.concatenate(list(chunks))))
            return path
        path.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(image for chunk in chunks for image in chunk):
            save_png(path / f"{i:05d}.png", to_pil(image))
    return path
