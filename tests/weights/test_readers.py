"""Weights files are read without torch, and no pickle runs anything."""

import collections
import gzip
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxgen.errors import UserError
from jaxgen.weights import pickles, torch_files
from jaxgen.weights.published import read_state_dict
from tests.weights.recipe import weights

SAMPLES = Path(__file__).parent / "samples"


@pytest.fixture
def squeezenet():
    return weights(json.loads((SAMPLES / "squeezenet.json").read_text()), 0)


def same(found, wanted):
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize("file", ["squeezenet.pth", "squeezenet_legacy.pth"])
def test_state_dicts_of_torch_new_and_old(file, squeezenet):
    same(read_state_dict(SAMPLES / file), squeezenet)


def test_a_training_checkpoint_gives_its_state_dict():
    found = read_state_dict(SAMPLES / "checkpoint.pth")
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(found["whole"], whole)
    np.testing.assert_array_equal(found["turned"], whole.T)
    np.testing.assert_array_equal(found["part"], whole[1:, ::2])
    assert found["half"].dtype == np.float16
    np.testing.assert_array_equal(found["half"], [0.5, -2])
    np.testing.assert_array_equal(found["brain"].astype(np.float32), [0.5, -2])
    assert found["count"].shape == ()
    assert found["count"] == 7


def test_the_tensors_of_a_torchscript_module():
    found = read_state_dict(SAMPLES / "script.pt")
    assert found["conv.weight"].shape == (2, 1, 3, 3)
    assert set(found) == {
        *("conv.weight", "conv.bias", "norm.weight", "norm.bias"),
        *("norm.running_mean", "norm.running_var", "norm.num_batches_tracked"),
    }


def write_safetensors(path, state, kind="F32"):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, x in state.items():
        header[name] = {"dtype": kind, "shape": x.shape, "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(map(bytes, state.values())))
    return path


def test_safetensors(tmp_path, squeezenet):
    same(read_state_dict(write_safetensors(tmp_path / "a.safetensors", squeezenet)), squeezenet)
    brain = {"x": np.array([0x3F00, 0xC000], np.uint16)}
    found = read_state_dict(write_safetensors(tmp_path / "b", brain, "BF16"))
    np.testing.assert_array_equal(found["x"].astype(np.float32), [0.5, -2])


def test_broken_safetensors(tmp_path):
    x = {"x": np.ones(4, np.float32)}
    path = write_safetensors(tmp_path / "x.safetensors", x)
    whole = path.read_bytes()
    for broken in (whole[:-1], whole[:20], whole.replace(b"[4]", b"[9]"), b"\xff" * 64):
        path.write_bytes(broken)
        with pytest.raises(UserError, match="x.safetensors"):
            read_state_dict(path)


@pytest.mark.parametrize("file", ["squeezenet.pth", "squeezenet_legacy.pth", "script.pt"])
def test_a_file_that_is_cut_off_or_is_none(file, tmp_path):
    path = tmp_path / file
    whole = (SAMPLES / file).read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:-40], b"", b"<html>", b"PK\x03\x04 and so on"):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=str(path)) as error:
            read_state_dict(path)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="cannot be read"):
        read_state_dict(tmp_path / "no.pth")


class Malicious:
    """What a pickle can do that is opened by pickle.load."""

    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


def attacks(mark):
    yield Malicious(os.system, f"touch {mark}")
    yield Malicious(eval, f"open({str(mark)!r}, 'w')")
    yield Malicious(exec, f"open({str(mark)!r}, 'w')")
    yield {"fine": [1.0], "x": Malicious(shutil.copy, "/etc/hostname", str(mark))}
    yield Malicious(getattr, Malicious(__import__, "os"), "system")
    yield Malicious(io.open, str(mark), "w")
    yield Malicious(np.save, str(mark), 1)
    yield Malicious(np.load, str(mark), None, True)
    yield collections.Counter(a=1)
    yield Malicious(Path, str(mark))


