"""Drawn people: the picture, its masks, its attributes and its caption say the same."""

import collections
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

import jaxgen as jg
from jaxgen.data import faces, portraits
from jaxgen.data.specs import open_source
from jaxgen.errors import UserError

STYLES = tuple(portraits.STYLES)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of this file's own, and blocks of ten."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("JAXGEN_CACHE", str(folder))
        patch.setattr(portraits, "BLOCK", 10)
        yield folder


def person(k, style):
    return portraits.persons([k], style)[0]


def drawn(svg, size):
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(int)


def definition(style):
    folder = portraits.package_folder("dicebear_styles", "dicebear-styles", "faces")
    return json.loads((folder / f"{style}.json").read_text())


@pytest.mark.parametrize("style", STYLES)
def test_the_licence_is_the_packages_and_allows_use(style):
    meta = definition(style)["meta"]
    name = meta["license"]["name"]
    assert name in ("CC0 1.0", "CC BY 4.0", "Free for personal and commercial use")
    said = portraits.STYLES[style].licence
    assert name.lower() in said.lower()
    assert meta["creator"]["name"].split(" - ")[0] in said


def test_a_person_depends_on_its_number_alone(cache):
    (few,), (more,) = (open_source(f"faces:{n}", size=15) for n in (10, 30))
    assert len(few) < len(more)
    for i in range(len(few)):
        for name, value in few[i].items():
            np.testing.assert_array_equal(value, more[i][name])
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("15/*")}
    assert len(files) == 3
    open_source("faces:30", size=15)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("15/*")} == files
    assert len({more[i]["image"].tobytes() for i in range(len(more))}) == len(more)


def test_fields_and_channels():
    rgb = jg.load_data("faces:10", size=16)
    rgba = jg.load_data("faces:10", size=16, channels=4)
    assert {k: f.kind for k, f in rgb.info.fields.items()} == {
        "image": "image", "alpha": "mask", "parts": "classes", "attributes": "attributes",
    }  # fmt: skip
    assert rgb.info.attribute_names == tuple(portraits.VALUES)
    for a, b in zip(rgb.arrays[0]["image"], rgba.arrays[0]["image"]):
        assert a[0, 0].tolist() == [255, 255, 255]  # transparent corners lie on white
        assert b[0, 0, 3] == 0
        assert b[8, 8, 3] == 255
    for arrays in rgb.arrays:
        assert set(np.unique(arrays["alpha"])) == {0, 255}
        assert arrays["parts"].max() < len(portraits.PARTS) == rgb.info.fields["parts"].classes
        assert arrays["attributes"].dtype == np.int32


@pytest.mark.parametrize("style", STYLES)
def test_every_variant_has_flat_classes_only(style):
    """No pixel of the flat drawing is a blend of two classes."""
    import dicebear

    flat = portraits._definitions(style)[1]
    colours = {
        (*bytes.fromhex(portraits._flat_colour(c)[1:]), 255) for c in range(len(portraits.PARTS))
    }
    somebody = person(0, style)
    for attribute, values in portraits.STYLES[style].table.items():
        for value, options in values.items():
            plain = portraits._options(0, style, {**somebody, attribute: value})
            for option, variants in options.items():
                for variant in variants if option.endswith("Variant") else ():
                    svg = str(dicebear.Avatar(flat, {**plain, option: variant}))
                    found = set(map(tuple, drawn(svg, 24).reshape(-1, 4).tolist()))
                    assert found - {(0, 0, 0, 0)} <= colours, variant


