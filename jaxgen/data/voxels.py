"""Voxels: a user's files, and cubes of one size."""

from pathlib import Path

import numpy as np

from jaxgen.data import media
from jaxgen.data.reading import each
from jaxgen.data.source import Field, Source
from jaxgen.errors import UserError
from jaxgen.files import READING_ARRAYS


def to_cube(voxels: np.ndarray, side: int) -> np.ndarray:
    """uint8 [side, side, side, 1] of voxels [D, H, W, 1], put into the middle of a cube first.

    Where several voxels become one, it is filled if one of them is, so that what hangs together
    still does; where one becomes several, they are as it is.
    """
    whole = max(voxels.shape[:3])
    rooms = [whole - length for length in voxels.shape[:3]]
    voxels = np.pad(voxels, [*((room // 2, room - room // 2) for room in rooms), (0, 0)])
    if whole != side:
        for axis in range(3):
            voxels = np.maximum.reduceat(voxels, np.arange(side) * whole // side, axis=axis)
    return voxels


def read_voxels(file: Path) -> np.ndarray:
    """uint8 [D, H, W, 1], 0 or 1, of a .binvox file, or of the array [D, H, W] in a .npy or .npz
    file (its only one, or the one called `voxels`), of which what is above one half is filled.

    Raises UserError, which names the file.
    """
    try:
        if file.suffix.lower() == ".binvox":
            return _binvox(file.read_bytes())
        with READING_ARRAYS, open(file, "rb") as opened:
            array = np.load(opened, allow_pickle=False)
            if not isinstance(array, np.ndarray):
                names = list(array)
                if len(names) != 1 and "voxels" not in names:
                    raise ValueError(f'it holds {", ".join(names)}; call the voxels "voxels"')
                array = array["voxels" if "voxels" in names else names[0]]
        if array.ndim == 4 and array.shape[-1] == 1:
            array = array[..., 0]
        if array.ndim != 3 or 0 in array.shape or array.dtype.kind not in "biuf":
            raise ValueError(f"an array {array.dtype} {list(array.shape)}, not [D, H, W]")
        return (array > 0.5).astype(np.uint8)[..., None]
    except Exception as error:  # NumPy raises many kinds for a broken file
        reason = str(error).split("\n")[0] or type(error).__name__
        raise UserError(
            f"{file} has no readable voxels ({reason}); replace it, or move it away"
        ) from None


def _binvox(data: bytes) -> np.ndarray:
    """binvox's voxels: lines of a header, then runs of (value, length); y, upwards, runs fastest,
    then z, then x."""
    header, found, runs = data.partition(b"\ndata\n")
    lines = [line.split() for line in header.decode("ascii").splitlines()]
    sizes = [line[1:] for line in lines if line[:1] == ["dim"]]
    if not found or not lines or lines[0][:1] != ["#binvox"] or len(sizes) != 1:
        raise ValueError("not a whole binvox file")
    sides = [int(side) for side in sizes[0]]
    pairs = np.frombuffer(runs[: len(runs) // 2 * 2], np.uint8).reshape(-1, 2)
    flat = np.repeat(pairs[:, 0] > 0, pairs[:, 1])
    if len(sides) != 3 or len(flat) != np.prod(sides):
        raise ValueError(f"{len(flat)} voxels where its header says {' x '.join(sizes[0])}")
    depth, width, height = sides  # binvox calls x the depth, and writes x, z, y
    x_z_y = flat.reshape(depth, width, height)
    return x_z_y.transpose(1, 2, 0)[:, ::-1, :, None].astype(np.uint8)


def folder(root: Path, split: str, held_out: float) -> Source:
    """The voxels in the files under `root`; see `media.files_of`.  Raises UserError."""
    found = media.files_of(root, media.VOXELS, split, held_out)

    def check() -> None:
        each("checking voxels", lambda file: read_voxels(file).nbytes, found.files)

    def read(i: int) -> dict:
        example = {"voxels": read_voxels(found.files[i])}
        return example | ({"label": found.labels[i]} if found.labels else {})

    fields = {"voxels": Field("voxels")} | ({"label": Field("label")} if found.labels else {})
    return Source(
        length=len(found.files),
        read=read,
        fingerprint=found.fingerprint(),
        fields=fields,
        label_names=found.label_names,
        check=check,
    )
