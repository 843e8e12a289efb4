"""Drawn people: the picture, its masks, its attributes and its caption say the same."""

import collections
import io
import json

import numpy as np
import pytest
from PIL import Image

import jaxgen as jg
from jaxgen.data import faces
from jaxgen.data.specs import open_source
from jaxgen.errors import UserError

STYLES = tuple(faces.STYLES)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of this file's own, and blocks of ten."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("JAXGEN_CACHE", str(folder))
        patch.setattr(faces, "BLOCK", 10)
        yield folder


def render(style, options, size):
    """Drawn by the packages alone: RGBA of the picture."""
    import dicebear
    import resvg_py

    svg = str(dicebear.Avatar(style, options))
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(int)


def definition(style):
    folder = faces.package_folder("dicebear_styles", "dicebear-styles", "faces")
    return json.loads((folder / f"{style}.json").read_text())


@pytest.mark.parametrize("style", STYLES)
def test_the_licence_is_the_packages_and_allows_use(style):
    meta = definition(style)["meta"]
    name = meta["license"]["name"]
    assert name in ("CC0 1.0", "CC BY 4.0", "Free for personal and commercial use")
    said = faces.STYLES[style].licence
    assert name.lower() in said.lower()
    assert meta["creator"]["name"].split(" - ")[0] in said


def test_a_person_depends_on_its_number_alone(cache):
    (few,), (more,) = (open_source(f"faces:{n}", size=16) for n in (10, 30))
    assert len(few) < len(more)
    for i in range(len(few)):
        for name, value in few[i].items():
            np.testing.assert_array_equal(value, more[i][name])
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("16/*")}
    assert len(files) == 3
    open_source("faces:30", size=16)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("16/*")} == files
    drawn = [more[i]["image"].tobytes() for i in range(len(more))]
    assert len(set(drawn)) == len(drawn)


def test_fields_and_channels():
    rgb = jg.load_data("faces:10", size=16)
    rgba = jg.load_data("faces:10", size=16, channels=4)
    assert {k: f.kind for k, f in rgb.info.fields.items()} == {
        "image": "image", "alpha": "mask", "parts": "classes", "attributes": "attributes",
    }  # fmt: skip
    assert rgb.info.attribute_names == tuple(faces.VALUES)
    for a, b in zip(rgb.arrays[0]["image"], rgba.arrays[0]["image"]):
        assert a[0, 0].tolist() == [255, 255, 255]  # transparent corners lie on white
        assert b[0, 0, 3] == 0
        assert b[8, 8, 3] == 255
    for arrays in rgb.arrays:
        assert set(np.unique(arrays["alpha"])) == {0, 255}
        assert arrays["parts"].max() < len(faces.PARTS)
        assert arrays["attributes"].dtype == np.int32


@pytest.mark.parametrize("style", STYLES)
def test_every_variant_has_flat_classes_only(style):
    """No pixel of the flat drawing is a blend of two classes."""
    flat = faces._definitions(style)[1]
    colours = {(*bytes.fromhex(faces._flat_colour(c)[1:]), 255) for c in range(len(faces.PARTS))}
    person = faces._person(0, style)
    for attribute, values in faces.STYLES[style].table.items():
        for value, options in values.items():
            drawn = faces._options(0, style, {**person, attribute: value})
            for option, variants in options.items():
                if option.endswith("Variant"):
                    for variant in variants:
                        pixels = render(flat, {**drawn, option: [variant]}, 24).reshape(-1, 4)
                        found = set(map(tuple, pixels.tolist())) - {(0, 0, 0, 0)}
                        assert found <= colours, variant


def hexadecimal(options, name):
    return [int(options[name][0][i : i + 2], 16) for i in (1, 3, 5)]


