"""Files: never half-written, where those that can be made again are kept, and what reads films."""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from jaxgen.errors import UserError

WORTH = 0.5  # seconds
# Held while NumPy reads a .npy or .npz file. It parses headers with `ast`, which in Python 3.11
# fails at times where several threads do so (https://github.com/python/cpython/issues/106905).
READING_ARRAYS = threading.Lock()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, in the same folder and with the same suffix; it then becomes `path`.

    A run that is stopped, or two at once on any hosts, leave whole files only.
    """
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def expanded(path: str, remedy: str = "write the whole path") -> Path:
    """The path, in which ~ stands for a home folder; UserError where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: there is no such home folder; {remedy}") from None


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
            f"what is made once cannot be kept in {folder} ({error.strerror}); set JAXGEN_CACHE to "
            "another folder"
        ) from None


def kept_folder(*parts: str) -> Path:
    """The folder `parts` in the cache, made where it is missing.  Raises UserError."""
    folder = cache_folder().joinpath(*parts)
    with keeping(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def kept_array(folder: str, name: str, make: Callable[[], Iterable[Any]]) -> Any:
    """The array whose rows `make` gives, in blocks [n, ...] of any n, made once and then read from
    the cache, which holds it as folder/name.npy; read-only, and in memory only where it is looked
    at.  One that is damaged is made again.  Raises UserError."""
    import numpy as np

    path = kept_folder(folder) / f"{name}.npy"
    if not path.exists():
        blocks = make()
        with keeping(path.parent), replacing(path) as temporary:
            _write_rows(temporary, blocks)
    with keeping(path.parent):
        try:
            with READING_ARRAYS:
                return np.load(path, mmap_mode="r")
        except (ValueError, EOFError):
            path.unlink(missing_ok=True)
    return kept_array(folder, name, make)


def kept_arrays(folder: str, name: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The arrays by name that `make` gives, or the cache has as folder/name.npz.

    They are kept, in place of others in that folder, where making them took longer than `WORTH` and
    the cache can be written.  A file that is damaged is made again.
    """
    import numpy as np

    try:
        path = cache_folder() / folder / f"{name}.npz"
    except UserError:  # there is no home
        return dict(make())
    broken = (OSError, ValueError, EOFError, BadZipFile)
    with suppress(*broken), open(path, "rb") as opened, np.load(opened) as file:
        return dict(file)
    start = time.monotonic()
    arrays = make()
    if time.monotonic() - start > WORTH:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                np.savez(temporary, **arrays)
            for other in set(path.parent.glob("[!.]*.npz")) - {path}:
                other.unlink(missing_ok=True)
    return dict(arrays)


def ffmpeg() -> str:
    """The program that reads and writes films.  Raises UserError."""
    from imageio_ffmpeg import get_ffmpeg_exe

    with suppress(RuntimeError):  # there is none
        if shutil.which(program := get_ffmpeg_exe()):
            return program
    raise UserError(
        "films need the program ffmpeg, which is not there; reinstall imageio-ffmpeg, or let "
        "IMAGEIO_FFMPEG_EXE name one"
    )


def _write_rows(path: Path, blocks: Iterable[Any]) -> None:
    """The blocks one after the other as a .npy file.  NumPy leaves room in its header, which is
    written again when their number is known."""
    from numpy.lib import format

    rows, header = 0, {}
    with open(path, "wb") as file:
        for block in blocks:
            if not rows:
                header = format.header_data_from_array_1_0(block)
                format.write_array_header_1_0(file, header)
            file.write(block.tobytes())
            rows += len(block)
        file.seek(0)
        format.write_array_header_1_0(file, header | {"shape": (rows, *header["shape"][1:])})
