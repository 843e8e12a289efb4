"""`python -m jaxgen sample RUN`: images from a trained run's noise, or how they come about."""

from pathlib import Path

from jaxgen.commands.choices import Batch, Copy, OfSampler, Out, Round, Run, System, by, open_run
from jaxgen.commands.flags import Count, Rate, Seed
from jaxgen.commands.interpolate import FILMS
from jaxgen.commands.terminal import writing
from jaxgen.errors import UserError


def sample(
    run: Run,
    *,
    n: Count = 64,
    seed: Seed = 0,
    single: bool = False,
    frames: Count = 48,
    fps: Rate = 24,
    out: Out = None,
    batch: Batch = 64,
    system: System = None,
    round: Round = None,
    copy: Copy = None,
    **choices: OfSampler,
) -> Path:
    """Samples of a trained run: one grid, a PNG file each, or a film of how they come about.

    Args:
        n: Number of images. The first ones of a seed are the same however many follow.
        seed: Seed of the latents.
        single: Write numbered files 00000.png, 00001.png, ... into a folder.
        frames: Frames of a film.
        fps: Frames a second of a film; a .gif has 50 at most.
        out: PNG file, or with --single a folder. A .gif or .mp4 file is a film of how the images
            come about, of a system that makes them step by step, such as ebm.
    """
    if out and not single and out.suffix.lower() not in (".png", *FILMS):
        raise UserError(
            f"--out {out} is no .png file, and no .gif or .mp4 for a film; name one, or ask for a "
            "folder with --single"
        )
    trained = open_run(run, system, round, copy)
    import numpy as np

    from jaxgen.data.images import to_pil
    from jaxgen.pictures import grid, save_film, save_png
    from jaxgen.runs.sampling import film, samples

    name = f"samples_round_{trained.round:08d}_seed_{seed}{by(choices, copy)}"
    path = out or run / "use" / (name if single else f"{name}.png")
    if not single and path.suffix.lower() in FILMS:
        with writing(path):
            made = film(trained, n, frames, seed=seed, **choices)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_film(path, [grid(images) for images in made], fps)
        return path
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
