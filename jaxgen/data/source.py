"""What data is: sources of raw examples, their fields, and what a system is told about them."""

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Literal, Protocol

from jaxgen.data.tokens import Tokens
from jaxgen.errors import NoSplit, UserError

Kind = Literal[
    "image",
    "mask",
    "classes",
    "video",
    "flow",
    "voxels",
    "label",
    "attributes",
    "caption",
    "text",
    "array",
]
LABELS = 1_000_000  # and no more, as each has a name
# The kinds [..., H, W, C] that are resized, cropped and mirrored together.
PIXELS = ("image", "mask", "classes", "video", "flow")
SEEN = (*PIXELS, "voxels")


@dataclasses.dataclass(frozen=True)
class Field:
    """What one entry of an example is; nothing is guessed from its name or dtype.

    kind:
      image       uint8 [H, W, C]; losses see float32 in [-1, 1]
      mask        uint8 [H, W, 1], 0 or 255; losses see float32 0 or 1
      classes     uint8 [H, W, 1], a label map, never blurred; losses see int32
      video       uint8 [T, H, W, C]; losses see float32 in [-1, 1]
      flow        float32 [H, W, 2], or [T, H, W, 2] between frames: what is at (x, y) moves by
                  (dx, dy) pixels, to the right and down; NaN where it is not known
      voxels      uint8 [D, H, W, 1], 0 or 1, seen from the front; losses see float32
      label       an int; losses see int32 [B]
      attributes  int32 [A], named by `attribute_names`
      caption     str, which no loss sees
      text        int32 [L], the tokens of a caption
      array       numbers that are passed on as they are
    channels: of an image or a video; 0 where the files decide.
    depth: T or D, of what has it; voxels have 0 where the size decides.
    classes: of a label map: its numbers are below that, or 255, which stands for no class.
    """

    kind: Kind
    channels: int = 0
    depth: int = 0
    classes: int = 0


@dataclasses.dataclass(frozen=True)
class DataInfo:
    """What a system may know of its data, in training and when a run is opened again.

    shape: [H, W, C] of an image, or of a video's frame, as networks see it; of data that has
      voxels alone [D, H, W].
    fields: by name, of what batches hold.
    label_names, attribute_names: label_names[k] is the name of label k; empty without labels.
    vocabulary: from a caption to the numbers of `text`, where there is one.
    crop, resample, stored: how images of another size are brought to it (`images.to_input`);
      `stored` is [H, W] of which training cuts out the shape at random, None without.
    examples: how many there are, 0 where nobody knows.
    """

    shape: tuple[int, ...]
    fields: Mapping[str, Field]
    label_names: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()
    vocabulary: Tokens | None = None
    crop: str = "center"
    resample: str = "lanczos"
    stored: tuple[int, int] | None = None
    examples: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, for a run's data.json."""
        plain = {k: v for k, v in vars(self).items() if k not in ("fields", "vocabulary")}
        plain["fields"] = {name: dataclasses.asdict(field) for name, field in self.fields.items()}
        if self.vocabulary:
            merges = [" ".join(pair) for pair in self.vocabulary.merges]
            plain["vocabulary"] = {"context": self.vocabulary.context, "merges": merges}
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "DataInfo":
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        given["fields"] = {name: Field(**field) for name, field in plain["fields"].items()}
        if kept := plain.get("vocabulary"):
            merges = tuple(tuple(pair.split(" ")) for pair in kept["merges"])
            given["vocabulary"] = Tokens(merges, kept["context"])
        return cls(**given)

    def zeros(self, n: int) -> dict[str, Any]:
        """n examples of zeros in the shapes and types that losses see."""
        import jax.numpy as jnp

        def entry(name, field):
            channels = field.channels or self.shape[-1]
            deep = (field.depth,) if field.depth else ()
            match field.kind:
                case "image" | "video":
                    return jnp.zeros((n, *deep, *self.shape[:-1], channels))
                case "flow":
                    return jnp.zeros((n, *deep, *self.shape[:-1], 2))
                case "mask":
                    return jnp.zeros((n, *self.shape[:-1], 1))
                case "classes":
                    return jnp.zeros((n, *self.shape[:-1], 1), jnp.int32)
                case "voxels":
                    alone = all(other.kind not in PIXELS for other in self.fields.values())
                    sides = self.shape[1:] if alone else self.shape[:-1]
                    return jnp.zeros((n, *deep, *sides, 1))
                case "label":
                    return jnp.zeros(n, jnp.int32)
                case "attributes":
                    return jnp.zeros((n, len(self.attribute_names)), jnp.int32)
                case "text" if self.vocabulary:
                    return jnp.zeros((n, self.vocabulary.context), jnp.int32)
            return None

        made = {name: entry(name, field) for name, field in self.fields.items()}
        return {name: x for name, x in made.items() if x is not None}


