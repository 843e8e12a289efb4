"""Batches: the same order for any number of processes, with or without decoding, from any place."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxgen import files
from jaxgen.data import pipeline
from jaxgen.data.order import Order
from jaxgen.data.pipeline import load
from jaxgen.errors import UserError


@pytest.fixture
def numbered(tmp_path):
    """Ten images: number k is filled with 20 k; k is its label."""
    for k in range(10):
        folder = tmp_path / "set" / str(k)
        folder.mkdir(parents=True)
        Image.new("RGB", (9, 7), (20 * k,) * 3).save(folder / "x.png")
    return f"folder:{tmp_path / 'set'}"


@pytest.fixture
def domains(tmp_path):
    for folder, count in (("trainA", 7), ("trainB", 5)):
        (tmp_path / folder).mkdir()
        for k in range(count):
            Image.new("L", (4, 4), 10 * k).save(tmp_path / folder / f"{k}.png")
    return f"domains:{tmp_path}"


def take(batches, n):
    taken = [next(batches) for _ in range(n)]
    batches.close()
    return taken


def assert_same(one, two):
    assert len(one) == len(two)
    for x, y in zip(one, two, strict=True):
        assert x.keys() == y.keys()
        for k in x:
            np.testing.assert_array_equal(x[k], y[k])


def test_examples_and_batches_have_the_promised_form(numbered):
    data = load(numbered, size=6, resident="no")
    assert (len(data), data.info.shape, data.info.label_names[3]) == (10, (6, 6, 3), "3")
    assert data.augment is None
    example = data[4]
    assert (example["image"].shape, example["image"].dtype) == ((6, 6, 3), np.uint8)
    assert (example["image"] == 80).all()
    assert example["label"].dtype == np.int32
    batches = data.batches(8, 0)
    (batch,) = take(batches, 1)
    assert batch["image"].shape == (8, 6, 6, 3)
    assert batch["label"].dtype == np.int32
    np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], 20 * batch["label"])


def test_an_epoch_shows_every_example_once_and_the_next_in_another_order():
    order = Order(10, seed=3)
    epochs = [order(10 * e, 10).tolist() for e in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3
    np.testing.assert_array_equal(order(7, 19), np.concatenate(epochs)[7:26])
    assert Order(10, seed=4)(0, 10).tolist() != epochs[0]


def test_the_order_is_fixed_for_good():
    """A checkpoint of an older version must go on with the same data: epoch e is the permutation
    that sorts Philox's numbers of the seed sequence (seed; stream, e)."""
    epochs = []
    for epoch in range(2):
        philox = np.random.Philox(np.random.SeedSequence(0, spawn_key=(0, epoch)))
        epochs += sorted(range(8), key=philox.random_raw(8).tolist().__getitem__)
    assert Order(8, seed=0)(0, 16).tolist() == epochs


def test_small_sets_repeat_within_a_batch(numbered):
    (batch,) = take(load(numbered, size=2).batches(25, 0), 1)
    counts = np.bincount(batch["label"], minlength=10)
    assert (counts.min(), counts.max()) == (2, 3)


@pytest.mark.parametrize("resident", ["yes", "no"])
def test_shares_of_processes_make_the_global_batch(numbered, resident):
    data = load(numbered, size=2, resident=resident)
    whole = take(data.batches(12, 5), 3)
    for processes in (2, 4):
        shares = [
            take(data.batches(12, 5, process=p, processes=processes), 3) for p in range(processes)
        ]
        joined = [
            {k: np.concatenate([share[t][k] for share in shares]) for k in whole[t]}
            for t in range(3)
        ]
        assert_same(joined, whole)


def test_decoded_resident_and_indexed_batches_are_the_same(numbered):
    streamed = load(numbered, size=4, resident="no")
    held = load(numbered, size=4)
    assert streamed.resident is None
    assert held.resident["image"].shape == (10, 4, 4, 3)
    expected = take(streamed.batches(6, 1), 4)
    assert_same(take(held.batches(6, 1), 4), expected)
    indices = take(held.batches(6, 1, indices=True), 4)
    assert indices[0]["index"].dtype == np.int32
    assert_same([{k: x[i["index"]] for k, x in held.resident.items()} for i in indices], expected)


@pytest.mark.parametrize("resident", ["yes", "no"])
def test_state_goes_on_exactly(numbered, resident):
    data = load(numbered, size=2, resident=resident)
    whole = take(data.batches(4, 2), 9)
    batches = data.batches(4, 2)
    for _ in range(5):
        next(batches)
    state = json.loads(json.dumps(batches.get_state()))
    ahead = take(batches, 4)
    assert_same(ahead, whole[5:])
    batches.set_state(state)
    assert_same(take(batches, 4), whole[5:])
    fresh = data.batches(4, 2)
    fresh.set_state(state)
    assert_same(take(fresh, 4), whole[5:])
    assert_same(take(data.batches(4, 2, start=5), 4), whole[5:])


