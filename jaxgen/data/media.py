"""Films and voxels in a user's folder: which files there are, their labels, what is held out."""

import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from jaxgen.data import folders
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
        lines = [f"{file.relative_to(self.base)} {content(file)}" for file in self.files]
        return digest(*lines, *self.label_names, *extra)


def content(file: Path) -> str:
    """Digest of what is in the file.  Raises UserError."""
    try:
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "blake2b").hexdigest()[:16]
    except OSError as error:
        raise UserError(
            f"{file} cannot be read ({error.strerror}); mend it or move it away"
        ) from None


def kind_of(root: Path) -> str:
    """ "films" or "voxels" of a folder that holds such files and no images; else "images".

    GIFs are films beside films, or where all of them move.
    """
    Image.init()
    still = Image.registered_extensions().keys() - FILMS
    found = set()
    for file in _walk(root):
        suffix = file.suffix.lower()
        if suffix in still:
            return "images"
        found.add(suffix)
    gifs = (file for file in _walk(root) if file.suffix.lower() == ".gif")
    if found & (FILMS - {".gif"}) or (".gif" in found and all(map(_moves, gifs))):
        return "films"
    return "voxels" if found & VOXELS else "images"


def _moves(gif: Path) -> bool:
    try:
        with Image.open(gif) as image:
            return getattr(image, "is_animated", False)
    except OSError:
        return False


def _walk(root: Path):
    """The files under `root` that are not hidden; links are followed, but not back."""
    seen = set()
    for folder, inner, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        inner[:] = sorted(n for n in inner if not n.startswith(".")) if real not in seen else []
        if real not in seen:
            yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))
        seen.add(real)


def files_of(root: Path, suffixes: Collection[str], split: str, held_out: float) -> Own:
    """The files under `root` with these suffixes that are in the split: those of train/ and test/
    (or val/), else all but the share `held_out` by the hash of the name.  Their labels are the
    first sub-folders, when every file lies in one.  Raises UserError."""
    spec = f"folder:{root}"
    sides = folders._split_folders(folders._existing(root, "folder"))
    found = {
        side: [file for file in _walk(side) if file.suffix.lower() in suffixes]
        for side in sides.values()
    }
    for side, files in found.items():
        if not files:
            raise UserError(f"{spec}: no files {', '.join(sorted(suffixes))} in {side}")
    base = sides.get(split, sides["train"])
    parts = {side: [file.relative_to(side).parts for file in found[side]] for side in found}
    labelled = all(len(part) > 1 for side in parts.values() for part in side)
    names = sorted({part[0] for side in parts.values() for part in side}) if labelled else []
    kept = folders._kept(
        ["/".join(part) for part in parts[base]], split, None if "test" in sides else held_out, spec
    )
    labels = [names.index(parts[base][i][0]) for i in kept] if labelled else []
    return Own(base, [found[base][i] for i in kept], labels, tuple(names))