@pytest.mark.parametrize("style", STYLES)
def test_parts_lie_where_the_picture_has_them(style):
    (source,) = open_source(f"faces:20:{style}", size=48)
    named = {name: c for c, name in enumerate(portraits.PARTS)}
    chosen = faces.people("train", 20, style)
    for i, (k, seen) in enumerate(zip(chosen, portraits.attributes(chosen, style))):
        example = source[i]
        parts, alpha = example["parts"][..., 0], example["alpha"][..., 0] > 0
        assert (alpha != (parts > 0)).mean() < 0.02  # thin strands
        shown = {name: (parts == c).any() for name, c in named.items()}
        assert shown["skin"]
        assert shown["glasses"] == (seen["glasses"] != "none")
        assert shown["beard"] == (seen["beard"] != "none")
        assert shown["headwear"] == (seen.get("headwear", "none") != "none")
        if style != "open-peeps":  # whose outlines and hair are one mark
            assert shown["hair"] == (seen["hair"] != "unseen")
        codes = zip(source.attribute_names, example["attributes"])
        assert {name: portraits.VALUES[name][code] for name, code in codes} == seen
        if style == "avataaars":  # the colours of a person are the commonest of their parts
            options = portraits._options(k, style, person(k, style))
            for part in ("skin", "clothes", "hair"):
                here = example["image"][parts == named[part]][:, :3]
                if len(here) > 60:
                    found, count = np.unique(here, axis=0, return_counts=True)
                    wanted = options[f"{part}Color"]
                    assert f"#{bytes(found[count.argmax()]).hex()}" == wanted


LAYERS = {
    "glasses": "accessories",
    "beard": "facialHair",
    "expression": "mouth",
    "hair": "top",
    "hair_colour": "top|facialHair",
    "headwear": "top",
    "clothes_colour": "clothes",
}
FOLLOWS = {"headwear": {"headwear_colour", "hair", "hair_colour"}, "glasses": {"eyes"}}


@pytest.mark.parametrize("attribute", LAYERS)
def test_a_counterfactual_differs_in_its_layer_alone(attribute):
    """The layers of the package's own drawing before and after the change, drawn alone."""
    import dicebear

    style = portraits._definitions("avataaars")[0]
    table = portraits.STYLES["avataaars"].table[attribute]
    k = next(k for k in range(99) if person(k, "avataaars")["headwear"] == "none")
    before = person(k, "avataaars")
    after = {**before, attribute: next(v for v in table if v not in (before[attribute], "none"))}
    inside = np.zeros((48, 48), bool)
    for options in (portraits._options(k, "avataaars", p) for p in (before, after)):
        head, body = str(dicebear.Avatar(style, options)).split("</defs>")
        layer = re.findall(rf'<use[^>]*href="#(?:{LAYERS[attribute]})-[^>]*/>', body)
        inside |= drawn(f"{head}</defs>{''.join(layer)}</svg>", 48)[..., 3] > 0
    one, two = faces.counterfactual(k, 48, **{attribute: after[attribute]})
    differ = (one["image"] != two["image"]).any(-1)
    assert differ.any()
    assert not (differ & ~inside).any()
    changed = set(np.array(list(portraits.VALUES))[one["attributes"] != two["attributes"]])
    assert attribute in changed
    assert changed - {attribute} <= FOLLOWS.get(attribute, set())


def test_a_counterfactual_of_what_is_there_already_is_the_same():
    before, after = faces.counterfactual(5, 24, "lorelei", **person(5, "lorelei"))
    (source,) = open_source("faces:10:lorelei", size=24)
    five = source[faces.people("train", 10, "lorelei").index(5)]
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])
        np.testing.assert_array_equal(before[name], five[name])


@pytest.mark.parametrize("style", STYLES)
def test_people_of_equal_attributes_stand_on_one_side(style):
    sides = collections.defaultdict(set)
    train, test = (faces.people(split, 1500, style) for split in ("train", "test"))
    assert sorted(train + test) == list(range(1500))
    assert 0.06 < len(test) / 1500 < 0.14
    for split, chosen in (("train", train), ("test", test)):
        for seen in portraits.attributes(chosen, style):
            sides[tuple(seen.values())].add(split)
    assert all(len(side) == 1 for side in sides.values())


