"""Files are whole, whoever writes them; what is kept in the cache can be made again."""

import numpy as np
import pytest

from jaxgen import files


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
