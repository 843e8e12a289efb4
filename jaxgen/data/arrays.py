"""Plain NumPy arrays as data: `jaxgen.arrays({"image": x, "label": y})`."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from jaxgen.data.parts import count_classes, there
from jaxgen.data.pipeline import RESIDENT_BYTES, Data
from jaxgen.data.source import PIXELS, Field, Kind, Source, digest, keep_split, numbered
from jaxgen.errors import UserError

# What an array is by its name, where `kinds` does not say it.
KINDS: dict[str, Kind] = {
    **{"image": "image", "a": "image", "b": "image", "mask": "mask", "classes": "classes"},
    **{"label": "label", "attributes": "attributes", "text": "text", "caption": "caption"},
    **{"video": "video", "flow": "flow", "voxels": "voxels"},
}


def arrays(
    content: Mapping[str, Any],
    *,
    kinds: Mapping[str, Kind] | None = None,
    flip: bool = False,
    held_out: float = 0.0,
    label_names: Sequence[str] = (),
    attribute_names: Sequence[str] = (),
) -> Data:
    """Arrays [N, ...] by name as data for `jaxgen.fit`.

    content: images [N, H, W, C] are uint8, or floats in [-1, 1], of any C.
    kinds: of arrays by name (see `jaxgen.data.source.Field`); `image`, `a`, `b`, `mask`, `classes`,
      `label`, `attributes`, `text`, `caption`, `video`, `flow` and `voxels` are what they are
      called, any other is passed on as it is.
    flip: mirror images at random in training.
    held_out: the share of the examples that is kept from training.
    label_names, attribute_names: by default the numbers from 0.

    Up to 256 MiB the arrays lie on the devices.

    Raises UserError for arrays that do not fit their kind or each other.
    """
    known = {**KINDS, **(kinds or {})}
    for name, kind in known.items():
        if kind not in get_args(Kind):
            raise UserError(f"{name} cannot be of kind {kind!r}; there are {get_args(Kind)}")
    try:
        content = {name: _plain(np.asarray(x)) for name, x in content.items()}
    except ValueError as error:  # lists of different lengths
        raise UserError(f"the arrays have entries of different shapes ({error})") from None
    content = {k: np.float32(x) if x.dtype == np.float64 else x for k, x in content.items()}
    lengths = {name: len(x) for name, x in content.items()}
    if not content or 0 in lengths.values():
        raise UserError("there are no examples; give arrays of 1 or more")
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {n}" for name, n in lengths.items())
        raise UserError(f"the arrays differ in length ({said}); give one entry an example")
    fields = {name: _checked(name, x, known.get(name, "array")) for name, x in content.items()}
    pixels = [content[name] for name, field in fields.items() if field.kind in PIXELS]
    if len({x.shape[-3:-1] for x in pixels}) > 1:
        raise UserError("the images differ in size; bring them to one size first")
    names = {
        kind: tuple(given) or _numbers(content, fields, kind)
        for kind, given in (("label", label_names), ("attributes", attribute_names))
    }
    for name, field in fields.items():
        if field.kind == "label" and content[name].max() >= len(names["label"]):
            raise UserError(
                f"{name} goes to {content[name].max()}, and there are {len(names['label'])} label "
                "names; name every label"
            )
        if field.kind == "attributes" and content[name].shape[1] != len(names["attributes"]):
            raise UserError(
                f"{name} has {content[name].shape[1]} columns, and there are "
                f"{len(names['attributes'])} attribute names; name every column"
            )
    prints = [digest(name, str(x.dtype), str(x.shape), x.tobytes()) for name, x in content.items()]

    def open(split: str) -> tuple[Source, ...]:
        n = next(iter(lengths.values()))
        keep = keep_split(list(map(str, range(n))), split, held_out, "nothing is held out")
        return (
            Source(
                length=len(keep),
                read=lambda i: {name: x[keep[i]] for name, x in content.items()},
                fingerprint=digest(*prints, str(held_out)),
                fields=fields,
                label_names=names["label"],
                attribute_names=names["attributes"],
            ),
        )

    (source,) = open("train")
    cubes = [content[name] for name, field in fields.items() if field.kind == "voxels"]
    size = (*pixels, *cubes, np.zeros((1, 1, 1, 1)))[0].shape[-3:-1]
    images = [x for name, x in content.items() if fields[name].kind in ("image", "video")]
    channels = images[0].shape[-1] if images else 1
    kept = {k: np.stack([source[i][k] for i in range(len(source))]) for k in content}
    kept = {k: np.int32(x) if fields[k].kind == "label" else x for k, x in kept.items()}
    kept = {k: x for k, x in kept.items() if fields[k].kind != "caption"}
    small = sum(x.nbytes for x in kept.values()) <= RESIDENT_BYTES
    return Data(
        *("arrays", "train", size, channels, size, "center", "lanczos", flip, (source,), open),
        arrays=(kept,) if small else None,
    )


def _plain(x: np.ndarray) -> np.ndarray:
    """The array; texts that NumPy holds as objects, as text."""
    texts = x.dtype.kind == "T" or (x.dtype == object and all(isinstance(t, str) for t in x.flat))
    return x.astype(str) if texts else x


def _checked(name: str, x: np.ndarray, kind: Kind) -> Field:
    """The array's field; UserError where it does not fit its kind."""

    def wrong(wanted):
        raise UserError(f"{name} ({kind}) is {wanted}, not {x.dtype} {list(x.shape)}")

    if kind == "voxels":
        if x.dtype != np.uint8 or x.ndim != 5 or x.shape[-1] != 1 or x.max() > 1:
            wrong("uint8 [N, D, H, W, 1], 0 or 1")
        return Field(kind, depth=x.shape[1])
    if kind == "flow":
        if x.dtype.kind != "f" or x.ndim not in (4, 5) or x.shape[-1] != 2:
            wrong("floats [N, H, W, 2] or [N, T, H, W, 2]")
        return Field(kind, depth=x.shape[1] if x.ndim == 5 else 0)
    if kind in PIXELS and x.ndim != (5 if kind == "video" else 4):
        wrong("[N, T, H, W, C]" if kind == "video" else "[N, H, W, C]")
    if kind in ("mask", "classes") and (x.dtype != np.uint8 or x.shape[-1] != 1):
        wrong("uint8 [N, H, W, 1]")
    if kind == "mask" and not np.isin(x, (0, 255)).all():
        wrong("0 or 255")
    if (
        kind in ("image", "video")
        and x.dtype != np.uint8
        and (x.dtype.kind != "f" or not np.isfinite(x).all() or abs(x).max() > 1 + 1e-6)
    ):
        wrong("uint8, or floats in [-1, 1]")
    if kind == "label" and (x.ndim != 1 or x.dtype.kind not in "iu" or x.min() < 0):
        wrong("[N] of integers from 0 on")
    if kind == "caption" and (x.ndim != 1 or x.dtype.kind != "U"):
        wrong("[N] of texts, one an example")
    if kind == "array" and x.dtype.kind in "OSU":
        wrong("numbers")
    if kind == "attributes" and (
        x.ndim != 2 or x.dtype.kind not in "iub" or (x != x.astype(np.int32)).any()
    ):
        wrong("[N, A] of integers of 32 bits")
    channels = x.shape[-1] if kind in ("image", "video") else 0
    classes = count_classes(there(x)) if kind == "classes" else 0
    return Field(kind, channels, x.shape[1] if kind == "video" else 0, classes)


def _numbers(content, fields, kind) -> tuple[str, ...]:
    """Names 0, 1, ... of the labels or attributes, where there are any."""
    for name, field in fields.items():
        if field.kind == kind:
            x = content[name]
            return numbered(int(x.max()) if kind == "label" else x.shape[1] - 1, name)
    return ()
