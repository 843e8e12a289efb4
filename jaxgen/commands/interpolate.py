"""`python -m jaxgen interpolate RUN`: a closed walk through latents, or between a user's images, as
a film and a sheet."""

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from jaxgen.commands.choices import Batch, Copy, OfSampler, Out, Round, Run, System, by, open_run
from jaxgen.commands.flags import SEEDS, Count, Range, Rate
from jaxgen.commands.terminal import writing
from jaxgen.commands.translate import image_files
from jaxgen.errors import UserError

Between = Annotated[
    tuple[Path, ...], arg(metavar="IMAGE IMAGE ...", help_behavior_hint="(default: none)")
]
FILMS = (".gif", ".mp4")
COLUMNS = 16  # of the sheet, at most
WALK = 8  # latents
Number = Annotated[
    int | None,
    Range(2),
    arg(metavar="N", help_behavior_hint=f"(default: {WALK}; with --traverse all, 16 at most)"),
]
OfLatents = Annotated[int | None, SEEDS, arg(metavar="INT", help_behavior_hint="(default: 0)")]


def interpolate(
    run: Run,
    *,
    n: Number = None,
    frames: Count = 16,
    between: Between = (),
    traverse: bool = False,
    plane: bool = False,
    seed: OfLatents = None,
    out: Out = None,
    fps: Rate = 24,
    batch: Batch = 64,
    system: System = None,
    round: Round = None,
    copy: Copy = None,
    **choices: OfSampler,
) -> list[Path]:
    """A walk from latent to latent and back to the first: a film, and a sheet of its frames.

    Args:
        n: Number of latents that the walk passes; with --traverse of a latent's numbers.
        frames: Frames from one latent to the next, which are a row of the sheet (16 of them at
            most, evenly chosen).
        between: Images of your own that an autoencoder, such as a vae, walks between; two or more.
        traverse: Stay at the first latent, and change its numbers one after the other: each goes
            from -2 to 2 (a row of the sheet), and in the film back again.
        plane: A sheet alone, along two directions: from the first latent to the second in a row, to
            the third in a column, to the fourth at the far corner; of `frames` rows and columns.
        seed: Seed of the latents; they are those of `sample` with the same seed.
        out: A .gif or .mp4 file, with the sheet in a .png of that name; or a .png for the sheet
            alone.
        fps: Frames a second of the film; a .gif has 50 at most.
    """
    if out and out.suffix.lower() not in (*FILMS, ".png"):
        raise UserError(f"--out {out} is no .gif, .mp4 or .png file; give it one of these endings")
    if between and traverse:
        raise UserError("--traverse stays at one latent; leave it or --between out")
    if plane and (between or traverse or n is not None):
        raise UserError("--plane is between four latents; leave --between, --traverse and --n out")
    if plane and out and out.suffix.lower() != ".png":
        raise UserError(f"--out {out} is no .png file; name one for the sheet of --plane")
    if between and (given := [f"--{k}" for k, x in (("n", n), ("seed", seed)) if x is not None]):
        raise UserError(f"{given[0]} is of latents; leave it out where images are given, --between")
    seed = seed or 0
    files = list(image_files(between)) if between else []
    trained = open_run(run, system, round, copy)
    import numpy as np

    from jaxgen.data.images import decode
    from jaxgen.pictures import grid, save_film, save_png
    from jaxgen.runs import sampling
    from jaxgen.runs.choices import check_names
    from jaxgen.train.abilities import Autoencoder, Sampler

    if not files and trained.system.ability(Autoencoder) and not trained.system.ability(Sampler):
        raise UserError(f"{trained.name} walks between images; give it two, --between ONE TWO")
    kind = "plane" if plane else "traversal" if traverse else "walk"
    if files:
        check_names(trained.name, choices, ())
        about = by({"between": tuple(file.stem for file in files)}, copy)
    else:
        about = f"_seed_{seed}{by(choices, copy)}"
    path = out or run / "use" / f"{kind}_round_{trained.round:08d}{about}.gif"
    sheet = path if path.suffix.lower() == ".png" else path.with_suffix(".png")
    if plane:
        with writing(sheet):
            square = sampling.plane(trained, frames, seed=seed, batch=batch, **choices)
            square = [sampling.shown(trained, part) for part in square]
            sheet.parent.mkdir(parents=True, exist_ok=True)
            save_png(sheet, grid(np.concatenate(square), columns=frames))
        return [sheet]
    if path == sheet:  # no more frames than it shows
        frames = min(frames, COLUMNS)
    with writing(path):
        options = {"seed": seed, "batch": batch, **choices}
        if files:
            parts = sampling.passage(trained, [decode(file) for file in files], frames, batch=batch)
        elif traverse:
            parts = sampling.traversal(trained, n, frames, **options)
        else:
            parts = sampling.walk(trained, n or WALK, frames, **options)
        images = np.concatenate([sampling.shown(trained, part) for part in parts])
        columns = min(frames, COLUMNS)
        rows = np.arange(len(images)).reshape(-1, frames)
        shown = rows[:, [k * frames // columns for k in range(columns)]].ravel()
        path.parent.mkdir(parents=True, exist_ok=True)
        save_png(sheet, grid(images[shown], columns=columns))
        if path == sheet:
            return [sheet]
        if traverse:  # there and back
            images = images[np.concatenate([rows, rows[:, ::-1]], axis=1).ravel()]
        save_film(path, [grid(frame[None]) for frame in images], fps)
    return [path, sheet]
