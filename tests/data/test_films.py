"""A user's own films and voxels, and what resizing and augmentation do to films, flows, voxels."""

import subprocess
import unicodedata

import jax
import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from jaxgen.data import augment, films, voxels
from jaxgen.data.arrays import arrays
from jaxgen.data.images import to_size
from jaxgen.data.pipeline import load
from jaxgen.data.source import DataInfo, Field, to_program
from jaxgen.errors import UserError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path / "cache"))


def film(file, greys, size=(48, 32)):
    """A film with a frame (width, height) of each grey."""
    file.parent.mkdir(parents=True, exist_ok=True)
    frames = b"".join(bytes([grey]) * (3 * size[0] * size[1]) for grey in greys)
    raw = f"-f rawvideo -pix_fmt rgb24 -s {size[0]}x{size[1]} -r 10 -i -"
    command = [get_ffmpeg_exe(), "-v", "error", *raw.split(), "-pix_fmt", "yuv420p", file]
    subprocess.run(command, input=frames, check=True)


def gif(file, count):
    file.parent.mkdir(parents=True, exist_ok=True)
    frames = [Image.new("L", (8, 8), 20 * k) for k in range(count)]
    frames[0].save(file, save_all=True, append_images=frames[1:])


def test_films_are_cut_into_clips_between_their_cuts(tmp_path):
    film(tmp_path / "set" / "one" / "a.mp4", [10] * 9 + [200] * 7)
    film(tmp_path / "set" / "two" / "b.mov", [100] * 6, size=(32, 48))
    data = load(f"folder:{tmp_path / 'set'}", size=16, frames=4)
    # Shots of 9, 7 and 6 frames; a clip begins at every second frame.
    assert len(data) == 3 + 2 + 2
    assert data.info.shape == (16, 16, 3)
    assert data.info.fields["video"] == Field("video", 3, 4)
    assert data.info.label_names == ("one", "two")
    whole = data.resident
    assert whole["video"].shape == (7, 4, 16, 16, 3)
    assert whole["label"].tolist() == [0] * 5 + [1] * 2
    assert np.ptp(whole["video"].astype(int), axis=(1, 2, 3, 4)).max() < 6
    np.testing.assert_allclose(whole["video"].mean(axis=(1, 2, 3, 4)), [10] * 3 + [200] * 2
                               + [100] * 2, atol=3)  # fmt: skip
    streamed = load(f"folder:{tmp_path / 'set'}", size=16, frames=4, resident="no")
    np.testing.assert_array_equal(
        next(streamed.batches(5, 0))["video"], next(data.batches(5, 0))["video"]
    )
    grey = load(f"folder:{tmp_path / 'set'}", size=16, frames=4, channels=1)
    assert grey.resident["video"].shape[-1] == 1
    with pytest.raises(UserError, match="has no 8 frames without a cut"):
        load(f"folder:{tmp_path / 'set'}", size=16, frames=8).of_split("train")
    with pytest.raises(UserError, match="films, which are not cut into tiles"):
        load(f"folder:{tmp_path / 'set'}", size=16, frames=4, crop="tiles")


def test_what_a_folder_holds(tmp_path):
    gif(tmp_path / "moving" / "a.gif", 5)
    moving = load(f"folder:{tmp_path / 'moving'}", size=8, frames=3)
    assert "video" in moving.info.fields
    # Images stay what they were, a moving GIF among them.
    gif(tmp_path / "images" / "a.gif", 3)
    Image.new("L", (8, 8)).save(tmp_path / "images" / "b.png")
    np.save(tmp_path / "images" / "features.npy", np.zeros((2, 2, 2)))
    images = load(f"folder:{tmp_path / 'images'}", size=8)
    assert (list(images.info.fields), len(images)) == (["image"], 2)
    (tmp_path / "moving" / "back").symlink_to(tmp_path / "moving")
    assert len(load(f"folder:{tmp_path / 'moving'}", size=8, frames=3)) == len(moving)
    (tmp_path / "solid").mkdir()
    np.save(tmp_path / "solid" / "a.npy", np.ones((2, 2, 2)))
    for name in ("notes.pdf", "logo.eps", "more.h5"):  # Pillow knows of them, and reads none
        (tmp_path / "solid" / name).write_bytes(b"x")
    assert list(load(f"folder:{tmp_path / 'solid'}", size=8).info.fields) == ["voxels"]
    gif(tmp_path / "still" / "a.gif", 1)
    assert list(load(f"folder:{tmp_path / 'still'}", size=8).info.fields) == ["image"]