@dataclasses.dataclass(frozen=True)
class Source:
    """`source[i]` is a raw example, i in 0 .. len(source) - 1; every read returns the same.

    fields: what its entries are; images are of any size, with 1, 3 or 4 channels.
    fingerprint: a short digest of the content (for shipped sets: of the packages' versions).
    label_names, attribute_names: see `DataInfo`.
    measure: i -> what `origin` gives, where it can be had without decoding the image.
    captions: i -> the captions of example i, where it may have several, or they can be had without
      decoding the image; `caption` is the first.
    caption_counts: int [length], how many each example has, where it is known without reading them.
    check: decodes every image, where it is not known that they can be; UserError for broken ones.
    """

    length: int
    read: Callable[[int], dict[str, Any]]
    fingerprint: str
    fields: Mapping[str, Field]
    label_names: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()
    measure: Callable[[int], tuple[str, int, int]] | None = None
    captions: Callable[[int], Sequence[str]] | None = None
    caption_counts: Any = None
    check: Callable[[], None] | None = None

    def texts(self, i: int) -> Sequence[str]:
        """The captions of example i; there are any where a field is a caption."""
        return self.captions(i) if self.captions else (self[i]["caption"],)

    def counts(self) -> Any:
        """The number of captions of each example, int [length]."""
        import numpy as np

        if self.caption_counts is not None:
            return self.caption_counts
        if not self.captions:
            return np.ones(self.length, np.int32)
        return np.array([len(self.captions(i)) for i in range(self.length)], np.int32)

    def origin(self, i: int) -> tuple[str, int, int]:
        """The name of example i, and the height and width in pixels of its (first) image."""
        if self.measure:
            return self.measure(i)
        height, width = self[i][self.pixels[0]].shape[-3:-1]
        return f"image {i}", height, width

    @property
    def pixels(self) -> list[str]:
        """The names of the entries that are resized, cropped and flipped."""
        return [name for name, field in self.fields.items() if field.kind in PIXELS]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> dict[str, Any]:
        if not 0 <= i < self.length:
            raise IndexError(i)
        return self.read(i)


