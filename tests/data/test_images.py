"""Every mode, depth and orientation of an image file becomes the right uint8 array."""

import numpy as np
import pytest
from PIL import Image

from jaxgen.data import images
from jaxgen.data.images import (
    CROPS,
    RESAMPLE,
    decode,
    from_array,
    header,
    parse_size,
    sides,
    suffixes,
    to_input,
    to_size,
)
from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError

RAMP = np.linspace(0, 255, 24).round().astype(np.uint8).reshape(4, 6)


def test_grey_and_rgb(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(decode(tmp_path / "grey.png")[..., 0], RAMP)
    rgb = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=-1)
    Image.fromarray(rgb).save(tmp_path / "rgb.bmp")
    np.testing.assert_array_equal(decode(tmp_path / "rgb.bmp"), rgb)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    deep = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    for name in ("deep.png", "deep.tif"):
        Image.fromarray(deep).save(tmp_path / name)
        np.testing.assert_array_equal(decode(tmp_path / name)[0, :, 0], [0, 1, 128, 255])
    np.testing.assert_array_equal(from_array(deep)[0, :, 0], [0, 1, 128, 255])


def test_palette_with_and_without_transparency(tmp_path):
    image = Image.frombytes("P", (2, 1), bytes([0, 1]))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.save(tmp_path / "p.png")
    assert decode(tmp_path / "p.png").tolist() == [[[10, 20, 30], [200, 100, 50]]]
    image.save(tmp_path / "clear.png", transparency=1)
    assert decode(tmp_path / "clear.png")[0].tolist() == [[10, 20, 30, 255], [200, 100, 50, 0]]


def test_cmyk_and_bilevel(tmp_path):
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "red.tif")
    assert decode(tmp_path / "red.tif")[0, 0].tolist() == [255, 0, 0]
    Image.new("1", (2, 2), 1).save(tmp_path / "one.png")
    assert decode(tmp_path / "one.png").tolist() == [[[255], [255]], [[255], [255]]]


def test_exif_orientation_is_applied(tmp_path):
    picture = Image.new("RGB", (40, 20), "red")
    picture.paste("blue", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to view
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright = decode(tmp_path / "turned.jpg")
    assert upright.shape == (40, 20, 3)
    assert upright[5, 10, 2] > 200 > 50 > upright[5, 10, 0]  # the left, blue, is now the top


def test_animation_gives_its_first_frame(tmp_path):
    first, second = Image.new("RGB", (3, 3), "red"), Image.new("RGB", (3, 3), "lime")
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert decode(tmp_path / "a.gif")[0, 0, :3].tolist() == [255, 0, 0]


def test_transparency_lies_on_white_or_stays():
    image = np.zeros((4, 4, 4), np.uint8)  # black, wholly transparent
    image[:, 2:, 3] = 255
    assert to_size(image, (4, 4), 3)[0, :, 0].tolist() == [255, 255, 0, 0]
    assert to_size(image, (4, 4), 1)[0, :, 0].tolist() == [255, 255, 0, 0]
    np.testing.assert_array_equal(to_size(image, (4, 4), 4), image)
    # Transparent black must not darken its neighbours when it is resized.
    white = np.full((8, 8, 4), 255, np.uint8)
    white[:, 4:] = 0
    assert to_size(white, (3, 3), 3).min() >= 254


def test_crops_keep_what_they_say():
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 200
    assert (to_size(image, (10, 10), 3, "center") == 200).all()
    stretched = to_size(image, (30, 30), 3, "stretch", "nearest")
    assert (stretched[:, :10] == 0).all()
    assert (stretched[:, 10:20] == 200).all()
    padded = to_size(image, (30, 30), 3, "pad")
    assert (padded[:10] == 255).all()
    np.testing.assert_array_equal(padded[10:20], image)
    assert to_size(image[..., :1], (8, 8), 4, "pad").shape == (8, 8, 4)


def test_area_resampling_is_the_mean_of_the_blocks():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 1), np.uint8)
    means = image.reshape(4, 2, 4, 2).mean(axis=(1, 3))
    shrunk = to_size(image, (4, 4), 1, resample="area")[..., 0]
    assert np.abs(shrunk - means).max() <= 1  # Pillow rounds after each of its two passes


@pytest.mark.parametrize("content", [b"", b"no image at all"])
def test_broken_files_are_named(tmp_path, content):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.png is not a readable image"):
        decode(tmp_path / "bad.png")


def test_truncated_and_floating_point_files_are_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"half\.jpg .*truncated"):
        decode(tmp_path / "half.jpg")
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(UserError, match=r"float\.tif: .*8 or 16 bits"):
        decode(tmp_path / "float.tif")


