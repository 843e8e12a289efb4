"""Unpickling that runs nothing.

A pickle is a program: it may name any function of any module and call it. Here every name is
looked up in a table made for the one file format, whose entries only store what they are given;
any other name ends the reading with a UserError.
"""

import gzip
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jaxgen.errors import UserError


class Unpickler(pickle.Unpickler):
    """`names` maps "module.name" to what stands for it; `other` is asked about the rest.

    Stand-ins must be made anew for each file (bound methods, local classes): a pickle may set
    attributes of what it is given. They must not call what they are given.
    """

    def __init__(
        self,
        file: BinaryIO,
        names: Mapping[str, Any],
        other: Callable[[str], Any] = lambda name: None,
        storage: Callable[[Any], Any] | None = None,
    ):
        super().__init__(file, encoding="utf-8")
        self._names, self._other, self._storage = names, other, storage

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        found = self._names.get(full) or self._other(full)
        if found is None:
            raise UserError(f"holds {full}, which is no weights, and is not opened")
        return found

    def persistent_load(self, pid: Any) -> Any:
        if self._storage is None:
            raise UserError("refers to another file, and is not opened")
        return self._storage(pid)


def damaged(path: Path, error: Exception) -> UserError:
    """The line for a file that cannot be read, whatever went wrong."""
    if isinstance(error, UserError):
        return UserError(f"{path} {error}")
    reason = str(error).split("\n")[0] or type(error).__name__
    return UserError(f"{path} is not a whole weights file ({reason}); fetch it again")


KINDS = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"})


def read_arrays(path: Path, records: Sequence[str] = (), dicts: Sequence[str] = ()) -> Any:
    """Contents of a pickle (.gz: compressed) of dicts, lists, numbers, strings and NumPy arrays;
    nothing else is accepted. Raises UserError.

    records: names of classes of which the objects are read as the dict that they were pickled as.
    dicts: names of classes that are dicts.
    """

    class Kind:
        def __init__(self, code, *_):
            if code not in KINDS:
                raise UserError(f"holds an array of {code}, and is not opened")
            self.code, self.order = code, "="

        def __setstate__(self, state):
            self.order = {"<": "<", ">": ">"}.get(state[1], "=")

    class Array:
        def __new__(cls, *_):  # numpy's _reconstruct(ndarray, (0,), b"b")
            return object.__new__(cls)

        def __setstate__(self, state):
            _, shape, kind, fortran, data = state
            if not isinstance(kind, Kind) or not isinstance(data, bytes):
                raise UserError("holds an array that is not of numbers, and is not opened")
            flat = np.frombuffer(data, np.dtype(kind.order + kind.code))
            self.value = flat.reshape(shape, order="F" if fortran else "C")

    class Record:
        def __setstate__(self, state):
            self.state = state

    class Dict(dict):
        pass

    def plain(x):
        match x:
            case Record():
                return plain(getattr(x, "state", {}))
            case dict():
                return {key: plain(value) for key, value in x.items()}
            case list() | tuple():
                return [plain(value) for value in x]
            case Array():
                return x.value
        return x

    make = lambda *_: Array()  # a pickle can set no more than this lambda's own attributes
    number = lambda kind, data: np.frombuffer(data, np.dtype(kind.order + kind.code))[0].item()
    names = {"numpy.dtype": Kind, "numpy.ndarray": Array}
    names |= dict.fromkeys(records, Record) | dict.fromkeys(dicts, Dict)
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray._reconstruct"] = make
        names[f"{core}.multiarray.scalar"] = number
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            return plain(Unpickler(file, names).load())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except Exception as error:  # a broken pickle may raise anything
        raise damaged(path, error) from None
