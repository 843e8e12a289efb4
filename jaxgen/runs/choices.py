"""What a user may choose when a trained run is used: conditions, further inputs and options."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxgen.data.images import to_input
from jaxgen.data.source import PIXELS, DataInfo, to_program
from jaxgen.errors import UserError
from jaxgen.train.abilities import SET, Option


def check_names(run: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    """UserError for the first of `given` that the run of that name does not know."""
    for name in given:
        if name not in known:
            others = f" (its choices are {', '.join(known)})" if known else ""
            raise UserError(f"{run} takes no {name}; leave it out{others}")


def values(options: Mapping[str, Option], given: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """(name, value) of every option, to be hashed.  UserError for one out of its range."""
    chosen = {name: given.get(name, option.default) for name, option in options.items()}
    for name, value in chosen.items():
        low, high, words = options[name].low, options[name].high, options[name].choices
        if words and value not in words:
            raise UserError(f"{name} is one of {', '.join(words)}, not {value}")
        if isinstance(value, int | float) and not low <= value <= high:
            end = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
            raise UserError(f"{name} is {end}, not {value:g}")
    return tuple(chosen.items())


def conditions(
    info: DataInfo, names: Sequence[str], given: Mapping[str, Any], n: int
) -> dict[str, jax.Array]:
    """{name: [n, ...]} as losses see them, of the batch fields of these names; of several values
    that are given for one, each in turn."""
    rows = {name: condition(info, name, given.get(name)) for name in names}
    rows = {name: x[np.arange(n) % len(x)] for name, x in rows.items()}
    return to_program(rows, info.fields)


def of_one_image(info: DataInfo, name: str, value: Any) -> np.ndarray:
    """`condition` [1, ...] of a single image; UserError for several, or where a label lacks."""
    rows = condition(info, name, value)
    if len(rows) != 1 and value is None:
        raise UserError(f"{name} is needed, and has no default; there are {_few(info.label_names)}")
    if len(rows) != 1:
        raise UserError(f"{name} is one value here, not {len(rows)}")
    return rows


def kind(info: DataInfo, name: str) -> str:
    """The kind of the batch field of that name, or what else a user gives: `SET`, or an image."""
    if name in info.fields:
        return info.fields[name].kind
    return SET if name == SET else "image"


def condition(info: DataInfo, name: str, value: Any) -> np.ndarray:
    """What a user gives for a batch field, as an array [m, ...] of m values.

    A label is a number or a class's name (None: every class); a text is a caption, or its tokens;
    attributes are {name: value}, the others being 0, or a vector (None: all 0), and what is asked
    of them (`SET`) likewise, the others being NaN; images of another size are cut and resized as in
    training; else it is the field's array.  One of these, or a sequence of them.  UserError that
    begins with `name`.
    """
    if name == SET:
        return _attributes(name, info.attribute_names, value, math.nan)
    kind = info.fields[name].kind
    if kind == "label":
        return _labels(name, info.label_names, value)
    if kind == "attributes":
        return _attributes(name, info.attribute_names, value)
    if value is None:
        raise UserError(f"{name} is needed, and has no default; give one")
    if kind == "text":
        return _tokens(name, info.vocabulary, value)
    array = np.asarray(value)
    alone = 4 if kind in ("video", "voxels") or info.fields[name].depth else len(info.shape)
    array = array[None] if array.ndim == alone else array
    if kind in PIXELS and array.shape[-3:-1] != info.shape[:2]:
        array = np.stack([to_input(x, info, kind) for x in array])
    return array


def _labels(name, names, value):
    if value is None:
        return np.arange(len(names) or 1, dtype=np.int32)

    def number(x):
        if x in names:
            return names.index(x)
        if isinstance(x, str) and not x.removeprefix("-").isdecimal():
            raise _unknown(name, x, names)
        if int(x) < 0 or 0 < len(names) <= int(x):
            raise UserError(f"{name} is from 0 to {len(names) - 1}, not {x}")
        return int(x)

    return np.asarray([number(x) for x in ([value] if np.ndim(value) == 0 else value)], np.int32)


def _tokens(name, vocabulary, value):
    texts = [value] if isinstance(value, str) else value
    if len(texts) == 0 or any(isinstance(text, str) and not text.strip() for text in texts):
        raise UserError(f"{name} is empty; say what the image shows")
    if not isinstance(texts[0], str):
        return np.atleast_2d(np.asarray(texts, np.int32))
    if vocabulary is None:
        raise UserError(f"{name} is given as tokens here: the training data had no vocabulary")
    return np.stack([np.asarray(vocabulary(text), np.int32) for text in texts])


def _attributes(name, names, value, other=0.0):
    def vector(x):
        if unknown := [key for key in x if key not in names]:
            raise _unknown(name, unknown[0], names)
        low, high = (0, 1) if name == SET else (-math.inf, math.inf)
        for key, number in x.items():
            try:
                fits = low <= number <= high and math.isfinite(number)
            except TypeError:  # no number
                fits = False
            if not fits:
                wanted = "from 0 to 1" if name == SET else "a finite number"
                said = f"{number:g}" if isinstance(number, int | float) else number
                raise UserError(f"{name} {key} is {wanted}, not {said}")
        return [x.get(key, other) for key in names]

    if isinstance(value, str):
        raise UserError(f"{name} is {{name: value}}, such as {{{names[0]!r}: 1}}, not {value!r}")
    value = [value or {}] if isinstance(value, Mapping | None) else value
    rows = [vector(x) if isinstance(x, Mapping) else x for x in value]
    found = np.atleast_2d(np.asarray(rows, np.float32))
    if found.shape[1:] != (len(names),):
        raise UserError(f"{name} has {len(names)} values, not {found.shape[-1]}")
    return found


def _unknown(name, x, names):
    near, few = difflib.get_close_matches(x, names, 1), _few(names)
    hint = f"did you mean {near[0]}?" if near else f"there are {few}" if few else "give a number"
    return UserError(f"{name} {x!r} is not known; {hint}")


def _few(names):
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