def test_a_film_is_read_once_and_a_broken_one_is_named(tmp_path, monkeypatch):
    film(tmp_path / "a.mp4", [50] * 4)
    first = films.read_film(tmp_path / "a.mp4", 16)
    assert first.shape == (4, 16, 24, 3)
    monkeypatch.setattr(films, "_decode", None)
    np.testing.assert_array_equal(films.read_film(tmp_path / "a.mp4", 16), first)
    monkeypatch.undo()
    (tmp_path / "b.mp4").write_bytes(b"no film")
    with pytest.raises(UserError, match=r"b\.mp4 is not a readable film .* move it away"):
        films.read_film(tmp_path / "b.mp4", 16)
    assert not list((tmp_path / "cache").rglob(".*"))


def test_voxels_of_every_file_agree(tmp_path):
    """binvox as its author describes it: y (upwards) runs fastest, then z, then x."""
    solid = np.zeros((4, 4, 4), bool)  # [D, H, W]
    solid[1:3, 3, 0] = True  # on the floor, at the left
    solid[0, :, 2] = True  # a post at the front
    np.save(tmp_path / "a.npy", solid)
    np.savez(tmp_path / "b.npz", voxels=solid[..., None].astype(np.float32), other=np.ones(3))
    runs = b""
    for x in range(4):
        for z in range(4):
            for y in range(4):
                runs += bytes([int(solid[z, 3 - y, x]), 1])
    header = b"#binvox 1\ndim 4 4 4\ntranslate 0 0 0\nscale 1\ndata\n"
    (tmp_path / "c.binvox").write_bytes(header + runs)
    for name in ("a.npy", "b.npz", "c.binvox"):
        np.testing.assert_array_equal(voxels.read_voxels(tmp_path / name)[..., 0], solid)
    data = load(f"folder:{tmp_path}", size=8)
    assert data.resident["voxels"].shape == (3, 8, 8, 8, 1)
    np.testing.assert_array_equal(
        data.resident["voxels"][0, ..., 0], solid.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    )


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.binvox", b"#binvox 1\ndim 2 2 2\ndata\n\x01\x05", "5 voxels where its header says 2 x"),
        ("a.binvox", b"solid", "not a whole binvox file"),
        ("a.npz", b"PK", "has no readable voxels"),
    ],
)
def test_broken_voxels_are_named(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=says):
        voxels.read_voxels(tmp_path / name)


def test_pickled_voxels_are_not_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[[{}]]]), allow_pickle=True)
    with pytest.raises(UserError, match="has no readable voxels"):
        voxels.read_voxels(tmp_path / "a.npy")


def test_shrunken_voxels_keep_what_is_thin():
    post = np.zeros((6, 6, 3, 1), np.uint8)
    post[2, :, 1] = 1
    cube = voxels.to_cube(post, 3)
    assert cube.shape == (3, 3, 3, 1)
    assert cube[1, :, 1].all()
    assert cube.sum() == 3


def test_a_flow_is_resized_with_its_image():
    flow = np.zeros((8, 16, 2), np.float32)
    flow[..., 0], flow[..., 1] = 4, 2
    flow[0, :] = np.nan
    halved = to_size(flow, (4, 4), 3, crop="stretch", kind="flow")
    np.testing.assert_array_equal(halved[-1, -1], [1, 1])  # 16 columns to 4, 8 rows to 4
    cut = to_size(flow, (4, 4), 3, kind="flow")
    np.testing.assert_array_equal(cut[-1, -1], [2, 1])  # the middle 8 columns to 4
    padded = to_size(flow, (8, 8), 3, crop="pad", kind="flow")
    assert np.isnan(padded[0]).all()
    np.testing.assert_array_equal(padded[4, 4], [2, 1])
    assert to_size(flow[None], (4, 4), 3, kind="flow").shape == (1, 4, 4, 2)


def test_what_belongs_together_is_mirrored_and_cut_together():
    n = 40
    image = RNG.normal(size=(n, 6, 6, 2)).astype(np.float32)
    video = np.stack([image, image], axis=1)
    flow = image  # (dx, dy)
    flip = jax.jit(lambda *x: augment.flip(x, jax.random.key(1), [False, False, True]))
    a, b, c = map(np.asarray, flip(image, video, flow))
    np.testing.assert_array_equal(b[:, 0], a)
    mirrored = (a == image[:, :, ::-1]).all(axis=(1, 2, 3))
    assert 8 < mirrored.sum() < 32
    np.testing.assert_array_equal(c[..., 1], a[..., 1])
    np.testing.assert_array_equal(c[..., 0], np.where(mirrored[:, None, None], -1, 1) * a[..., 0])
    crop = jax.jit(lambda *x: augment.random_crop(x, jax.random.key(2), (4, 4)))
    a, b = map(np.asarray, crop(image, video))
    assert b.shape == (n, 2, 4, 4, 2)
    np.testing.assert_array_equal(b[:, 1], a)


