"""Plain arrays as data, what systems are told of it, and that label maps survive the program."""

import json

import jax
import numpy as np
import pytest

from jaxgen.data import tokens
from jaxgen.data.arrays import arrays
from jaxgen.data.pipeline import load
from jaxgen.data.source import DataInfo, Field, to_program
from jaxgen.errors import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 6, 8, 3), dtype=np.uint8)
LABELS = np.arange(20) % 4


def test_arrays_are_data():
    data = arrays({"image": IMAGES, "label": LABELS}, label_names="abcd")
    fields = {"image": Field("image", 3), "label": Field("label")}
    assert data.info == DataInfo((6, 8, 3), fields, tuple("abcd"), examples=20)
    assert len(data) == 20
    batch = next(data.batches(8, seed=0, indices=True))
    whole = next(data.batches(8, seed=0))
    np.testing.assert_array_equal(data.resident["image"][batch["index"]], whole["image"])
    np.testing.assert_array_equal(whole["label"].dtype, np.int32)
    seen = to_program(whole, data.info.fields)
    assert seen["image"].min() >= -1
    assert seen["image"].max() <= 1
    assert data.held_out(3) is None
    other = arrays({"image": IMAGES[::-1], "label": LABELS})
    assert other.fingerprint != data.fingerprint
    assert other.info.label_names == tuple("0123")


def test_floats_of_any_channels_and_other_arrays_pass():
    x = RNG.uniform(-1, 1, (5, 4, 4, 7))
    data = arrays({"image": x, "points": np.ones((5, 2))})
    assert data.info.shape == (4, 4, 7)
    assert data.info.fields["points"] == Field("array")
    seen = to_program(data.examples(5), data.info.fields)
    np.testing.assert_allclose(np.sort(seen["image"].ravel()), np.sort(np.float32(x).ravel()))
    assert data.info.zeros(3)["image"].shape == (3, 4, 4, 7)


def test_a_share_is_held_out():
    data = arrays({"image": IMAGES}, held_out=0.3)
    test = data.of_split("test")
    assert 0 < len(test) < 20
    assert len(data) + len(test) == 20
    assert data.held_out(100)["image"].shape == (len(test), 6, 8, 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "there are no examples"),
        ({"image": IMAGES[0]}, r"image \(image\) is \[N, H, W, C\]"),
        ({"image": IMAGES, "label": LABELS[:3]}, "differ in length .image 20, label 3."),
        ({"image": IMAGES * 1.0}, r"floats in \[-1, 1\]"),
        ({"a": IMAGES, "b": IMAGES[:, :3]}, "differ in size"),
        ({"label": LABELS - 1}, "integers from 0 on"),
        ({"classes": IMAGES}, r"uint8 \[N, H, W, 1\]"),
        ({"caption": [["a", "b"], ["c", "d"]]}, r"\[N\] of texts, one an example"),
        ({"caption": [["a", "b"], ["c"]]}, "entries of different shapes"),
        ({"caption": np.array(["a", None])}, "texts, one an example, not object"),
        ({"points": np.array([{}, None])}, r"points \(array\) is numbers, not object"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(content, says):
    with pytest.raises(UserError, match=says):
        arrays(content)
    with pytest.raises(UserError, match="cannot be of kind"):
        arrays({"x": IMAGES}, kinds={"x": "picture"})
    with pytest.raises(UserError, match="has 3 columns, and there are 1 attribute names"):
        arrays({"image": IMAGES, "attributes": np.zeros((20, 3), int)}, attribute_names=["x"])


def test_a_label_map_goes_with_its_image_through_crops_and_flips():
    """Both say where they stand, so that what is aligned can be seen to stay so."""
    place = np.arange(48, dtype=np.uint8).reshape(1, 6, 8, 1).repeat(20, 0)
    data = arrays({"image": place, "classes": place}, flip=True)
    batch = to_program(next(data.batches(16, 0)), data.info.fields)
    out = jax.jit(data.augment)(batch, jax.random.key(0))
    assert out["classes"].dtype == np.int32
    assert set(np.unique(out["classes"])) == set(range(48))
    np.testing.assert_array_equal(np.round((out["image"] + 1) * 127.5), out["classes"])
    assert (np.asarray(out["classes"][:, 0, 0, 0]) == 7).any()  # some are mirrored


def test_what_systems_are_told_survives_json(tmp_path):
    plain = load("mnist5k", size=(8, 12), random_crop=10, channels=1).info
    assert plain.shape == (8, 12, 1)
    assert plain.stored == (10, 15)
    captions = ["a red hat", "a red cat", "a red bat"]
    words = DataInfo(
        *((8, 8, 3), {"image": Field("image", 3), "text": Field("text")}, (), ("hat",)),
        tokens.learn(captions, 10, context=6),
    )
    maps = np.arange(6, dtype=np.uint8).repeat(4).reshape(6, 2, 2, 1)
    classes = arrays({"image": IMAGES[:6, :2, :2], "classes": maps}).info
    assert classes.fields["classes"] == Field("classes", classes=6)
    for info in (plain, words, classes):
        again = DataInfo.from_json(json.loads(json.dumps(info.to_json())))
        assert again == info
        assert {k: x.shape for k, x in again.zeros(2).items()} == {
            k: x.shape for k, x in info.zeros(2).items()
        }
    assert words.zeros(2)["text"].shape == (2, 6)


def test_fields_are_declared_by_sources():
    kinds = lambda spec: {k: f.kind for k, f in load(spec, size=8).info.fields.items()}
    assert kinds("mnist5k") == {"image": "image", "label": "label"}
    pair = {"a": "image", "b": "image", "label": "label", "attributes": "attributes"}
    assert kinds("emoji-lines") == pair
    emoji = load("emoji", size=8)
    assert emoji.info.attribute_names == ("skin_tone", "gender")
    assert emoji.examples(3)["attributes"].shape == (3, 2)
    assert kinds("photos+emoji") == {"image": "image"}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_keep_the_channels_that_each_of_them_has(dtype):
    pair = {"a": np.zeros((20, 6, 6, 3), dtype), "b": np.zeros((20, 6, 6, 1), dtype)}
    data = arrays(pair, held_out=0.3)
    for split in (data, data.of_split("test")):
        assert {name: field.channels for name, field in split.info.fields.items()} == {
            "a": 3,
            "b": 1,
        }
        shapes = {name: x.shape for name, x in split.examples(2).items()}
        assert shapes == {name: x.shape for name, x in split.info.zeros(2).items()}
        assert shapes["b"] == (2, 6, 6, 1)


def test_captions_are_known_by_their_texts():
    """However NumPy holds them: objects, such as a pandas column's, differ in each process."""
    texts = [f"a cat {k}" for k in range(20)]
    fingerprint = lambda captions: arrays({"image": IMAGES, "caption": captions}).fingerprint
    strings = fingerprint(texts)
    assert fingerprint(np.array(texts, object)) == strings
    assert fingerprint(np.array([*texts[1:], "a dog"], object)) != strings