def test_attributes_are_drawn_as_often_as_they_weigh():
    seen = portraits.attributes(range(4000))
    # 3 of the 9.5 that the three values weigh; four headwears beside a weight of 12.
    for name, value, share in (
        ("glasses", "glasses", 3 / 9.5),
        ("headwear", "none", 12 / 16),
        ("skin_tone", "dark", 1 / 5),
    ):
        found = np.mean([one[name] == value for one in seen])
        assert abs(found - share) < 4 * (share * (1 - share) / len(seen)) ** 0.5


def test_styles_show_the_same_person_as_far_as_they_can():
    table = portraits.STYLES["personas"].table
    both = zip(
        portraits.persons(range(300), "avataaars"), portraits.persons(range(300), "personas")
    )
    for a, b in both:
        for name in set(a) & set(b) - ({"beard"} if a["headwear"] == "hijab" else set()):
            if a[name] in table[name] and b[name] in portraits.STYLES["avataaars"].table[name]:
                assert a[name] == b[name]


def test_captions():
    seen = {
        "skin_tone": "dark", "hair": "short", "hair_colour": "brown", "headwear": "none",
        "headwear_colour": "none", "glasses": "glasses", "beard": "beard",
        "expression": "smiling", "eyes": "closed", "clothes": "hoodie", "clothes_colour": "red",
    }  # fmt: skip
    assert portraits.caption(seen) == (
        "a smiling person with dark skin, short brown hair, a beard and closed eyes, wearing a red "
        "hoodie and glasses"
    )
    covered = {"headwear": "turban", "headwear_colour": "blue", "hair": "unseen", "eyes": "unseen"}
    assert portraits.caption({**seen, **covered, "expression": "open", "glasses": "none"}) == (
        "a person with an open mouth, dark skin and a brown beard, wearing a red hoodie and a "
        "blue turban"
    )
    assert portraits.caption(
        {"skin_tone": "light", "hair": "bun", "beard": "none", "expression": "angry"}
    ) == ("an angry person with light skin and hair in a bun")
    seen = {
        "skin_tone": "medium", "hair": "bob", "hair_colour": "pink", "clothes": "overall",
        "clothes_colour": "green", "expression": "unseen", "glasses": "sunglasses",
    }  # fmt: skip
    assert portraits.caption(seen) == (
        "a person with medium skin and pink hair in a bob, wearing green overalls and sunglasses"
    )


def test_domains_share_nobody_and_hold_out_true_pairs():
    a, b = open_source("faces-domains:40:lorelei:personas", size=16)
    (test,) = open_source("faces-domains:40:lorelei:personas", "test", size=16)
    ks = [{int(s.origin(i)[0].split()[1]) for i in range(len(s))} for s in (a, b, test)]
    assert not ks[0] & ks[1]
    assert not ks[0] & ks[2]
    assert len(ks[0]) > 15 < len(ks[1])
    assert len(ks[2]) > 0
    assert (set(a[0]), set(b[0]), set(test[0])) == ({"a"}, {"b"}, {"a", "b"})
    for style, train in (("lorelei", ks[0]), ("personas", ks[1])):
        alike = lambda people: set(map(str, portraits.attributes(list(people), style)))
        assert not alike(train) & alike(ks[2])
    k = min(ks[2])
    for name, style in (("a", "lorelei"), ("b", "personas")):
        before, _ = faces.counterfactual(k, 16, style)
        np.testing.assert_array_equal(test[sorted(ks[2]).index(k)][name], before["image"])


def test_a_stop_while_drawing_leaves_whole_blocks_only(cache, monkeypatch):
    draw, asked = portraits.draw, []

    def stopped(k, *how):
        asked.append(k)
        if k == 13:
            raise KeyboardInterrupt
        return draw(k, *how)

    monkeypatch.setattr(portraits, "draw", stopped)
    with pytest.raises(KeyboardInterrupt):
        open_source("faces:20", size=17)
    assert [path.name for path in cache.rglob("17/*")] == ["0.npz"]
    monkeypatch.setattr(portraits, "draw", lambda k, *how: asked.append(k) or draw(k, *how))
    asked.clear()
    (source,) = open_source("faces:20", size=17)
    assert asked == list(range(10, 20))
    before, _ = faces.counterfactual(faces.people("train", 20)[-1], 17)
    np.testing.assert_array_equal(source[len(source) - 1]["image"], before["image"])