def test_arrays_of_films_flows_and_voxels_are_data():
    video = RNG.integers(0, 256, (6, 3, 4, 5, 3), np.uint8)
    flow = RNG.normal(size=(6, 2, 4, 5, 2)).astype(np.float32)
    data = arrays({"video": video, "flow": flow}, flip=True)
    assert data.info.shape == (4, 5, 3)
    assert data.info.fields == {"video": Field("video", 3, 3), "flow": Field("flow", 0, 2)}
    assert DataInfo.from_json(data.info.to_json()) == data.info
    batch = to_program(data.examples(6), data.info.fields)
    shapes = {name: x.shape for name, x in batch.items()}
    assert shapes == {name: x.shape for name, x in data.info.zeros(6).items()}
    assert jax.eval_shape(data.augment, batch, jax.random.key(0))["flow"].shape == flow.shape
    solid = RNG.integers(0, 2, (5, 4, 6, 8, 1), np.uint8)
    data = arrays({"voxels": solid}, flip=True)
    assert data.info.shape == (4, 6, 8)
    assert data.info.zeros(2)["voxels"].shape == (2, 4, 6, 8, 1)
    np.testing.assert_array_equal(np.sort(data.examples(5)["voxels"].sum((1, 2, 3, 4))),
                                  np.sort(solid.sum((1, 2, 3, 4))))  # fmt: skip
    seen = jax.jit(data.augment)({"voxels": np.float32(solid)}, jax.random.key(0))
    one, two = np.asarray(seen["voxels"]), np.float32(solid)
    same = [(x == y).all() or (x == y[:, :, ::-1]).all() for x, y in zip(one, two, strict=True)]
    assert all(same)
    for wrong in ({"voxels": solid * 2}, {"video": video[:, 0]}, {"flow": flow[..., :1]}):
        with pytest.raises(UserError, match=f"{next(iter(wrong))} .* is "):
            arrays(wrong)


def test_films_of_ten_bits_are_read(tmp_path):
    source = "-f lavfi -i color=c=red:size=16x16:rate=10:duration=1 -pix_fmt yuv420p10le -c:v ffv1"
    command = [get_ffmpeg_exe(), "-v", "error", *source.split(), tmp_path / "a.mkv"]
    subprocess.run(command, check=True)
    frames = films.read_film(tmp_path / "a.mkv", 16)
    assert (frames.shape, frames.dtype) == ((10, 16, 16, 3), np.uint8)
    np.testing.assert_allclose(frames[0, 0, 0], (255, 0, 0), atol=3)


def test_without_ffmpeg_there_is_one_line(tmp_path, monkeypatch):
    def none():
        raise RuntimeError("No ffmpeg exe could be found")

    (tmp_path / "a.mkv").write_bytes(b"")
    for program in (none, lambda: str(tmp_path / "ffmpeg")):
        monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", program)
        with pytest.raises(UserError, match="films need the program ffmpeg, which is not there"):
            films.read_film(tmp_path / "a.mkv", 16)


def test_a_film_is_decoded_frame_by_frame(tmp_path):
    film(tmp_path / "a.mp4", [50] * 4)
    frames = films._decode(tmp_path / "a.mp4", 16)
    assert next(frames).shape == (1, 16, 24, 3)
    frames.close()  # ends ffmpeg


def test_a_damaged_film_in_the_cache_is_made_again(tmp_path):
    film(tmp_path / "a.mp4", [50] * 4)
    first = np.array(films.read_film(tmp_path / "a.mp4", 16))
    (kept,) = (tmp_path / "cache").rglob("*.npy")
    kept.write_bytes(kept.read_bytes()[:-1])
    np.testing.assert_array_equal(films.read_film(tmp_path / "a.mp4", 16), first)


def test_all_voxels_are_read_before_the_training(tmp_path):
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", np.ones((2, 2, 2)))
    (tmp_path / "1.npy").write_bytes(b"broken")
    data = load(f"folder:{tmp_path}", size=8, resident="no")
    with pytest.raises(UserError, match=r"1\.npy has no readable voxels"):
        data.batches(2, 0)


def test_labels_and_names_of_films_are_those_of_images(tmp_path):
    """In the order of numbers, and in one spelling of Unicode."""
    prints = set()
    for form in ("NFC", "NFD"):
        for k in (10, 9):
            name = unicodedata.normalize(form, f"{k}/h\u00e4user.npy")
            (tmp_path / form / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / form / name, np.ones((2, 2, 2)))
        data = load(f"folder:{tmp_path / form}", size=8)
        assert data.info.label_names == ("9", "10")
        prints.add(data.fingerprint)
    assert len(prints) == 1
