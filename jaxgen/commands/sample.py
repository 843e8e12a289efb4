"""`python -m jaxgen sample RUN`: images from a trained run's noise, or how they come about."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from jaxgen.commands.choices import Batch, Copy, OfSampler, Out, Round, Run, System, by, open_run
from jaxgen.commands.flags import Count, Range, Rate, Seed
from jaxgen.commands.interpolate import FILMS
from jaxgen.commands.terminal import writing
from jaxgen.errors import UserError

Vary = Annotated[str | None, arg(metavar="NAME=VALUE,...", help_behavior_hint="(default: nothing)")]
Sums = Annotated[tuple[str, ...], arg(metavar="SUM ...", help_behavior_hint="(default: none)")]
Draws = Annotated[int | None, Range(3), arg(metavar="N", help_behavior_hint="(default: one)")]


def sample(
    run: Run,
    *,
    n: Count = 64,
    seed: Seed = 0,
    single: bool = False,
    frames: Count = 48,
    fps: Rate = 24,
    vary: Vary = None,
    draws: Draws = None,
    arithmetic: Sums = (),
    views: Count = 1,
    to: Literal["png", "obj", "stl"] = "png",
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
        vary: Option of the run and several values of it, such as truncation=1,0.5,0,-1: a row of
            images for each sample, one image for each value.
        draws: Number of times that each sample is drawn with other noise besides the latents: a row
            for each sample, three of these draws and the deviation over all, four times as bright.
        arithmetic: Sums of samples by their numbers, such as 3-7+12: a row for each sum, with the
            samples and last what the sum of their latents makes. 1,2-4,5+7 takes means first.
        views: Number of sides from which voxels are seen, such as those of gan3d: a row for each
            sample.
        to: Kind of the files that --single writes; obj and stl are meshes of voxels.
        out: PNG file, or with --single a folder. A .gif or .mp4 file is a film of how the images
            come about, of a system that makes them step by step, such as ebm; of voxels, which turn
            round.
    """
    if out and not single and out.suffix.lower() not in (".png", *FILMS):
        raise UserError(
            f"--out {out} is no .png file, and no .gif or .mp4 for a film; name one, or ask for a "
            "folder with --single"
        )
    kinds = {"single": single, "vary": vary, "draws": draws, "arithmetic": arithmetic}
    kinds["views"] = views > 1
    if len(given := [f"--{name}" for name, x in kinds.items() if x]) > 1:
        raise UserError(f"{' and '.join(given)} are different kinds of pictures; choose one")
    if views > 1 and out and out.suffix.lower() in FILMS:
        raise UserError("--views are of a sheet, and a film shows all sides; leave them out")
    if to != "png" and not single:
        raise UserError(f"--to {to} is a file for each sample; add --single")
    trained = open_run(run, system, round, copy)
    import numpy as np

    from jaxgen.data.images import to_pil
    from jaxgen.data.source import to_float
    from jaxgen.pictures import grid, save_film, save_png
    from jaxgen.runs import sampling
    from jaxgen.solids import save_mesh
    from jaxgen.train.abilities import Sampler

    sampler = trained.system.ability(Sampler)
    solid = sampler is not None and sampler.of == "voxels"
    if to != "png" and not solid:
        raise UserError(f"--to {to} is for voxels, and {trained.name} makes images; leave it out")
    figure = {"vary": vary, "draws": draws, "arithmetic": arithmetic}
    figure = {k: x for k, x in figure.items() if x}
    seen = {"views": views} if views > 1 else {}
    name = f"samples_round_{trained.round:08d}_seed_{seed}{by(choices | figure | seen, copy)}"
    path = out or run / "use" / (name if single else f"{name}.png")
    if not single and path.suffix.lower() in FILMS:
        with writing(path):
            if solid:
                shapes = trained.sample(n, seed=seed, batch=batch, **choices)
                made = sampling.turned(trained, shapes, frames)
            else:
                made = sampling.film(trained, n, frames, seed=seed, **choices)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_film(path, [grid(images) for images in made], fps)
        return path
    if figure:
        with writing(path):
            options = {"seed": seed, "batch": batch, **choices}
            if draws is not None:
                rows = _noise_detail(trained, n, draws, **options)
            elif arithmetic:
                rows = sampling.arithmetic(trained, arithmetic, **options)
            else:
                rows = sampling.variants(trained, n, *_values(trained, vary), **options)
            cells = sampling.shown(trained, rows.reshape(-1, *rows.shape[2:]))
            path.parent.mkdir(parents=True, exist_ok=True)
            save_png(path, grid(cells, columns=rows.shape[1]))
        return path
    chunks = sampling.samples(trained, n, seed=seed, batch=batch, **choices)
    with writing(path, folder=single):
        if not single:
            path.parent.mkdir(parents=True, exist_ok=True)
            images = np.concatenate(list(chunks))
            if views > 1:
                rows = np.stack(list(sampling.turned(trained, images, views)), axis=1)
                save_png(path, grid(rows.reshape(-1, *rows.shape[2:]), columns=views))
            else:
                save_png(path, grid(sampling.shown(trained, images)))
            return path
        path.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(image for chunk in chunks for image in chunk):
            if to == "png":
                save_png(path / f"{i:05d}.png", to_pil(sampling.shown(trained, image[None])[0]))
            else:
                save_mesh(path / f"{i:05d}.{to}", to_float(image))
    return path


def _values(trained, text):
    """The option's name and its values in `text`."""
    from jaxgen.runs.sampling import checked_sampler

    name, _, values = text.partition("=")
    option = checked_sampler(trained, {name: 0}, conditions=False).options[name]
    kind = float if option.default is None else type(option.default)
    kind = ("False", "True").index if kind is bool else kind
    try:
        return name, [kind(value) for value in values.split(",")]
    except ValueError:
        usual = 1 if option.default is None else option.default
        some = ",".join(map(str, option.curve[-2:] or [usual]))
        raise UserError(f"vary is written NAME=VALUE,VALUE, such as {name}={some}") from None


def _noise_detail(trained, n, draws, **options):
    """[n, 4, H, W, C]"""
    import numpy as np

    from jaxgen.runs.sampling import noise_detail

    images, deviation = noise_detail(trained, n, draws, **options)
    bright = (4 * deviation + 0.5).clip(0, 255).astype(np.uint8)[:, None, ..., None]
    last = np.broadcast_to(bright, (n, 1, *images.shape[2:])).copy()
    last[..., 3:] = 255  # of an image with transparency
    return np.concatenate([images, last], axis=1)