@pytest.mark.parametrize("resident", ["auto", "no"])
def test_unpaired_domains_are_shuffled_apart(domains, resident):
    data = load(domains, size=4, channels=1, resident=resident)
    assert len(data) == 7
    assert data.resident is None
    assert (data[6]["b"] == data[1]["b"]).all()
    batches = take(data.batches(35, 0), 1)
    a, b = (batches[0][k][:, 0, 0, 0] // 10 for k in "ab")
    assert np.bincount(a).tolist() == [5] * 7
    assert np.bincount(b).tolist() == [7] * 5
    assert len(set(zip(a.tolist(), b.tolist(), strict=True))) > 15
    with pytest.raises(UserError, match="cannot be indices"):
        data.batches(4, 0, indices=True)


def test_examples_are_spread_fixed_and_cycle(numbered):
    data = load(numbered, size=4)
    four = data.examples(4)["label"]
    assert len(set(four.tolist())) == 4
    assert np.ptp(four) >= 6
    many = data.examples(23)
    assert many["image"].shape == (23, 4, 4, 3)
    np.testing.assert_array_equal(many["label"][10:20], many["label"][:10])
    np.testing.assert_array_equal(many["label"][:4], four)


def test_random_crop_stores_larger_images(numbered):
    data = load(numbered, size=4, random_crop=6)
    assert data.info.shape == (4, 4, 3)
    assert data.resident["image"].shape == (10, 6, 6, 3)
    assert data.examples(2)["image"].shape == (2, 4, 4, 3)
    assert data.augment is not None


def test_fingerprint_covers_source_and_processing(numbered):
    prints = [
        load(numbered, size=4).fingerprint,
        load(numbered, size=5).fingerprint,
        load(numbered, size=4, channels=1).fingerprint,
        load(numbered, size=4, crop="pad").fingerprint,
        load(numbered, size=4, held_out=0.5).fingerprint,
        load("photos", size=4, split="test").fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert load(numbered, size=4, resident="no").fingerprint == prints[0]


def test_captions_become_tokens_and_stay_out_of_batches():
    letters = lambda caption: [len(caption), ord(caption[0])]
    data = load("photos", size=8, split="test", tokenize=letters)
    batch = next(data.batches(4, 0))
    assert set(batch) == {"image", "text"}
    assert (batch["text"].shape, batch["text"].dtype) == ((4, 2), np.int32)
    assert data.captions(2) == [data[0]["caption"], data[1]["caption"]]


def test_shipped_sets_are_decoded_once(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path))
    monkeypatch.setattr(files, "WORTH", -1)
    letters = lambda caption: [len(caption), ord(caption[0])]
    want = load("photos", size=8, split="test", resident="no", tokenize=letters)
    want = {name: want.examples(2)[name] for name in ("image", "text")}
    first = load("photos", size=8, split="test")
    monkeypatch.setattr(pipeline, "each", None)  # nothing is decoded
    again = load("photos", size=8, split="test")
    words = load("photos", size=8, split="test", tokenize=letters)
    assert first.fingerprint == again.fingerprint == words.fingerprint
    assert_same([first.examples(2), again.examples(2)], [{"image": want["image"]}] * 2)
    assert_same([words.examples(2)], [want])


def test_a_file_that_breaks_later_is_named(numbered, tmp_path):
    data = load(numbered, size=4, resident="no")
    (tmp_path / "set" / "7" / "x.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"7/x\.png is not a readable image"):
        take(data.batches(10, 0), 1)


def test_mistakes_are_named(numbered):
    data = load(numbered, size=4)
    with pytest.raises(UserError, match=r"batch of 6 cannot be split over 4 .* multiple of 4"):
        data.batches(6, 0, processes=4)
    for wrong in (
        {"size": 0},
        {"size": 4, "frames": 0},
        {"size": 4, "channels": 2},
        {"size": 4, "crop": "left"},
        {"size": 4, "resample": "best"},
        {"size": 4, "resident": "maybe"},
        {"size": 4, "random_crop": 3},
    ):
        with pytest.raises(UserError):
            load(numbered, **wrong)


def test_large_sets_are_not_held(numbered, monkeypatch):
    monkeypatch.setattr("jaxgen.data.pipeline.RESIDENT_BYTES", 10 * 4 * 4 * 3 - 1)
    assert load(numbered, size=4).resident is None
    assert load(numbered, size=4, channels=1).resident is not None
    assert load(numbered, size=4, resident="yes").resident is not None


@pytest.mark.parametrize(("resident", "most"), [("auto", 1), ("no", 2)])
def test_images_are_decoded_once_before_the_first_batch(numbered, monkeypatch, resident, most):
    """All that a training's start asks for; without room for them, once more for the examples."""
    from jaxgen.data import images

    decoded, whole = [], images.from_pil
    monkeypatch.setattr(images, "from_pil", lambda image: decoded.append(1) or whole(image))
    data = load(numbered, size=4, resident=resident)
    data.batches(4, 0, indices=data.resident is not None)
    data.batches(4, 0, indices=data.resident is not None)
    examples = data.examples(64)
    assert examples["image"].shape == (64, 4, 4, 3)
    assert len(decoded) == most * len(data)
    if resident == "auto":
        data.examples(8)
        assert len(decoded) == len(data)


def test_examples_are_the_same_from_memory(numbered, domains):
    for spec, options in ((numbered, {}), (numbered, {"random_crop": 6}), (domains, {})):
        held, streamed = (load(spec, size=4, resident=x, **options) for x in ("yes", "no"))
        assert_same([held.examples(15)], [streamed.examples(15)])
        assert_same([held.take([6, 0, 6])], [streamed.take([6, 0, 6])])


def test_captions_are_read_without_the_images(tmp_path, monkeypatch):
    from jaxgen.data import images

    for k in range(3):
        Image.new("L", (4, 4), k).save(tmp_path / f"{k}.png")
    rows = "".join(f"{k}.png,number {k}\n" for k in range(3))
    (tmp_path / "metadata.csv").write_text(f"file_name,caption\n{rows}")
    monkeypatch.setattr(images, "from_pil", None)
    data = load(f"folder:{tmp_path}", size=4, resident="no")
    assert data.all_captions(9) == ["number 0", "number 1", "number 2"]
    assert data.captions(4)[0] == data.captions(4)[3] == "number 0"
