"""Images at their own resolution, cut into tiles (`--crop tiles`)."""

import itertools
from bisect import bisect_right
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

from jaxgen.data.source import Source, digest
from jaxgen.errors import UserError

AT_HAND = 2**28  # bytes of decoded images that are kept, for their other tiles


def tiles(source: Source, size: tuple[int, int]) -> Source:
    """Every tile of `size` (height, width) in pixels is an example, with its image's label and
    caption.

    Tiles do not overlap; their grid lies in the middle of the image, and what does not fill a tile
    at its rim is left out.  They come image by image, row by row.  Images are decoded when a tile
    is read.  Raises UserError for an image that is smaller than a tile.
    """
    with ThreadPoolExecutor() as threads:
        origins = list(threads.map(source.origin, range(len(source))))
    high, wide = size
    small = [origin for origin in origins if origin[1] < high or origin[2] < wide]
    if small:
        name, height, width = small[0]
        more = f" (and {len(small) - 1} more such images)" if len(small) > 1 else ""
        raise UserError(
            f"{name} is {height}x{width} pixels (height x width), too small for a tile of "
            f"{high}x{wide}{more}; use smaller tiles, another crop or data without it"
        )
    grids = [(height // high, width // wide) for _, height, width in origins]
    ends = list(itertools.accumulate(rows * columns for rows, columns in grids))
    decoded = _Decoded(source, [4 * height * width for _, height, width in origins])

    def read(k: int) -> dict[str, Any]:
        i = bisect_right(ends, k)
        name, height, width = origins[i]
        rows, columns = grids[i]
        row, column = divmod(k - ends[i] + rows * columns, columns)
        top = (height - rows * high) // 2 + row * high
        left = (width - columns * wide) // 2 + column * wide

        def cut(x):
            if x.shape[-3:-1] != (height, width):
                raise UserError(f"{name}: its images differ in size; tiles need pairs of one size")
            # A copy, for a view would keep the whole image in memory.
            return x[..., top : top + high, left : left + wide, :].copy()

        raw = decoded(i)
        return {key: cut(x) if key in source.pixels else x for key, x in raw.items()}

    return Source(
        length=ends[-1],
        read=read,
        fingerprint=digest(source.fingerprint, f"tiles of {high if high == wide else size}"),
        fields=source.fields,
        label_names=source.label_names,
        attribute_names=source.attribute_names,
        measure=lambda k: (origins[bisect_right(ends, k)][0], high, wide),
        captions=source.captions and (lambda k: source.texts(bisect_right(ends, k))),
        check=source.check,
    )


class _Decoded:
    """A source's examples, the last ones used at hand; one thread decodes, others wait for it."""

    def __init__(self, source: Source, sizes: list[int]):
        self._source, self._sizes = source, sizes
        self._found: OrderedDict[int, Future] = OrderedDict()
        self._bytes, self._lock = 0, Lock()

    def __call__(self, i: int) -> dict[str, Any]:
        with self._lock:
            if known := i in self._found:
                self._found.move_to_end(i)
            else:
                self._found[i] = Future()
                self._bytes += self._sizes[i]
            future = self._found[i]
            while self._bytes > AT_HAND and len(self._found) > 1:
                oldest, _ = self._found.popitem(last=False)
                self._bytes -= self._sizes[oldest]
        if not known:
            try:
                future.set_result(self._source[i])
            except BaseException as error:  # the waiting threads raise it too
                future.set_exception(error)
        return future.result()
