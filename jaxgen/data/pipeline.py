"""From a `--data` SPEC to batches: `load(spec, size=64).batches(128, seed=0)`.

Batches are dicts of NumPy arrays: `image` (or `a` and `b`) uint8 [B, H, W, C], `label` and other
attributes int32 [B].  The training program turns uint8 into x / 127.5 - 1 and then augments.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxgen.data.batches import Batches, stack
from jaxgen.data.images import CROPS, RESAMPLE, to_square
from jaxgen.data.source import Source, digest
from jaxgen.data.specs import open_source
from jaxgen.data.tiles import tiles
from jaxgen.errors import UserError

RESIDENT_BYTES = 256 * 2**20
CHANNELS = (1, 3, 4)


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """Examples of one size.  `data[i]` is a dict: images uint8 [stored, stored, channels], int32
    attributes, `caption` str; `stored` is `random_crop` where that is asked for, else `size`.

    Unpaired domains have two sources: `len(data)` is the longer one's length, and `data[i]` starts
    over in the shorter one.
    """

    spec: str
    split: str
    size: int
    channels: int
    stored: int
    crop: str
    resample: str
    flip: bool
    sources: tuple[Source, ...]
    tokenize: Callable[[str], np.ndarray] | None = None
    arrays: tuple[dict[str, np.ndarray], ...] | None = None  # the decoded sources, when kept
    share: float = 0.0  # of a person's own set that is held out

    @property
    def shape(self) -> tuple[int, int, int]:
        """[size, size, channels]: an image as the networks see it."""
        return (self.size, self.size, self.channels)

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.sources[0].label_names

    @property
    def paired(self) -> bool:
        """False for domains that are shuffled apart."""
        return len(self.sources) == 1

    @functools.cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that stand for the examples and how they were processed."""
        process = (self.split, self.stored, self.channels, self.crop, self.resample)
        return digest(*(source.fingerprint for source in self.sources), *map(str, process))

    @property
    def resident(self) -> dict[str, np.ndarray] | None:
        """The whole set [N, ...], to be indexed by `batches(indices=True)`; None when it is too
        large, was not asked for, or has two orders (unpaired domains)."""
        return self.arrays[0] if self.arrays is not None and self.paired else None

    def __len__(self) -> int:
        return max(map(len, self.sources))

    def __getitem__(self, i: int) -> dict[str, Any]:
        if not 0 <= i < len(self):
            raise IndexError(i)
        example = {}
        for source in self.sources:
            example |= self.process(source[i % len(source)])
        return example

    def process(self, raw: dict[str, Any]) -> dict[str, Any]:
        """A source's raw example in the form of `data[i]`."""
        example = {}
        if self.tokenize and "caption" in raw:
            example["text"] = np.asarray(self.tokenize(raw["caption"]), np.int32)
        for name, value in raw.items():
            if isinstance(value, np.ndarray):
                value = to_square(value, self.stored, self.channels, self.crop, self.resample)
            elif not isinstance(value, str):
                value = np.int32(value)
            example[name] = value
        return example

    def captions(self, n: int) -> list[str] | None:
        """Captions of `examples(n)`; None when the set has none."""
        chosen = [self[i] for i in self._spread(n)]
        return [example["caption"] for example in chosen] if "caption" in chosen[0] else None

    def all_captions(self, most: int) -> list[str]:
        """Captions of the whole set, or of `most` examples from all over it; none when the set has
        none."""
        (source, *others), chosen = self.sources, range(len(self))
        if others or "caption" not in source[0]:
            return []
        if len(self) > most:
            chosen = [i * len(self) // most for i in range(most)]
        with ThreadPoolExecutor() as threads:
            return list(threads.map(lambda i: source[i]["caption"], chosen))

    def examples(self, n: int) -> dict[str, np.ndarray]:
        """The same `n` examples every time, from all over the set (over again when it has fewer);
        see `take`."""
        return self.take(self._spread(n))

    def take(self, chosen: Sequence[int]) -> dict[str, np.ndarray]:
        """These examples stacked; images [n, size, size, channels], cut out of the middle where
        `stored` is larger."""
        margin = (self.stored - self.size) // 2
        middle = slice(margin, margin + self.size)
        batch = stack([self[i] for i in chosen])
        return {k: x[:, middle, middle] if x.ndim == 4 else x for k, x in batch.items()}

    def held_out(self, n: int) -> dict[str, np.ndarray] | None:
        """Like `examples(n)`, but of the test split, and no more than it has; None without one."""
        try:
            sources = _open(self.spec, "test", self.stored, self.share, self.crop)
        except UserError:
            return None
        test = dataclasses.replace(self, split="test", sources=sources, arrays=None)
        return test.examples(min(n, len(test)))

    def _spread(self, n: int) -> list[int]:
        """Steps of the golden ratio through the set: the first few are far apart already."""
        length = len(self)
        order = np.argsort(np.arange(length) * 0.6180339887498949 % 1, kind="stable")
        return [int(order[k % length]) for k in range(n)]

    @property
    def augment(self) -> Callable | None:
        """`(batch, key) -> batch` on float32 images in [-1, 1], to run inside the training program:
        random crops from `stored` to `size`, then flips.  A pair's a and b are treated alike,
        unpaired domains each on its own.  None when there is nothing to do."""
        if not self.flip and self.stored == self.size:
            return None
        return functools.partial(_augment, size=self.size, mirror=self.flip, paired=self.paired)

    def batches(
        self,
        batch_size: int,
        seed: int,
        *,
        process: int = 0,
        processes: int = 1,
        indices: bool = False,
        start: int = 0,
    ) -> Batches:
        """Endless batches, shuffled anew in every epoch; a batch may run across epochs.

        The global batch of `batch_size` depends on `seed` and its number alone; this process gets
        its contiguous share of batch_size / processes rows.  With `indices` a batch is
        {"index": int32 [b]}, the same examples in the same order.  `start` is the number of the
        first batch.
        """
        if batch_size < 1 or batch_size % processes:
            raise UserError(
                f"a batch of {batch_size} cannot be split over {processes} processes; use a "
                f"multiple of {processes}"
            )
        if indices and not self.paired:
            raise UserError(f"{self.spec} has two orders; its batches cannot be indices")
        return Batches(self, batch_size, seed, process, processes, indices, start)


def _augment(batch, key, *, size, mirror, paired):
    import jax

    from jaxgen.data import augment

    names = [name for name in ("image", "a", "b") if name in batch]
    together = [names] if paired else [[name] for name in names]
    batch = dict(batch)
    for n, group in enumerate(together):
        key_crop, key_flip = jax.random.split(jax.random.fold_in(key, n))
        images = tuple(batch[name] for name in group)
        if images[0].shape[1] != size:
            images = augment.random_crop(images, key_crop, size)
        if mirror:
            images = augment.flip(images, key_flip)
        batch.update(zip(group, images, strict=True))
    return batch


def load(
    spec: str,
    *,
    size: int,
    channels: int = 3,
    split: str = "train",
    crop: str = "center",
    resample: str = "lanczos",
    flip: bool = False,
    random_crop: int = 0,
    held_out: float = 0.0,
    resident: str = "auto",
    tokenize: Callable[[str], np.ndarray] | None = None,
) -> Data:
    """The data that `spec` names (see `jaxgen.data.specs`), as squares of `size` pixels.

    `channels`: 1 grey, 3 RGB (transparency lies on white), 4 RGBA.  `crop`: "center", "stretch" or
    "pad"; or "tiles", squares cut out of images that are not resized, an example each.  `resample`:
    "lanczos", "bicubic", "bilinear", "area" or "nearest".  `flip` mirrors at random; `random_crop`
    > size stores images (or tiles) at that size and cuts `size` out at random: both in training
    (`Data.augment`).  `held_out` is the share of a person's own set that "test" gets when it has no
    test/ folder.  `resident`: keep the decoded set in memory, "auto" up to 256 MiB, "yes" or "no".
    `tokenize` turns a caption into integers [L], which batches then hold
    as `text`.  Raises UserError.
    """
    if size < 1:
        raise UserError(f"size is a number of pixels from 1 on, not {size}")
    if channels not in CHANNELS:
        raise UserError(f"channels is 1 (grey), 3 (RGB) or 4 (RGBA), not {channels}")
    for name, value, known in (
        ("crop", crop, (*CROPS, "tiles")),
        ("resample", resample, RESAMPLE),
        ("resident", resident, ("auto", "yes", "no")),
    ):
        if value not in known:
            raise UserError(f'{name} is {" or ".join(known)}, not "{value}"')
    if random_crop and random_crop < size:
        raise UserError(f"random_crop {random_crop} is below size {size}; use 0 or a larger number")
    stored = random_crop or size
    sources = _open(spec, split, stored, held_out, crop)
    data = Data(
        *(spec, split, size, channels, stored, crop, resample, flip, sources),
        tokenize=tokenize,
        share=held_out,
    )
    if resident == "no":
        return data
    images = sum(len(s) * (2 if "b" in s[0] and "a" in s[0] else 1) for s in sources)
    if resident == "auto" and images * stored**2 * channels > RESIDENT_BYTES:
        return data
    return dataclasses.replace(data, arrays=tuple(_decode_all(data, s) for s in sources))


def _open(spec, split, stored, held_out, crop) -> tuple[Source, ...]:
    sources = open_source(spec, split, stored, held_out)
    return tuple(tiles(source, stored) for source in sources) if crop == "tiles" else sources


def _decode_all(data: Data, source: Source) -> dict[str, np.ndarray]:
    """The processed source stacked [N, ...], read in threads."""
    read = lambda i: data.process(source[i])
    quiet = len(source) < 2000 or not sys.stderr.isatty()
    with ThreadPoolExecutor() as threads:
        examples = list(
            tqdm(
                threads.map(read, range(len(source))),
                f"decoding {data.spec}",
                total=len(source),
                disable=quiet,
                leave=False,
            )
        )
    return stack(examples)
