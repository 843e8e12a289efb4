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
    """$JAXGEN_CACHE, else $XDG_CACHE_HOME/jaxgen, else ~/.cache/jaxgen; UserError for no home."""
    if own := os.environ.get("JAXGEN_CACHE"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgen"
    except RuntimeError:
        raise UserError(
            "this user has no home to keep files in; set JAXGEN_CACHE to a folder for them"
        ) from None
