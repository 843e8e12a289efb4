"""State dicts from torch's files, without torch.

    torch.save since 1.6 and TorchScript (torch.jit.save): a zip archive of one pickle and a file
        for each storage
    torch.save from 0.1.10 to 1.5: several pickles, then the storages

Only tensors are taken from the pickle (see `pickles`); TorchScript's code is never looked at.
"""

import collections
import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.errors import UserError
from jaxgen.weights.pickles import Unpickler, damaged

LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of torch's magic number
LONGEST_PICKLE = 1 << 26  # bytes
KINDS = {
    "Float": "f4",
    "Double": "f8",
    "Half": "f2",
    "BFloat16": "bfloat16",
    "Long": "i8",
    "Int": "i4",
    "Short": "i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "?",
}


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a .pth or .pt file by their dotted names. Raises UserError.

    Of a training checkpoint its "state_dict" is taken, and DataParallel's "module." is dropped.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(len(LEGACY))
            file.seek(0)
            if start[:2] == b"PK":
                return _named(*_read_zip(file))
            if start == LEGACY:
                return _named(*_read_legacy(file))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except Exception as error:  # a broken pickle or archive may raise anything
        raise damaged(path, error) from None
    raise UserError(
        f"{path} is not a torch file of version 0.1.10 or later; load it with torch and save its "
        "state_dict() again"
    )


class _Tensor:
    """A tensor of which the storage is not yet read."""

    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset = storage, offset
        self.shape, self.strides = shape, strides

    def array(self, storages: Callable[[tuple], np.ndarray]) -> np.ndarray:
        flat = storages(self.storage)
        whole = (self.offset, *self.shape, *self.strides)
        if not all(isinstance(n, int) and n >= 0 for n in whole):
            raise UserError("holds a tensor of impossible shape")
        last = self.offset + sum(
            (n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)
        )
        size = math.prod(self.shape)
        if size > len(flat) or (size and last >= len(flat)):
            raise UserError("holds a tensor that is larger than its storage")
        if size == 0:
            return np.zeros(self.shape, flat.dtype)
        strides = [step * flat.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, strides)


class _Reader:
    """What stands for torch's functions while a pickle is read."""

    def __init__(self):
        class Script:  # an object of a TorchScript class
            def __setstate__(self, state):
                self.parts = state

        self.script = Script
        self.names = {
            "collections.OrderedDict": collections.OrderedDict,
            "torch._utils._rebuild_tensor": self.tensor,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_parameter": self.first,
            "torch.jit._pickle.restore_type_tag": self.first,
            "torch.Size": self.first,
            **{f"torch.jit._pickle.build_{k}list": self.first for k in ("int", "double", "bool")},
            "torch.jit._pickle.build_tensorlist": self.first,
        }

    def load(self, file):
        return Unpickler(file, self.names, self.other, self.storage).load()

    def tensor(self, storage, offset, shape, strides, *_):
        return _Tensor(storage, offset, tuple(shape), tuple(strides))

    def first(self, x=None, *_):
        return x

    def other(self, name):
        if name.startswith("torch.") and name.endswith("Storage"):
            return name.removeprefix("torch.").removesuffix("Storage")
        return self.script if name.startswith("__torch__.") else None

    def storage(self, pid):
        _, kind, key, _, length, *view = pid
        if kind not in KINDS or any(view):
            raise UserError(f"holds a storage of {kind}, which is not read")
        return str(key), _dtype(KINDS[kind]), length


def _dtype(name):
    if name == "bfloat16":
        from ml_dtypes import bfloat16

        return np.dtype(bfloat16)
    return np.dtype(name)


def _read_zip(file):
    """The pickle's content and a function that reads a storage."""
    archive = zipfile.ZipFile(file)
    members = {info.filename: info for info in archive.infolist()}
    found = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(found) != 1:
        raise UserError("is a zip archive but not one of torch's")
    folder = found[0].removesuffix("data.pkl")
    if folder + "byteorder" in members and archive.read(folder + "byteorder") != b"little":
        raise UserError("was written on a big-endian machine, and is not read")
    if members[found[0]].file_size > LONGEST_PICKLE:
        raise UserError("describes its tensors at impossible length")
    content = _Reader().load(io.BytesIO(archive.read(found[0])))
    read: dict[str, np.ndarray] = {}

    def storage(entry):
        key, dtype, _ = entry
        name = f"{folder}data/{key}"
        if key not in read:
            # torch never compresses them, and a small file that unfolds to a huge one is a trap
            if members[name].compress_type != zipfile.ZIP_STORED:
                raise UserError("has compressed tensors, which torch never writes")
            read[key] = np.frombuffer(archive.read(name), dtype)
        return read[key]

    return content, storage


def _read_legacy(file):
    reader = _Reader()
    _, _, system = (reader.load(file) for _ in range(3))  # magic number, version, system
    if not system["little_endian"]:
        raise UserError("was written on a big-endian machine, and is not read")
    seen = {}

    def note(pid):
        entry = _Reader.storage(reader, pid)
        seen[entry[0]] = entry
        return entry

    reader.storage = note
    content = reader.load(file)
    read = {}
    for key in reader.load(file):
        _, dtype, length = seen[str(key)]
        stored = int.from_bytes(file.read(8), "little")
        data = file.read(stored * dtype.itemsize) if stored == length else b""
        if len(data) != length * dtype.itemsize:
            raise UserError("ends too early; fetch it again")
        read[str(key)] = np.frombuffer(data, dtype)
    return content, lambda entry: read[entry[0]]


def _named(content: Any, storages) -> dict[str, np.ndarray]:
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    found = {}

    def walk(x, name):
        if isinstance(x, _Tensor):
            found[name] = x.array(storages)
        parts = x if isinstance(x, dict) else getattr(x, "parts", None)
        if isinstance(parts, dict):
            for key, value in parts.items():
                walk(value, f"{name}.{key}" if name else str(key))

    walk(content, "")
    if not found:
        raise UserError("holds no tensors by name; save the network's state_dict()")
    if all(name.startswith("module.") for name in found):
        found = {name.removeprefix("module."): x for name, x in found.items()}
    return found
