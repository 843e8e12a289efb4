"""Sets that are drawn, or read from packages' files: what they promise, what is held out."""

import numpy as np
import pytest
from scipy import ndimage

from jaxgen.data import animals, clips, fonts, shapes3d, sprites
from jaxgen.data.pipeline import load
from jaxgen.data.specs import open_source
from jaxgen.errors import NoSplit, UserError


def centre(image):
    """(row, column) of the centre of mass of an image [H, W, 1]."""
    return np.array(ndimage.center_of_mass(image[..., 0].astype(float)))


def test_sprites_are_their_factors():
    (source,) = open_source("sprites:2000")
    (test,) = open_source("sprites:2000", "test")
    assert len(source) + len(test) == 2000
    assert 130 < len(test) < 270
    examples = [source[i] for i in range(300)]
    factors = np.array([x["attributes"] for x in examples])
    assert factors.shape == (300, 5)
    assert (factors.max(axis=0) < [3, 6, 40, 32, 32]).all()
    assert set(np.unique(np.stack([x["image"] for x in examples]))) == {0, 255}
    for example, (shape, scale, _, x, y) in zip(examples, factors, strict=True):
        if shape < 2:  # a heart's centre of mass is not its place
            # 32 places, a pixel apart, about the middle of 64 pixels
            np.testing.assert_allclose(centre(example["image"]), [y + 16, x + 16], atol=0.35)
        if shape == 0:  # area grows with the square of the scale, 0.5 to 1
            area = (example["image"] > 0).sum()
            np.testing.assert_allclose(area, (2 * 0.68 * 16 * (0.5 + scale / 10)) ** 2, rtol=0.13)


def test_sprites_of_one_image_stand_on_one_side():
    factors = np.stack(
        [g.ravel() for g in np.meshgrid(*map(np.arange, (3, 6, 40, 4, 4)), indexing="ij")], axis=1
    )
    held = sprites._held_out(factors).reshape(3, 6, 40, 4, 4)
    assert 0.08 < held.mean() < 0.12
    np.testing.assert_array_equal(held[:, :, 0], held[:, :, 39])  # 0 and 2 pi
    with pytest.raises(UserError, match="from 1 up to 737,280"):
        open_source("sprites:737281")
    with pytest.raises(UserError, match="takes a whole number"):
        open_source("sprites:many")


@pytest.mark.parametrize("spec", ["shapes3d:1", "clips-flow:1", "stereo"])
def test_a_set_without_a_test_split_holds_nothing_out(spec):
    assert load(spec, size=32, frames=2).held_out(4) is None
    with pytest.raises(NoSplit, match="(nothing for test; ask for more|no test images)$"):
        open_source(spec, "test")
    with pytest.raises(NoSplit, match="sprites:1 has nothing for train"):
        open_source("sprites:1")


def test_no_animal_of_the_test_split_is_nearly_one_of_training():
    (train,), (test,) = open_source("animals"), open_source("animals", "test")
    assert len(train) + len(test) == 10_000
    assert 800 < len(test) < 1200
    labels = np.array([test[i]["label"] for i in range(len(test))])
    assert np.bincount(labels, minlength=10).min() > 50
    pixels = [np.stack([s[i]["image"].ravel() for i in range(len(s))]) for s in (train, test)]
    one, two = (x.astype(np.float32) / 255 for x in pixels)
    of_train = np.array([train[i]["label"] for i in range(len(train))])
    for label in range(10):
        a, b = one[of_train == label], two[labels == label]
        squares = (b**2).sum(1)[:, None] + (a**2).sum(1) - 2 * b @ a.T
        assert np.sqrt(squares.min()) > animals.SAME - 1e-3
    # The silhouette of a giraffe is high, that of a bear wide.
    wide = {name: np.mean([train[i]["image"].any(axis=(0, 2)).sum() for i in own])
            for name, own in (("giraffe", range(5500, 5600)), ("bear", range(100)))}  # fmt: skip
    assert train.label_names[train[5500]["label"]] == "giraffe"
    assert wide["giraffe"] < 17 < 22 < wide["bear"]


def test_digits_in_fonts_have_the_form_of_mnist(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path))
    monkeypatch.setattr(fonts, "DIGITS", 150)
    (train,), (test,) = open_source("fonts"), open_source("fonts", "test")
    assert len(train) + len(test) == 150
    assert 4 < len(test) < 30
    for i in range(len(train)):
        image = train[i]["image"]
        assert (image.shape, image.dtype) == ((28, 28, 1), np.uint8)
        rows, columns = (np.flatnonzero(image.any(axis=(k, 2))) for k in (1, 0))
        assert 17 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20  # faint rims may be zero
        np.testing.assert_allclose(centre(image), 13.5, atol=0.51)
    (cached,) = tmp_path.rglob("*.npy")
    before = cached.stat().st_mtime_ns
    np.testing.assert_array_equal(open_source("fonts")[0][3]["image"], train[3]["image"])
    assert cached.stat().st_mtime_ns == before
    # By font: none is on both sides.
    assert set(fonts.HELD_OUT) < set(fonts.FONTS)
    assert len(fonts.FONTS) == 21


