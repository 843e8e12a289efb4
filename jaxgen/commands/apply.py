"""`python -m jaxgen apply RUN INPUT ...`: a trained system on a person's own images."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from jaxgen.commands.sample import Round, RunFolder, at_least, writing
from jaxgen.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from jaxgen.commands.restore import Trained

Inputs = Annotated[Positional[tuple[Path, ...]], arg(metavar="INPUT ...")]
Out = Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: in RUN/use/)")]
Direction = Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the first)")]
Side = Annotated[int | None, arg(metavar="PIXELS", help_behavior_hint="(default: the image's own)")]


def apply(
    run: RunFolder,
    inputs: Inputs,
    *,
    out: Out = None,
    direction: Direction = None,
    size: Side = None,
    seed: int = 0,
    round: Round = None,
) -> list[Path]:
    """What a trained run makes of images: translated, enlarged, restored; a PNG file each.

    Args:
        run: A run folder, such as runs/pix2pix; it may be at work.
        inputs: Image files, or folders of them.
        out: The folder for the results, which keep the inputs' names.
        direction: Which way, where a system has two, such as b-to-a.
        size: The longer side to which an input is brought first. A system that takes images of one
            size only cuts and resizes them as its training did.
        seed: Of the noise, where the system draws any.
        round: The checkpoint's round.
    """
    from jaxgen.data.images import decode

    at_least(0, seed=seed)
    if size is not None:
        at_least(1, size=size)
    files = image_files(inputs)
    from jaxgen.commands.restore import open_run

    trained = open_run(run, round)
    way = _way(trained, direction)
    if size and not trained.system.apply[way].any_size:
        raise UserError(f"{run} takes images of {trained.args.size} pixels only; leave --size out")
    from tqdm import tqdm

    from jaxgen.data.images import to_pil
    from jaxgen.pictures import save_png

    folder = out or Path(run) / "use" / f"{way}_round_{trained.round:08d}"
    made, program = [], compiled(trained, way)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for file, name in tqdm(files.items(), unit="image", leave=False, disable=None):
            result = one(trained, way, program, decode(file), size, seed)
            made.append(folder / f"{name}.png")
            save_png(made[-1], to_pil(result))
    return made


def image_files(inputs: Iterable[Path]) -> dict[Path, str]:
    """The image files and their results' names; UserError for what is none."""
    from jaxgen.data.folders import images_in

    if not inputs:
        raise UserError("name an image file, or a folder of them, after the run")
    files: dict[Path, str] = {}
    for path in inputs:
        found = images_in(path) if path.is_dir() else [path]
        if not found:
            raise UserError(f"there are no images in {path}; name image files, or their folder")
        for file in found:
            if not file.is_file():
                raise UserError(f"there is no {file}; name image files, or a folder of them")
            inner = file.relative_to(path).with_suffix("") if path.is_dir() else Path(file.stem)
            name = "_".join(inner.parts)
            taken = files.values()
            files[file] = name if name not in taken else f"{name}_{len(files)}"
    return files


def _way(trained: "Trained", direction: str | None) -> str:
    ways = trained.system.apply
    if not ways:
        name = type(trained.args).__module__.rpartition(".")[2]
        hint = "; sample makes some" if trained.system.use else ""
        raise UserError(f"{name} makes no images from images{hint}")
    if direction is not None and direction not in ways:
        raise UserError(f"--direction is {' or '.join(ways)}, not {direction}")
    return direction or next(iter(ways))


def compiled(trained: "Trained", way: str) -> Any:
    """(states, images, key) -> images, for each shape once."""
    import jax

    from jaxgen.train.game import look

    @jax.jit
    def program(states, images, key):
        nets = look(trained.system, states, key)
        return trained.system.apply[way].apply(nets, images, key)

    return program


def one(trained: "Trained", way: str, program, image: "np.ndarray", size: int | None, seed: int):
    """uint8 [H', W', C'] of an image uint8 [H, W, C], padded by reflection to what the system
    takes."""
    import jax
    import numpy as np

    from jaxgen.data.images import RESAMPLE, to_input, to_pil, with_channels
    from jaxgen.train.game import to_float
    from jaxgen.pictures import as_uint8

    args, how = trained.args, trained.system.apply[way]
    if how.any_size:
        picture = with_channels(to_pil(image), args.channels)
        if size:
            scale = size / max(picture.size)
            sides = [max(1, round(side * scale)) for side in picture.size]
            picture = picture.resize(sides, RESAMPLE["bicubic"])
        image = np.asarray(picture).reshape(picture.height, picture.width, -1)
    else:
        image = to_input(image, args)
    height, width, _ = image.shape
    more = [(0, -side % how.multiple) for side in (height, width)]
    padded = np.pad(image, (*more, (0, 0)), "symmetric")
    batch = to_float(jax.numpy.asarray(padded[None]))
    made = as_uint8(program(trained.states, batch, jax.random.key(seed)))[0]
    return made[: height * how.scale, : width * how.scale]
