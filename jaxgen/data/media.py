"""Films and voxels in a user's folder: which files there are, their labels, what is held out."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from jaxgen.data import folders
from jaxgen.data.images import suffixes
from jaxgen.data.metadata import name_in
from jaxgen.data.reading import content
from jaxgen.data.source import digest
from jaxgen.errors import UserError

FILMS = frozenset({".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".gif"})
VOXELS = frozenset({".npz", ".npy", ".binvox"})


class Own(NamedTuple):
    """The files of one split, sorted, and the number of each one's label; `label_names` is empty
    where there are none."""

    base: Path
    files: list[Path]
    labels: list[int]
    label_names: tuple[str, ...]

    def fingerprint(self, *extra: str) -> str:
        """Digest of the files' names and contents, and of the labels' names."""
        lines = [f"{name_in(file, self.base)} {content(file)}" for file in self.files]
        return digest(*lines, *self.label_names, *extra)


def kind_of(root: Path) -> str:
    """ "films" or "voxels" of a folder that holds such files and no images; else "images".

    GIFs are films beside films, or where all of them move.  Raises UserError.
    """
    still = suffixes() - FILMS
    found = set()
    for file in folders.files_in(folders.existing(root, "folder")):
        suffix = file.suffix.lower()
        if suffix in still:
            return "images"
        found.add(suffix)
    gifs = (file for file in folders.files_in(root) if file.suffix.lower() == ".gif")
    if found & (FILMS - {".gif"}) or (".gif" in found and all(map(_moves, gifs))):
        return "films"
    return "voxels" if found & VOXELS else "images"


def _moves(gif: Path) -> bool:
    try:
        with Image.open(gif) as image:
            return getattr(image, "is_animated", False)
    except OSError:
        return False


def files_of(root: Path, kinds: Collection[str], split: str, held_out: float) -> Own:
    """The files under `root` with these suffixes that are in the split: those of train/ and test/
    (or val/), else all but the share `held_out` by the hash of the name.  Their labels are the
    first sub-folders, when every file lies in one.  Raises UserError."""
    spec = f"folder:{root}"
    sides = folders.split_folders(folders.existing(root, "folder"), kinds)
    found = {
        side: [file for file in folders.files_in(side) if file.suffix.lower() in kinds]
        for side in sides.values()
    }
    for side, files in found.items():
        if not files:
            raise UserError(f"{spec}: no files {', '.join(sorted(kinds))} in {side}")
    base = sides.get(split, sides["train"])
    labels = {side: folders.labels_of(side, found[side]) for side in found}
    number = folders.numbers(labels)
    names = [name_in(file, base) for file in found[base]]
    kept = folders.kept(names, split, None if "test" in sides else held_out, spec)
    files = [found[base][i] for i in kept]
    numbers = [number[labels[base][file]] for file in files] if number else []
    return Own(base, files, numbers, tuple(number))
