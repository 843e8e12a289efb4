"""Progress and messages on stderr: a bar on a terminal; elsewhere a plain line now and then.

Nobody may be there to read them.  A stream that is closed, or a terminal that is gone, is written
to no more; a pipe whose reader has left is told of by `reader_left`.
"""

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from tqdm import tqdm

EVERY = 30  # seconds between the lines of a log
_LINE = "{desc}: {percentage:3.0f}%, {elapsed} gone, {remaining} to go{postfix}"
GONE = (OSError, ValueError, RuntimeError)  # it is gone, closed, or amidst a write
_UP = "\x1b[A"  # from a bar below another
_left: list[Any] = []  # the stream whose reader has left


def progress(items: Iterable | None = None, what: str | None = None, **options) -> tqdm:
    """tqdm's bar for stderr, gone when done.  In a log it has a line after each half a minute, and
    none before.

    what: said before the bar.
    options: tqdm's, such as total, unit, disable.
    """
    options = {"leave": False, **options}
    if not _is_terminal():
        options |= {"file": _Log(), "mininterval": EVERY, "maxinterval": 2 * EVERY}
        options |= {"delay": EVERY, "smoothing": 0.5, "bar_format": _LINE}
        what = what or f"{options.get('unit', 'step')}s"
    return tqdm(items, what, **options)


def say(line: str) -> None:
    """A line on stderr, above a bar that is there."""
    if _is_terminal():
        with suppress(*GONE):
            tqdm.write(line, file=sys.stderr)
    else:
        _Log().write(line)


def leave_out(bar: tqdm, seconds: float) -> None:
    """Leaves what has just taken `seconds` out of the bar's estimates, such as a compilation."""
    if not bar.disable:
        bar.start_t += seconds
        bar.last_print_t += seconds


def reader_left() -> bool:
    """True where stderr is a pipe whose reader was found to have left."""
    return sys.stderr in _left


class _Log:
    """Stderr as a file of lines: what moves a cursor is left out."""

    def write(self, text: str) -> None:
        text = text.replace(_UP, "").strip("\r\n ")
        if not text or sys.stderr is None or reader_left():
            return
        try:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
        except BrokenPipeError:
            _left[:] = [sys.stderr]
        except GONE:
            pass

    def flush(self) -> None:
        pass


def _is_terminal() -> bool:
    """True where stderr draws over a line; a notebook's does, too."""
    stream = sys.stderr
    if type(stream).__module__.startswith("ipykernel"):
        return True
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, ValueError):  # not a stream, or closed
        return False
