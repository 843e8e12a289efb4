"""Many files read in threads, with a progress line, and one line about those that are broken."""

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from jaxgen.data.source import digest
from jaxgen.errors import UserError
from jaxgen.progress import progress, say

Result = TypeVar("Result")
PATIENCE = 1.5  # seconds before a progress line appears


def each(what: str, read: Callable[[Any], Result], items: Sequence[Any]) -> list[Result]:
    """`read` of every item, in order; `what` is being done, for the progress line.

    UserError names the first item that raises one, and counts the others.
    """

    def attempt(item):
        try:
            return read(item), None
        except UserError as error:
            return None, error

    with ThreadPoolExecutor() as threads:
        found = threads.map(attempt, items)
        bar = progress(found, what, total=len(items), delay=PATIENCE)
        results, errors = zip(*bar, strict=True) if items else ((), ())
    if broken := [error for error in errors if error]:
        more = f" (and {len(broken) - 1} more such files)" if len(broken) > 1 else ""
        raise UserError(f"{broken[0]}{more}")
    return list(results)


@contextmanager
def readable(file: Any) -> Iterator[None]:
    """UserError where this file or folder cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; it was there when the run began") from None
    except OSError as error:
        raise UserError(
            f"{file} cannot be read ({error.strerror}); mend it or move it away"
        ) from None


def content(file: Path) -> str:
    """Digest of what is in the file.  Raises UserError."""
    with readable(file), open(file, "rb") as opened:
        return hashlib.file_digest(opened, "blake2b").hexdigest()[:16]


def stamps(files: Iterable[Path], *more: str) -> str:
    """A name for what is kept of the files: a digest of their places, sizes and times of writing.
    Raises OSError."""
    stats = [(file.resolve(), file.stat()) for file in files]
    return digest(*more, *(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats))


@functools.cache
def tell(line: str) -> None:
    """A line to the user, once a process."""
    say(line)