@pytest.mark.parametrize("style", STYLES)
def test_parts_lie_where_the_picture_has_them(style):
    (source,) = open_source(f"faces:20:{style}", size=48)
    named = {name: c for c, name in enumerate(faces.PARTS)}
    chosen = faces.people("train", 20, style)
    kept = definition(style)["colors"]
    for i, k in enumerate(chosen):
        example, seen = source[i], faces.attributes(k, style)
        parts, alpha = example["parts"][..., 0], example["alpha"][..., 0] > 0
        assert (alpha != (parts > 0)).mean() < 0.02  # thin strands
        shown = {name: (parts == c).any() for name, c in named.items()}
        assert shown["skin"]
        assert shown["glasses"] == (seen["glasses"] != "none")
        assert shown["beard"] == (seen["beard"] != "none")
        assert shown["headwear"] == (seen.get("headwear", "none") != "none")
        if style != "open-peeps":  # whose outlines and hair are one mark
            assert shown["hair"] == (seen["hair"] != "unseen")
        codes = example["attributes"]
        assert [faces.VALUES[n][v] for n, v in zip(source.attribute_names, codes)] == list(
            seen.values()
        )
        # Each colour that a person has is the commonest one of its part.
        options = faces._options(k, style, faces._person(k, style))
        coloured = {"skin": "skinColor", "clothes": "clothesColor", "hair": "hairColor"}
        if style == "avataaars" and "hair" in kept:
            for part, option in coloured.items():
                here = example["image"][parts == named[part]][:, :3]
                if len(here) > 60 and shown[part]:
                    found, count = np.unique(here, axis=0, return_counts=True)
                    assert found[count.argmax()].tolist() == hexadecimal(options, option)


LAYERS = {
    "glasses": ("accessories",),
    "beard": ("facialHair",),
    "expression": ("mouth",),
    "eyes": ("eyes",),
    "hair": ("top",),
    "hair_colour": ("top", "facialHair"),
    "headwear": ("top",),
    "clothes": ("clothes",),
    "clothes_colour": ("clothes",),
}


@pytest.mark.parametrize("attribute", LAYERS)
def test_a_counterfactual_differs_in_its_layer_alone(attribute):
    """The layers are drawn alone, by the package, before and after the change."""
    import dicebear

    bare = definition("avataaars")
    elements = bare["canvas"]["elements"]
    bare["canvas"]["elements"] = [e for e in elements if e["name"] in LAYERS[attribute]]
    layer = dicebear.Style(bare)
    table = faces.STYLES["avataaars"].table[attribute]
    for k in (2, 16):
        person = faces._person(k, "avataaars")
        other = next(v for v in table if v not in (person[attribute], "none"))
        before, after = faces.counterfactual(k, 48, **{attribute: other})
        differ = (before["image"] != after["image"]).any(-1)
        assert differ.any()
        inside = np.zeros_like(differ)
        for p in (person, {**person, attribute: other}):
            inside |= render(layer, faces._options(k, "avataaars", p), 48)[..., 3] > 0
        assert not (differ & ~inside).any()
        names = np.array(list(faces.VALUES))
        changed = set(names[before["attributes"] != after["attributes"]])
        follows = {"headwear": {"headwear_colour", "hair", "hair_colour"}, "glasses": {"eyes"}}
        assert attribute in changed
        assert changed - {attribute} <= follows.get(attribute, set())


def test_a_counterfactual_of_what_is_there_already_is_the_same():
    person = faces._person(5, "lorelei")
    before, after = faces.counterfactual(5, 24, "lorelei", **person)
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
        for k in chosen:
            sides[tuple(faces.attributes(k, style).values())].add(split)
    assert all(len(side) == 1 for side in sides.values())