class Batches(Protocol):
    """Endless minibatches of one process, resumable at any of them."""

    def __next__(self) -> Mapping[str, Any]: ...

    def get_state(self) -> dict[str, Any]:
        """The position, JSON-able; `set_state` goes on from it exactly."""
        ...

    def set_state(self, state: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class Data(Protocol):
    """What `fit` takes: `jaxgen.load_data` and `jaxgen.arrays` give it.

    info: what systems are told.
    resident: the whole set [N, ...] by field, to lie on the devices, or None; then `batches` is
      asked for indices: {"index": int32 [b]}, and under the name of a field those of its rows that
      are not as the others.
    augment: (batch as losses see it, key) -> batch, inside the training program; or None.
    """

    @property
    def info(self) -> DataInfo: ...

    @property
    def resident(self) -> Mapping[str, Any] | None: ...

    @property
    def augment(self) -> Callable[[Any, Any], Any] | None: ...

    def examples(self, n: int) -> Mapping[str, Any]:
        """The same n examples every time, [n, ...] by field."""
        ...

    def batches(
        self,
        batch_size: int,
        seed: int,
        *,
        process: int = 0,
        processes: int = 1,
        indices: bool = False,
    ) -> Batches: ...


def to_program(batch: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """A batch as losses see it; see `Field`.  What has no field is passed on."""
    import jax
    import jax.numpy as jnp

    def convert(name, x):
        kind = fields[name].kind if name in fields else "array"
        if kind in ("image", "video"):
            return to_float(x)
        if kind == "mask":
            return jnp.float32(x) / 255
        if kind == "voxels":
            return jnp.float32(x)
        if kind == "classes":
            return jnp.int32(x)
        return jax.tree.map(jnp.asarray, x)

    return {name: convert(name, x) for name, x in batch.items()}


def to_float(images):
    """Images uint8 [...], or a tree of them, as float32 in [-1, 1]; other types pass through."""
    import jax
    import jax.numpy as jnp

    convert = lambda x: jnp.float32(x) / 127.5 - 1 if x.dtype == jnp.uint8 else jnp.asarray(x)
    return jax.tree.map(convert, images)


def digest(*parts: str | bytes) -> str:
    """Sixteen hex digits of the BLAKE2 hash of the parts."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        state.update(len(part).to_bytes(8, "big") + part)
    return state.hexdigest()


def unit_hash(name: str) -> float:
    """A number in [0, 1) that depends on the name alone, so that a split is stable."""
    return int(digest(name), 16) / 2**64


def keep_split(names: Sequence[str], split: str, held_out: float, missing: str) -> list[int]:
    """Positions of the names in the split, by their `unit_hash`; see `keep_hashed`."""
    return keep_hashed([unit_hash(name) for name in names], split, held_out, missing).tolist()


def keep_hashed(hashes: Any, split: str, held_out: float, missing: str) -> Any:
    """Positions int [n] of the `unit_hash`es in the split; "test" has those below `held_out`.

    An empty split raises NoSplit: `missing`, when nothing is held out at all.
    """
    import numpy as np

    kept = np.flatnonzero((np.asarray(hashes) < held_out) == (split == "test"))
    if not len(kept):
        if not held_out:
            raise NoSplit(missing)
        raise NoSplit(
            f"a held-out share of {held_out:g} leaves nothing for {split} of {len(hashes)} "
            "examples; ask for another share or add images"
        )
    return kept


def some(chosen: Sized, spec: str, split: str) -> None:
    """NoSplit where nothing is chosen of a set that is drawn in any number."""
    if not len(chosen):
        raise NoSplit(f"{spec} has nothing for {split}; ask for more")


def in_order(names: Iterable[str]) -> list[str]:
    """The different names, sorted; by number where all are whole numbers."""
    names = set(names)
    numbers = all(name.isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name) if numbers else 0, name))


def numbered(last: int, what: str) -> tuple[str, ...]:
    """Names of labels from 0 to `last`; UserError for too many."""
    if last >= LABELS:
        raise UserError(
            f"{what} goes to {last:,}, and labels are numbers below {LABELS:,}; number the classes "
            "from 0"
        )
    return tuple(map(str, range(last + 1)))


def package_folder(module: str, package: str, spec: str) -> Path:
    """Where the pip package keeps its files; UserError with the command that installs it."""
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise UserError(f'data "{spec}" needs {package}: pip install "jaxgen[samples]"')
    return Path(found.submodule_search_locations[0])


def package_digest(count: int, *packages: str) -> str:
    """The fingerprint of a shipped set: its packages, their versions and how many examples."""
    return digest(*(f"{p}=={importlib.metadata.version(p)}" for p in packages), str(count))


def parse_count(spec: str, text: str, most: int | None = None) -> int:
    """The N of "spec:N", up to `most`.  Raises UserError."""
    if not text.isdecimal() or not 0 < int(text) <= (most or int(text)):
        upto = f" up to {most:,}" if most else ""
        raise UserError(f'{spec}:N takes a whole number from 1{upto}, not "{text}"')
    return int(text)
