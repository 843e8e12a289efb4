"""Files: never half-written, and where those that can be made again are kept."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, in the same folder and with the same suffix; it then becomes `path`.

    A run that is stopped, or two at once, leave whole files only.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def cache_folder() -> Path:
    """$JAXGEN_CACHE, else $XDG_CACHE_HOME/jaxgen, else ~/.cache/jaxgen; UserError for no home."""
    if own := os.environ.get("JAXGEN_CACHE"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgen"
    except RuntimeError:
        raise UserError(
            "this user has no home to keep files in; set JAXGEN_CACHE to a folder for them"
        ) from None


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """UserError where something cannot be kept in this folder of the cache."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the data that is made once cannot be kept in {folder} ({error.strerror}); set "
            "JAXGEN_CACHE to another folder"
        ) from None


def kept_folder(*parts: str) -> Path:
    """The folder `parts` in the cache, made where it is missing.  Raises UserError."""
    folder = cache_folder().joinpath(*parts)
    with keeping(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def kept_array(folder: str, name: str, make: Callable[[], Any]) -> Any:
    """The array that `make` gives, made once and then read from the cache, which holds it as
    folder/name.npy; read-only, and in memory only where it is looked at.  Raises UserError."""
    import numpy as np

    path = kept_folder(folder) / f"{name}.npy"
    if not path.exists():
        made = make()
        with keeping(path.parent), replacing(path) as temporary:
            np.save(temporary, made)
    return np.load(path, mmap_mode="r")
