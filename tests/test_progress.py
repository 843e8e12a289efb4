"""Progress: a bar on a terminal, plain lines in a log, and nobody there to read them."""

import io
import sys
from pathlib import Path

import pytest

from jaxgen import progress


class Stream(io.StringIO):
    """Stderr: of a terminal, or one that fails."""

    def __init__(self, terminal=False, error=None):
        super().__init__()
        self.terminal, self.error = terminal, error

    def isatty(self):
        return self.terminal

    def write(self, text):
        if self.error:
            raise self.error
        return super().write(text)


def work(monkeypatch, stream, **options):
    """What three steps and a message say."""
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(progress.progress(range(3), "work", **options)) == [0, 1, 2]
    with progress.progress(total=3, what="more", **options) as bar:
        progress.say("a message")
        bar.update(3)
    return stream.getvalue() if stream else ""


def test_a_terminal_has_a_bar(monkeypatch):
    assert "\rwork: " in work(monkeypatch, Stream(terminal=True))


def test_a_log_has_lines_and_no_carriage_return(monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    lines = work(monkeypatch, Stream()).split("\n")
    assert lines.pop() == ""
    assert "a message" in lines
    assert lines[0].startswith("work:   0%, 00:00 gone, ")
    assert any(line.startswith("more: 100%, ") for line in lines)
    for line in lines:
        assert line.strip() == line != ""
        assert not {"\r", "\x1b"} & set(line)


def test_what_is_soon_done_fills_no_log(monkeypatch):
    assert work(monkeypatch, Stream()) == "a message\n"
    assert work(monkeypatch, Stream(), disable=True) == "a message\n"


@pytest.mark.parametrize("error", [BrokenPipeError(32, "gone"), OSError(5, "gone"), ValueError()])
@pytest.mark.parametrize("terminal", [True, False])
def test_nobody_is_there(monkeypatch, error, terminal):
    monkeypatch.setattr(progress, "EVERY", 0)
    if terminal and not isinstance(error, OSError):
        error = OSError(5, "gone")
    work(monkeypatch, Stream(terminal and error.errno == 5, error))
    assert progress.reader_left() == isinstance(error, BrokenPipeError)


def test_there_is_no_stream(monkeypatch):
    work(monkeypatch, None)
    assert not progress.reader_left()


def test_a_compilation_is_left_out_of_the_time_to_go(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Stream())
    with progress.progress(total=10) as bar:
        bar.start_t -= 60  # as if a minute had passed
        bar.last_print_t -= 60
        before = bar.format_dict["elapsed"]
        progress.leave_out(bar, 55)
        assert before - bar.format_dict["elapsed"] == pytest.approx(55, abs=1)
    progress.leave_out(progress.progress(total=10, disable=True), 55)


def test_all_bars_are_made_here():
    root = Path(progress.__file__).parent
    found = [path for path in root.rglob("*.py") if "tqdm" in path.read_text(encoding="utf-8")]
    assert found == [Path(progress.__file__)]
