"""`python -m jaxgen translate RUN IMAGE ...`: a user's images, translated by a trained run."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from jaxgen.commands.choices import Copy, OfTranslators, Round, Run, System, by, open_run
from jaxgen.commands.flags import Range, Seed
from jaxgen.commands.terminal import writing
from jaxgen.errors import UserError

Images = Annotated[
    Positional[tuple[Path, ...]],
    arg(metavar="IMAGE ...", help="Image files, or folders of them.", help_behavior_hint=""),
]
Folder = Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(default: in RUN/use/)")]
Direction = Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the first)")]
Side = Annotated[
    int | None,
    Range(1),
    arg(metavar="PIXELS", help_behavior_hint="(default: the image's own)"),
]
Tile = Annotated[
    int | None,
    Range(1),
    arg(metavar="PIXELS", help_behavior_hint="(default: as a GiB of memory allows)"),
]


def translate(
    run: Run,
    images: Images,
    *,
    out: Folder = None,
    direction: Direction = None,
    size: Side = None,
    tile: Tile = None,
    seed: Seed = 0,
    system: System = None,
    round: Round = None,
    copy: Copy = None,
    **choices: OfTranslators,
) -> list[Path]:
    """Images translated by a trained run: enlarged, restored, painted anew; a PNG file each.

    An autoencoder, such as a vae, reconstructs them. A transparent image stays transparent.

    Args:
        out: Folder for the results, which keep the images' names.
        direction: Direction, where the system has several, such as b-to-a.
        size: Longer side to which an image is resized first. A system that takes images of one size
            only cuts and resizes them as its training did.
        tile: Longest side of the overlapping tiles in which a large image is translated, without
            seams; smaller ones need less memory. Tiles cost time where a norm looks at the whole
            image (cyclegan); a tile as large as the image avoids that.
        seed: Seed of the noise, where the system draws any.
    """
    files = image_files(images)
    trained = open_run(run, system, round, copy)

    from jaxgen.data.images import decode, to_pil
    from jaxgen.pictures import save_png
    from jaxgen.progress import progress
    from jaxgen.runs.translating import translate, translator

    way = translator(trained, direction).name or "translated"
    options = {"direction": direction, "size": size, "tile": tile, "seed": seed}
    folder = out or run / "use" / f"{way}_round_{trained.round:08d}{by(choices, copy)}"
    written = []
    with writing(folder, folder=True):
        folder.mkdir(parents=True, exist_ok=True)
        for file, name in progress(files.items(), unit="image"):
            written.append(folder / f"{name}.png")
            save_png(written[-1], to_pil(translate(trained, decode(file), **options, **choices)))
    return written


def image_files(paths: Iterable[Path]) -> dict[Path, str]:
    """The image files and their results' names; UserError for what is none."""
    from jaxgen.data.folders import images_in

    if not paths:
        raise UserError("name an image file, or a folder of them, after the run")
    files: dict[Path, str] = {}
    taken: set[str] = set()
    for path in paths:
        found = images_in(path) if path.is_dir() else [path]
        if not found:
            raise UserError(f"there are no images in {path}; name image files, or their folder")
        for file in found:
            if not file.is_file():
                raise UserError(f"there is no {file}; name image files, or a folder of them")
            inner = file.relative_to(path).with_suffix("") if path.is_dir() else Path(file.stem)
            if file not in files:
                files[file] = _free("_".join(inner.parts), taken)
    return files


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first of name_2, name_3, ... that no other has taken, also on disks that do
    not tell a from A."""
    others = (f"{name}_{n}" for n in itertools.count(2))
    free = next(x for x in itertools.chain([name], others) if x.lower() not in taken)
    taken.add(free.lower())
    return free