def pickled(kind, payload, folder):
    """The payload as each of the three formats would carry it."""
    data = pickle.dumps(payload, protocol=2)
    path = folder / f"{kind}.pth"
    if kind == "legacy":
        magic = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
        path.write_bytes(b"".join(pickle.dumps(x, 2) for x in magic) + data)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", data)
    else:
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["legacy", "zip", "arrays"])
def test_a_malicious_pickle_is_refused(kind, tmp_path):
    mark = tmp_path / "mark"
    read = pickles.read_arrays if kind == "arrays" else torch_files.read_state_dict
    for payload in attacks(mark):
        path = pickled(kind, payload, tmp_path)
        with pytest.raises(UserError, match="is not opened"):
            read(path)
        assert not mark.exists()
    assert pickle.loads(pickle.dumps(Malicious(np.abs, -1))) == 1  # the attack itself works


def test_a_pickle_can_not_change_what_reads_it(tmp_path):
    """BUILD with a state of slots sets attributes on anything; ours refuse or are thrown away."""
    program = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}U\x08__code__K\x01s\x86b."
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", program)
    with pytest.raises(UserError):
        torch_files.read_state_dict(tmp_path / "a.pth")
    assert torch_files._Reader.tensor.__code__.co_argcount == 5


def storage(shape, strides, offset=0, length=4):
    """A zip of one tensor over four float32 numbers, as torch would write it."""
    ints = lambda numbers: b"(" + b"".join(b"J" + struct.pack("<i", n) for n in numbers) + b"t"
    program = b"\x80\x02}U\x01xctorch._utils\n_rebuild_tensor_v2\n("
    program += b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK" + bytes([length]) + b"tQ"
    program += b"J" + struct.pack("<i", offset) + ints(shape) + ints(strides) + b"\x89NtRs."
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a/data.pkl", program)
        archive.writestr("a/data/0", np.arange(4, dtype=np.float32).tobytes())
    return out.getvalue()


def test_a_tensor_can_not_reach_beyond_its_storage(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(storage([2, 2], [1, 2]))
    np.testing.assert_array_equal(read_state_dict(path)["x"], [[0, 2], [1, 3]])
    for shape, strides, offset in (
        *(([5], [1], 0), ([4], [1], 1), ([2], [4], 0), ([4], [-1], 3), ([2], [1], -1)),
        *(([1000, 1000], [0, 0], 0), ([-1], [1], 0), ([2], [1, 1], 0)),
    ):
        path.write_bytes(storage(shape, strides, offset))
        with pytest.raises(UserError):
            read_state_dict(path)


def test_arrays_of_a_pickle(tmp_path):
    content = {
        "c": [np.arange(6, dtype=np.float32).reshape(2, 3), np.float64([1, 2])],
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big": np.array([1, 2], ">i4"),
        "n": 3,
    }
    path = tmp_path / "a.pkl"
    for protocol in (2, 3, 4):
        path.write_bytes(pickle.dumps(content, protocol))
        if protocol == 2:  # bytes are spelled _codecs.encode(text, "latin1") there
            continue
        found = pickles.read_arrays(path)
        for a, b in zip(found["c"], content["c"], strict=True):
            np.testing.assert_array_equal(a, b, strict=True)
        np.testing.assert_array_equal(found["fortran"], content["fortran"])
        np.testing.assert_array_equal(found["big"], [1, 2])
        assert found["n"] == 3
    compressed = tmp_path / "a.gz"
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(pickles.read_arrays(compressed)["big"], [1, 2])
    path.write_bytes(pickle.dumps({"x": np.array([{}, []], object)}))
    with pytest.raises(UserError, match="array of"):
        pickles.read_arrays(path)
    path.write_bytes(pickle.dumps(content)[:-30])
    with pytest.raises(UserError, match="not a whole"):
        pickles.read_arrays(path)
