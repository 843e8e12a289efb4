"""Files: never half-written, and where those that can be made again are kept."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    """$JAXGEN_CACHE, else $XDG_CACHE_HOME/jaxgen, else ~/.cache/jaxgen."""
    if own := os.environ.get("JAXGEN_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgen"


@contextmanager
def drawing_into(folder: Path) -> Iterator[None]:
    """Makes the folder, in which drawings are then kept; UserError where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(
            f"the drawings cannot be kept in {folder} ({error.strerror}); set JAXGEN_CACHE to "
            "another folder"
        ) from None