def test_images_that_are_not_square():
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 10:50] = 200  # the middle of 1:2
    assert to_size(image, (10, 20), 3).shape == (10, 20, 3)
    assert (to_size(image, (10, 20), 3, resample="nearest") == 200).all()
    tall = to_size(image, (40, 20), 3, "pad", "nearest")
    assert tall.shape == (40, 20, 3)
    assert (tall[:16] == 255).all()
    assert (tall[18:22, 5:15] == 200).all()
    assert to_size(image, (7, 5), 1, "stretch").shape == (7, 5, 1)
    info = DataInfo((4, 8, 3), {"image": Field("image", 3)}, stored=(6, 12))
    assert to_input(image, info).shape == (4, 8, 3)


def test_sizes_are_read():
    assert parse_size("64") == (64, 64)
    assert parse_size("48x96") == parse_size("48X96") == (48, 96)
    for text in ("", "x", "0", "48x", "4.5", "-3", "1x2x3", "a", "\u00b2"):
        with pytest.raises(UserError, match="no size; write 64 for a square, 48x96"):
            parse_size(text)


def test_a_label_map_stays_a_set_of_whole_numbers():
    """However it is resized and cut, as wide or as high as it may be."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        high, wide = rng.integers(3, 40, 2)
        classes = rng.choice([0, 3, 7, 200], (high, wide, 1)).astype(np.uint8)
        size = tuple(map(int, rng.integers(1, 50, 2)))
        crop, resample = rng.choice(CROPS), rng.choice(list(RESAMPLE))
        for kind, known in (("classes", {0, 3, 7, 200}), ("mask", {0, 255})):
            array = classes if kind == "classes" else np.uint8(classes > 3) * 255
            found = to_size(array, size, 3, crop, resample, kind)
            assert found.shape == (*size, 1)
            assert set(np.unique(found)) <= known
    padded = to_size(np.full((4, 8, 1), 5, np.uint8), (8, 8), 3, "pad", kind="classes")
    assert set(np.unique(padded)) == {0, 5}


def test_an_image_of_many_channels_passes_but_is_not_resized():
    image = np.zeros((4, 6, 7), np.float32)
    assert to_size(image, (4, 6), 7) is image
    with pytest.raises(UserError, match="7 channels .* cannot be resized"):
        to_size(image, (2, 3), 7)


@pytest.mark.parametrize("suffix", ["png", "tif", "gif", "webp"])
def test_large_images_are_opened_without_a_warning(tmp_path, monkeypatch, suffix):
    """The warning of Pillow (above its limit) and its error (above twice that) are not ours."""
    pillow = 100
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow)
    for side in (8, 12, 40):
        Image.new("L", (side, side), 7).save(tmp_path / f"1.{suffix}")
        monkeypatch.setattr(images, "LARGEST", 1600)
        assert decode(tmp_path / f"1.{suffix}").shape[:2] == (side, side)
        assert sides(tmp_path / f"1.{suffix}") == (side, side)
    assert pillow == Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(images, "LARGEST", 1599)
    said = rf"1\.{suffix}: 40x40 pixels .*; make it smaller, or cut it into several"
    with pytest.raises(UserError, match=said):
        decode(tmp_path / f"1.{suffix}")
    assert pillow == Image.MAX_IMAGE_PIXELS


def test_the_largest_image_is_larger_than_the_one_that_was_refused():
    assert images.LARGEST >= 14000 * 13000


def test_suffixes_are_those_of_images_that_pillow_reads():
    known = {".png", ".jpg", ".jpeg", ".jfif", ".avif", ".webp", ".bmp", ".tif", ".gif", ".mpo"}
    assert known <= suffixes()
    assert not suffixes() & {".pdf", ".eps", ".ps", ".mpg", ".h5", ".wmf", ".txt", ""}


def test_headers_tell_what_is_decoded(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.new("RGB", (30, 20))
    for name in ("1.png", "1.jpg", "1.webp", "1.tif", "1.avif"):
        picture.save(tmp_path / name, exif=exif)
        assert sides(tmp_path / name) == decode(tmp_path / name).shape[:2] == (30, 20)
    picture.save(tmp_path / "2.png")
    broken = (tmp_path / "2.png").read_bytes()[:-30]
    assert header(broken, "2.png") == (20, 30, False)  # without a look at the pixels
    assert header(tmp_path / "1.jpg").jpeg
    assert header(tmp_path / "1.jpg").reduction(2) == 2  # 20 / 2 is four times 2 at least
    assert header(tmp_path / "1.jpg").reduction(3) == 1
    assert header(tmp_path / "1.jpg").reduction(0) == header(tmp_path / "1.png").reduction(2) == 1
