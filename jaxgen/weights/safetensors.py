"""State dicts from .safetensors files: a JSON header, then the tensors' bytes."""

import json
import math
from pathlib import Path

import numpy as np

from jaxgen.errors import UserError
from jaxgen.weights.pickles import damaged

KINDS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
LONGEST_HEADER = 100_000_000  # bytes; the format's own limit


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """The tensors of the file by name. Raises UserError."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(LONGEST_HEADER, path.stat().st_size):
                raise UserError("is not a safetensors file")
            header = json.loads(file.read(length))
            data = np.frombuffer(file.read(), np.uint8)
        header.pop("__metadata__", None)
        return {name: _tensor(entry, data) for name, entry in header.items()}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except Exception as error:  # a broken header may raise anything
        raise damaged(path, error) from None


def _tensor(entry, data):
    low, high = entry["data_offsets"]
    dtype = _dtype(entry["dtype"])
    size = math.prod(entry["shape"]) * dtype.itemsize
    if not 0 <= low <= high <= len(data) or high - low != size:
        raise UserError("has tensors that do not lie within it; fetch it again")
    return data[low:high].view(dtype).reshape(entry["shape"])


def _dtype(kind):
    if kind == "BF16":
        from ml_dtypes import bfloat16

        return np.dtype(bfloat16)
    if kind not in KINDS:
        raise UserError(f"holds numbers of kind {kind}, which are not read")
    return np.dtype(KINDS[kind])