def test_edits_are_pairs_in_which_one_attribute_is_turned():
    (train,), (test,) = (open_source("faces-edits:200", split, size=32) for split in SPLITS)
    assert train.attribute_names == tuple(faces.EDITS)
    assert set(train.fields) == {"image", "attributes"}
    before = people("train")
    assert len(train) == len(before) < 180
    for i, (k, look) in enumerate(before.items()):
        said = {name: look[of] in yes for name, (of, yes, _) in faces.EDITS.items()}
        assert list(said.values()) == train[i]["attributes"].tolist()
        if i < 3:
            np.testing.assert_array_equal(train[i]["image"], shown(k))
    assert len(test) == len(people("test")) > len(faces.EDITS)
    for i, k in enumerate(people("test")):
        example, which = test[i], i % len(faces.EDITS)
        turned = example["edited_attributes"] != example["attributes"]
        assert turned.nonzero()[0].tolist() == [which]
        of, *values = list(faces.EDITS.values())[which]
        value = values[1 - example["edited_attributes"][which]][0]
        np.testing.assert_array_equal(example["image"], shown(k))
        np.testing.assert_array_equal(example["edited"], shown(k, **{of: value}))
        assert (example["edited"] != example["image"]).any()


SPLITS = "train", "test"


def people(split):
    """The bare-headed ones of 200, and how they look."""
    ks = faces.people(split, 200)
    looks = zip(ks, portraits.attributes(ks), strict=True)
    return {k: look for k, look in looks if look["headwear"] == "none"}


def shown(k, **changes):
    return faces.counterfactual(k, 32, **changes)[1]["image"]


def test_every_value_is_a_yes_or_a_no():
    for of, yes, no in faces.EDITS.values():
        assert sorted(yes + no) == sorted(portraits.STYLES["avataaars"].table[of])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("faces:0", "faces needs one person or more, not 0"),
        ("faces:5:monalisa", 'no style "monalisa"; the styles are avataaars, lorelei'),
        ("faces:lorelei:5", "faces takes a number of people and then a style, not lorelei:5"),
        ("faces:5:lorelei:5", "faces takes no more than faces:N:STYLE"),
        ("faces-domains:lorelei", "then 2 styles, not lorelei"),
        ("faces-edits:many", 'faces-edits:N takes a whole number from 1, not "many"'),
        ("faces:1", "faces:1 has nothing for test; ask for more"),
    ],
)
def test_a_wrong_spec_is_named(spec, said):
    with pytest.raises(UserError, match=said):
        open_source(spec, "test", size=16)


def test_a_wrong_change_is_named():
    with pytest.raises(UserError, match='lorelei has no "headwear"; its attributes are skin_tone'):
        faces.counterfactual(0, 16, "lorelei", headwear="hat")
    with pytest.raises(UserError, match='beard of lorelei is none or beard, not "goatee"'):
        faces.counterfactual(0, 16, "lorelei", beard="goatee")


@pytest.mark.parametrize("spec", ["faces:5", "openmoji"])
def test_drawings_that_cannot_be_kept(spec, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be kept in .*; set JAXGEN_CACHE to another folder"):
        open_source(spec, size=16)


def test_a_full_disk_is_a_clear_line(cache, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match=r"cannot be kept in .*No space left"):
        open_source("faces:5", size=18)
    assert not list(cache.rglob("18/*"))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'needs dicebear-core: pip install "jaxgen\[samples\]"'):
        open_source("faces:5", size=16)


def test_a_damaged_block_is_drawn_again(cache):
    before = open_source("faces:20", size=14)[0]
    first, second = sorted(cache.rglob("14/*.npz"))
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:-9])
    again = open_source("faces:20", size=14)[0]
    for i in range(len(before)):
        np.testing.assert_array_equal(again[i]["image"], before[i]["image"])