def test_attributes_are_drawn_as_often_as_they_weigh():
    seen = [faces.attributes(k) for k in range(1500)]
    share = lambda name, value: np.mean([person[name] == value for person in seen])
    # 3 of the 9.5 that the three values weigh; four headwears beside a weight of 12.
    assert abs(share("glasses", "glasses") - 3 / 9.5) < 4 * (0.32 * 0.68 / 1500) ** 0.5
    assert abs(share("headwear", "none") - 12 / 16) < 4 * (0.75 * 0.25 / 1500) ** 0.5
    assert abs(share("skin_tone", "dark") - 1 / 5) < 4 * (0.2 * 0.8 / 1500) ** 0.5
    # A style with fewer values shows the same wherever it has the value that was drawn.
    for k in range(200):
        a, b = faces._person(k, "avataaars"), faces._person(k, "personas")
        for name in set(a) & set(b):
            if a[name] in faces.STYLES["personas"].table[name] and a["headwear"] != "hijab":
                assert a[name] == b[name]


def test_captions():
    seen = {
        "skin_tone": "dark", "hair": "short", "hair_colour": "brown", "headwear": "none",
        "headwear_colour": "none", "glasses": "glasses", "beard": "beard",
        "expression": "smiling", "eyes": "closed", "clothes": "hoodie", "clothes_colour": "red",
    }  # fmt: skip
    assert faces.caption(seen) == (
        "a smiling person with dark skin, short brown hair, a beard and closed eyes, wearing a red "
        "hoodie and glasses"
    )
    covered = {"headwear": "turban", "headwear_colour": "blue", "hair": "unseen", "eyes": "unseen"}
    assert faces.caption({**seen, **covered, "expression": "open", "glasses": "none"}) == (
        "a person with an open mouth, dark skin and a brown beard, wearing a red hoodie and a "
        "blue turban"
    )
    assert faces.caption(
        {"skin_tone": "light", "hair": "bun", "beard": "none", "expression": "angry"}
    ) == ("an angry person with light skin and hair in a bun")
    seen = {
        "skin_tone": "medium", "hair": "bob", "hair_colour": "pink", "clothes": "overall",
        "clothes_colour": "green", "expression": "unseen", "glasses": "sunglasses",
    }  # fmt: skip
    assert faces.caption(seen) == (
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
        alike = lambda people: {str(faces.attributes(k, style)) for k in people}
        assert not alike(train) & alike(ks[2])
    k = min(ks[2])
    for name, style in (("a", "lorelei"), ("b", "personas")):
        before, _ = faces.counterfactual(k, 16, style)
        np.testing.assert_array_equal(test[sorted(ks[2]).index(k)][name], before["image"])


def test_a_stop_while_drawing_leaves_whole_blocks_only(cache, monkeypatch):
    draw, drawn = faces._draw, []

    def stopped(k, *how):
        drawn.append(k)
        if k == 13:
            raise KeyboardInterrupt
        return draw(k, *how)

    monkeypatch.setattr(faces, "_draw", stopped)
    with pytest.raises(KeyboardInterrupt):
        open_source("faces:20", size=17)
    assert [path.name for path in cache.rglob("17/*")] == ["0.npz"]
    monkeypatch.setattr(faces, "_draw", lambda k, *how: drawn.append(k) or draw(k, *how))
    drawn.clear()
    (source,) = open_source("faces:20", size=17)
    assert drawn == list(range(10, 20))
    before, _ = faces.counterfactual(faces.people("train", 20)[-1], 17)
    np.testing.assert_array_equal(source[len(source) - 1]["image"], before["image"])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("faces:0", "faces needs one person or more, not 0"),
        ("faces:5:monalisa", 'no style "monalisa"; the styles are avataaars, lorelei'),
        ("faces:lorelei:5", "faces takes a number of people and then a style, not lorelei:5"),
        ("faces:5:lorelei:5", "faces takes no more than faces:N:STYLE"),
        ("faces-domains:lorelei", "then 2 styles, not lorelei"),
        ("faces:1", "faces:1 has nobody for test; ask for more people"),
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
    faces._definitions.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'needs dicebear-core: pip install "jaxgen\[samples\]"'):
        open_source("faces:5", size=16)
