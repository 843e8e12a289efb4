"""Files are whole, whoever writes them; what is kept in the cache can be made again."""

import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jaxgen import files
from jaxgen.data import voxels


def test_two_that_write_one_file_do_not_meet(tmp_path):
    """Also in containers, where processes of one number share a cache."""
    with files.replacing(tmp_path / "x.npy") as one, files.replacing(tmp_path / "x.npy") as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert [file.name for file in tmp_path.iterdir()] == ["x.npy"]


@pytest.mark.parametrize("damage", [b"", b"damaged", None])
def test_a_damaged_array_is_made_again(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path))
    made = []

    def make():
        made.append(1)
        yield np.arange(6, dtype=np.int16).reshape(2, 3)
        yield np.arange(6, 9, dtype=np.int16).reshape(1, 3)

    for _ in range(2):
        kept = files.kept_array("some", "numbers", make)
        np.testing.assert_array_equal(kept, np.arange(9).reshape(3, 3))
        assert (kept.dtype, kept.flags.writeable) == (np.int16, False)
    path = tmp_path / "some" / "numbers.npy"
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:-1] if damage is None else damage)
    np.testing.assert_array_equal(files.kept_array("some", "numbers", make), kept)
    assert (len(made), path.read_bytes()) == (2, whole)


class _Waste:
    """What only the collector of garbage frees, and then runs Python, as many of JAX's objects."""

    def __init__(self):
        self.itself = self

    def __del__(self):
        for _ in range(50):
            pass


def test_many_threads_may_read_arrays(tmp_path, monkeypatch):
    """https://github.com/python/cpython/issues/106905: without a lock dozens of these fail."""
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path))
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    np.save(tmp_path / "voxels.npy", np.ones((2, 2, 2)))

    def read(_):
        _Waste()
        array = files.kept_array("some", "numbers", lambda: [np.zeros((1, 3))])
        return len(array), voxels.read_voxels(tmp_path / "voxels.npy").sum()

    try:
        gc.set_threshold(10, 5, 5)
        sys.setswitchinterval(1e-6)
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(read, range(4000))) == {(1, 8)}
    finally:
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval)


def test_arrays_that_take_long_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path))
    made = []

    def make():
        made.append(1)
        return {"a": np.arange(3, dtype=np.int16), "b": np.zeros((0, 2))}

    def kept(name="one"):
        found = files.kept_arrays("some", name, make)
        assert {k: (x.tolist(), x.dtype) for k, x in found.items()} == {
            "a": ([0, 1, 2], np.int16),
            "b": ([], np.float64),
        }
        return len(made), sorted(path.name for path in tmp_path.rglob("*.npz"))

    assert kept() == (1, [])  # made at once
    monkeypatch.setattr(files, "WORTH", -1)
    assert kept() == kept() == (2, ["one.npz"])
    assert kept("two") == (3, ["two.npz"])
    for damage in (b"", b"damaged", (tmp_path / "some/two.npz").read_bytes()[:-9]):
        (tmp_path / "some/two.npz").write_bytes(damage)
        assert kept("two")[1] == ["two.npz"]
    assert len(made) == 6
    (tmp_path / "file").touch()  # no room for a folder
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path / "file"))
    assert kept()[0] == 7
