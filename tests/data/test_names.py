"""Labels and attributes of one set in the numbers of another."""

import numpy as np
import pytest

import jaxgen as jg
from jaxgen.data.names import numbered_as
from jaxgen.errors import UserError

WORDS = {"label_names": ("cat", "dog"), "attribute_names": ("old", "big", "red")}


@pytest.fixture
def data():
    content = {
        "image": np.zeros((8, 2, 2, 1), np.uint8),
        "label": np.arange(8) % 2,
        "attributes": np.arange(24).reshape(8, 3),
    }
    return jg.arrays(content, held_out=0.5, **WORDS)


def named(labels, attributes):
    return jg.arrays(
        {"image": np.zeros((1, 2, 2, 1)), "label": [0], "attributes": [range(len(attributes))]},
        label_names=labels,
        attribute_names=attributes,
    ).info


def test_both_are_found_by_name(data):
    """In arrays, examples and the other split; the examples themselves are the same."""
    info = named(("dog", "bird", "cat"), ("red", "old"))
    moved = numbered_as(data, info, ["label", "attributes"], "it")
    for was, now in (data, moved), (data.of_split("test"), moved.of_split("test")):
        assert now.info.label_names == info.label_names
        assert now.info.attribute_names == info.attribute_names
        assert now.fingerprint == was.fingerprint
        before, after = (x.take(range(len(x))) for x in (was, now))
        np.testing.assert_array_equal(after["label"], np.array([2, 0])[before["label"]])
        np.testing.assert_array_equal(after["attributes"], before["attributes"][:, [2, 0]])
        assert (after["label"].dtype, now[0]["label"]) == (np.int32, after["label"][0])


def test_what_is_not_asked_for_or_alike_stays(data):
    info = named(("dog", "cat"), WORDS["attribute_names"])
    moved = numbered_as(data, info, ["label"], "it")
    assert moved.info.attribute_names == data.info.attribute_names
    assert numbered_as(data, info, ["attributes"], "it") is data
    assert numbered_as(data, data.info, ["label", "attributes", "image"], "it") is data


def test_what_is_unknown_or_lacking(data):
    info = named(("dog", "bird"), ("old", "smiling"))
    with pytest.raises(
        UserError, match="labels that it does not know: cat; name data whose labels"
    ):
        numbered_as(data, info, ["label"], "it")
    with pytest.raises(UserError, match="lacks attributes that it knows: smiling; name data"):
        numbered_as(data, info, ["attributes"], "it")
