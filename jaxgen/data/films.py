"""Films, read by ffmpeg (imageio-ffmpeg) and cut into short clips."""

import subprocess
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from jaxgen.data import media
from jaxgen.data.reading import content, each
from jaxgen.data.source import Field, Source, digest
from jaxgen.errors import UserError
from jaxgen.files import ffmpeg, kept_array

# Mean difference of two frames, of 255, above which there is a cut between them.  Pans reach 20,
# and the cuts of the shipped films 50 and more.
CUT = 32


def read_film(file: Path, side: int) -> np.ndarray:
    """All frames uint8 [F, H, W, 3], the shorter side reduced to `side` pixels where it is longer.

    Decoded once, then read from the cache as they are asked for.  Raises UserError.
    """
    return kept_array("films", f"{content(file)}-{side}", lambda: _decode(file, side))


def _decode(file: Path, side: int) -> Iterator[np.ndarray]:
    """The frames uint8 [1, H, W, 3].  ffmpeg writes PPM images, one after the other; each begins
    with three lines."""
    short = f"min({side},min(iw,ih))"
    scale = f"scale=w='if(gte(iw,ih),-2,{short})':h='if(gte(iw,ih),{short},-2)':flags=area"
    how = ("-an", "-vf", scale, "-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "ppm")
    how = (*how, "-pix_fmt", "rgb24")  # a film of 10 bits would become an image of 16
    command = [ffmpeg(), "-v", "error", "-nostdin", "-i", file, *how, "-"]
    first = None
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
            frames = process.stdout
            while header := [frames.readline() for _ in range(3)][1]:
                first = first or header
                if header != first:
                    raise UserError(f"{file} changes its size on the way; cut it there")
                width, height = map(int, header.split())
                data = frames.read(3 * width * height)
                if len(data) < 3 * width * height:
                    break
                yield np.frombuffer(data, np.uint8).reshape(1, height, width, 3)
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip().split("\n")[-1]
    if process.returncode or not first:
        raise UserError(
            f"{file} is not a readable film ({said or 'no frames'}); replace it, or move it away"
        )


def starts(film: np.ndarray, frames: int) -> list[int]:
    """The first frames of clips of that many frames: every half clip, none across a cut."""
    change = [np.abs(a.astype(np.int16) - b).mean() > CUT for a, b in pairwise(film)]
    shots = [0, *(i + 1 for i in np.flatnonzero(change)), len(film)]
    return [k for first, end in pairwise(shots) for k in every_half(first, end, frames)]


def every_half(first: int, end: int, frames: int) -> range:
    """The first frames of clips of that many frames, from `first` on and before `end`."""
    return range(first, end - frames + 1, max(frames // 2, 1))


def clips(
    files: Sequence[Path],
    side: int,
    frames: int,
    fingerprint: str,
    labels: Sequence[int] = (),
    label_names: tuple[str, ...] = (),
) -> Source:
    """The films' clips: video [frames, H, W, 3], and the film's label where there are any.  Raises
    UserError."""
    films = each("decoding films", lambda file: read_film(file, side), files)
    begin = each("looking for cuts", lambda film: starts(film, frames), films)
    for file, film, found in zip(files, films, begin, strict=True):
        if not found:
            raise UserError(
                f"{file} has no {frames} frames without a cut between them ({len(film)} in all); "
                "use fewer frames, or move it away"
            )
    ends = list(accumulate(map(len, begin)))

    def find(i: int) -> tuple[int, int]:
        n = bisect_right(ends, i)
        return n, begin[n][i - ends[n]]

    def read(i: int) -> dict:
        n, first = find(i)
        example = {"video": np.array(films[n][first : first + frames])}
        return example | ({"label": labels[n]} if labels else {})

    def measure(i: int) -> tuple[str, int, int]:
        n, first = find(i)
        return f"{files[n]}, frame {first}", *films[n].shape[1:3]

    fields = {"video": Field("video", 3, frames)} | ({"label": Field("label")} if labels else {})
    return Source(
        length=ends[-1],
        read=read,
        fingerprint=digest(fingerprint, f"{frames} frames of {side}"),
        fields=fields,
        label_names=label_names,
        measure=measure,
    )


def folder(root: Path, split: str, held_out: float, side: int, frames: int) -> Source:
    """Clips of the films under `root`; see `media.files_of`.  A film stands on one side."""
    found = media.files_of(root, media.FILMS, split, held_out)
    return clips(found.files, side, frames, found.fingerprint(), found.labels, found.label_names)
