"""Published weights: where they come from, how they are checked, and where they are kept."""

import dataclasses
import hashlib
import http.client
import importlib.util
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgen.errors import UserError
from jaxgen.files import cache_folder, replacing
from jaxgen.weights import torch_files
from jaxgen.weights.pickles import damaged

TIMEOUT = 10.0  # seconds without an answer
CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Published:
    """A file on a public server; `sha256` is all of its hash, or the first digits that its
    publisher gives."""

    name: str
    address: str
    sha256: str
    megabytes: int

    @property
    def path(self) -> Path:
        """Where a downloaded copy is kept."""
        return cache_folder() / "weights" / self.name


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises UserError."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UserError(f"weights {path} do not exist; name a file that does") from None
    except OSError as error:
        raise UserError(f"weights {path} cannot be read ({error.strerror})") from None


def locate(
    purpose: str, files: Sequence[Published], weights: Path | None = None
) -> tuple[Path, str]:
    """The path and the SHA-256 of one of `files`, any of which will do.

    `weights` names the user's own file; one that has a published name must be that file. Else a
    copy in the cache is taken, else the first is downloaded. Raises UserError: one line that says
    which file to get and where to put it.
    """
    if weights is not None:
        return weights, _checked(weights, files)
    for file in files:
        if file.path.exists():
            return file.path, _checked(file.path, files)
    file = files[0]
    try:
        return file.path, download(file)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)  # of URLError
        reason = getattr(reason, "strerror", None) or reason
        raise UserError(
            f"{purpose} needs {file.name} ({file.megabytes} MB), which could not be downloaded "
            f"({reason}); get {file.address} and put it into {file.path.parent}, or name "
            "the file where you have it"
        ) from None


def _checked(path: Path, files: Sequence[Published]) -> str:
    found = digest(path)
    for file in files:
        if file.name == path.name and not found.startswith(file.sha256):
            raise UserError(
                f"{path} is damaged: its SHA-256 begins with {found[: len(file.sha256)][:16]}, not "
                f"{file.sha256[:16]}; delete it and get {file.address} again"
            )
    return found


def download(file: Published) -> str:
    """Fetches the file into the cache and returns its SHA-256; OSError without the network,
    UserError if what came is another file."""
    from jaxgen.progress import progress

    state = hashlib.sha256()
    with urllib.request.urlopen(file.address, timeout=TIMEOUT) as answer:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        total = int(answer.headers.get("Content-Length") or 0) or None
        bar = progress(what=file.name, total=total, unit="B", unit_scale=True)
        with replacing(file.path) as path, bar:
            with open(path, "wb") as out:
                while chunk := answer.read(CHUNK):
                    state.update(chunk)
                    out.write(chunk)
                    bar.update(len(chunk))
            if not state.hexdigest().startswith(file.sha256):
                raise UserError(
                    f"{file.address} sent another file, or not all of it: SHA-256 "
                    f"{state.hexdigest()[:16]}, not "
                    f"{file.sha256[:16]}; get {file.name} elsewhere and put it into "
                    f"{file.path.parent}"
                )
    return state.hexdigest()


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Tensors by name of a .pth, .pt or .safetensors file, told apart by their first bytes."""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UserError(f"weights {path} cannot be read ({error.strerror})") from None
    if start[8:] == b"{":
        return _read_safetensors(path)
    return torch_files.read_state_dict(path)


def _read_safetensors(path):
    import ml_dtypes  # noqa: F401  (NumPy's bfloat16)
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (AttributeError, TypeError):
        raise UserError(f"{path} holds numbers of a kind that NumPy lacks; convert it") from None
    except Exception as error:
        raise damaged(path, error) from None


def in_package(purpose: str, package: str, file: str, sha256: str, install: str) -> Path:
    """A weights file that an installed package ships, which is not imported. Raises UserError."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UserError(f"{purpose} needs the package {package}: {install}")
    path = Path(found.submodule_search_locations[0]) / file
    if not path.exists() or digest(path) != sha256:
        raise UserError(f"{purpose} needs another version of {package}: {install}")
    return path