def test_things_are_one_piece_of_eight_kinds():
    (source,) = open_source("shapes3d:80", size=32)
    (more,) = open_source("shapes3d:160", size=32)
    (test,) = open_source("shapes3d:160", "test", size=32)
    assert len(more) + len(test) == 160
    assert 4 < len(test) < 32
    np.testing.assert_array_equal(more[5]["voxels"], source[5]["voxels"])
    kinds = set()
    for i in range(len(source)):
        voxels = source[i]["voxels"]
        assert (voxels.shape, voxels.dtype, voxels.max()) == ((32, 32, 32, 1), np.uint8, 1)
        assert ndimage.label(voxels[..., 0])[1] == 1
        assert 0.01 < voxels.mean() < 0.4
        kinds.add(source[i]["label"])
    assert len(kinds) == len(source.label_names) == 8
    different = {source[i]["voxels"].tobytes() for i in range(len(source))}
    assert len(different) == len(source)


def test_things_of_one_kind():
    """Those that are among things of all kinds, with the same label."""
    (all_kinds,), (lamps,) = (open_source(f"shapes3d:80{kind}", size=32) for kind in ("", ":lamp"))
    lamp = all_kinds.label_names.index("lamp")
    assert lamps.label_names == all_kinds.label_names
    assert 60 < len(lamps) < 80
    assert {lamps[i]["label"] for i in range(len(lamps))} == {lamp}
    first = next(x for x in map(all_kinds.__getitem__, range(20)) if x["label"] == lamp)
    np.testing.assert_array_equal(lamps[0]["voxels"], first["voxels"])
    (default,) = open_source("shapes3d:lamp", size=32)
    assert 3500 < len(default) < 3700
    assert len({x.fingerprint for x in (all_kinds, lamps, default)}) == 3
    for wrong in ("shapes3d:80:lmp", "shapes3d:lamp:80", "shapes3d:lmp"):
        with pytest.raises(UserError, match="takes a number and one of bed, car, chair, lamp"):
            open_source(wrong)


def test_a_chair_stands_on_the_floor_with_its_back_behind():
    for seed in range(20):
        chair = shapes3d.build("chair", seed, 32)[..., 0]
        assert chair[:, 30:].any()  # row 0 is the top, the floor below
        above = chair[:, :16].any(axis=(1, 2))  # by depth, above the middle
        assert above[16:].sum() >= above[:16].sum()


def test_small_things_are_drawn_and_then_shrunk():
    data = load("shapes3d:16", size=16)
    assert data.info.shape == (16, 16, 16)
    assert data.resident["voxels"].shape[1:] == (16, 16, 16, 1)
    assert data.info.zeros(2)["voxels"].shape == (2, 16, 16, 16, 1)
    with pytest.raises(UserError, match="whole cubes"):
        load("shapes3d", size=(16, 32))


def test_flow_is_exact():
    data = load("clips-flow:12", size=24, frames=4)
    clip = data.examples(12)
    assert clip["video"].shape == (12, 4, 24, 24, 3)
    assert clip["flow"].shape == (12, 3, 24, 24, 2)
    y, x = np.mgrid[:24, :24]
    moved = 0
    for video, flow in zip(clip["video"], clip["flow"], strict=True):
        for t in range(3):
            to = np.stack([x, y], axis=-1) + flow[t].astype(int)
            inside = ((to >= 0) & (to < 24)).all(axis=-1)
            there = video[t + 1][to[inside][:, 1], to[inside][:, 0]]
            np.testing.assert_array_equal(video[t][inside], there)
            moved += abs(flow[t, 0, 0]).max() > 0
    assert moved > 20
    assert len(data.of_split("test")) == 1
    longer = load("clips-flow:13", size=24, frames=4)
    np.testing.assert_array_equal(longer[5]["video"], data[5]["video"])


def test_the_stereo_pair_agrees_along_its_flow():
    example = clips.stereo("train")[0]
    a, b, flow = example["a"], example["b"], example["flow"]
    assert a.shape == b.shape == (500, 741, 3)
    y, x = np.nonzero(np.isfinite(flow[..., 0]))
    to = np.rint(x + flow[y, x, 0]).astype(int)
    inside = to >= 0
    error = np.abs(a[y, x].astype(int)[inside] - b[y[inside], to[inside]]).mean()
    assert error < 10 < 30 < np.abs(a.astype(int) - b).mean()
    with pytest.raises(UserError, match="no test images"):
        clips.stereo("test")


def test_the_shipped_films(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path))
    (source,) = open_source("clips", "test", size=24, frames=8)
    assert len(source) == (120 - 8) // 4 + 1  # 120 frames without a cut, every half clip
    first, second = source[0]["video"], source[1]["video"]
    assert first.shape == (8, 24, 30, 3)  # 144 x 176 reduced, the sides even
    np.testing.assert_array_equal(first[4:], second[:4])
    assert source.origin(1)[1:] == (24, 30)
