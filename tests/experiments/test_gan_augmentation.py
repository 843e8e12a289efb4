"""The study of samples as training data: its sets, and two rounds of it."""

import json

import jax
import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from jaxgen.commands import study
from jaxgen.commands.arguments import parse
from jaxgen.data.arrays import arrays
from jaxgen.errors import UserError
from jaxgen.evaluate import classifier
from jaxgen.experiments import gan_augmentation
from jaxgen.train.devices import make_mesh
from jaxgen.train.nets import init, place
from tests.quick import quick_to_compile  # noqa: F401


def examples(n, start=0):
    """Images whose every pixel is their number; labels in turn."""
    image = np.arange(start, start + n, dtype=np.uint8)[:, None, None, None]
    return {"image": np.tile(image, (1, 8, 8, 1)), "label": np.arange(n, dtype=np.int32) % 10}


def numbers(images):
    return images[:, 0, 0, 0].tolist()


def test_some_of_each_class():
    digits = examples(100)
    chosen = gan_augmentation.some(digits, 4, np.random.default_rng(0))
    assert np.bincount(chosen["label"]).tolist() == [4] * 10
    assert len(set(numbers(chosen["image"]))) == 40
    assert all(i % 10 == label for i, label in zip(numbers(chosen["image"]), chosen["label"]))
    others = gan_augmentation.some(digits, 4, np.random.default_rng(1))
    assert set(numbers(others["image"])) != set(numbers(chosen["image"]))


def test_sets_are_of_one_size_and_halves():
    real, made = examples(20), examples(100, 100)
    found = gan_augmentation.sets(real, made, np.random.default_rng(0))
    assert list(found) == list(gan_augmentation.SETS)
    assert {len(x["image"]) for x in found.values()} == {100}
    assert np.bincount(numbers(found["real"]["image"])).tolist() == [5] * 20  # copies
    mixed = np.array(numbers(found["real + generated"]["image"]))
    assert (mixed < 100).sum() == 50
    shuffled = found["shuffled"]
    assert numbers(shuffled["image"]) == numbers(made["image"])
    assert (shuffled["label"] == made["label"]).mean() < 0.3
    assert sorted(shuffled["label"]) == sorted(made["label"])
    for name, own in found.items():
        right = np.array(numbers(own["image"])) % 10 == own["label"]
        assert "shuffled" in name or "classic" in name or right.all()


def test_digits_are_turned_and_moved_a_little():
    """A bar in the middle: its mass stays, its centre moves by at most a tenth."""
    bar = np.zeros((200, 32, 32, 1), np.uint8)
    bar[:, 8:24, 14:18] = 200
    moved = gan_augmentation.turned(bar, np.random.default_rng(0))
    assert moved.shape == bar.shape
    assert moved.dtype == np.uint8
    centres = np.array([center_of_mass(image[..., 0]) for image in moved])
    off = np.abs(centres - 15.5)
    assert off.max() < 3.2 + 0.1
    assert off.max() > 2.5
    mass = moved.sum((1, 2, 3)) / bar[0].sum()
    assert (mass > 0.77).all()
    assert (mass < 1.25).all()
    assert mass.std() > 0.05
    columns = (moved[..., 0] > 100).any(1).sum(1)  # a bar of 16 at 15 degrees is 4 wider
    assert columns.min() >= 3
    assert columns.max() >= 7


def test_what_is_measured(tmp_path, monkeypatch):
    """Untrained GANs, and classifiers that know the images they have seen by heart."""
    level = np.arange(400) // 10  # of 40 images of each class, each grey level means one label
    image = np.tile(np.asarray(6 * level, np.uint8)[:, None, None, None], (1, 8, 8, 1))
    data = arrays({"image": image, "label": level % 10}, held_out=0.25)
    trained = []

    def fit(system, own, rounds, *, run, **schedule):
        trained.append((run.folder.name, len(own), schedule["seed"]))
        example = lambda n: {"image": np.zeros((n, 8, 8, 1), np.float32), "label": np.zeros(n)}
        return place(init(system, jax.random.key(0), example), make_mesh(jax.devices()[:1]))

    def learn(train, network, *, rounds, seed):
        first = train["image"].reshape(len(train["label"]), -1).mean(1).round()
        known = dict(zip(first, train["label"], strict=True))
        answer = lambda x: known.get(x.mean().round(), -1)
        return lambda images: np.stack([np.eye(11)[answer(x)] for x in images])

    monkeypatch.setattr("jaxgen.train.fit.fit", fit)
    monkeypatch.setattr(classifier, "classifier", learn)
    monkeypatch.setattr("jaxgen.data.pipeline.load", lambda *args, **options: data)
    monkeypatch.setattr(gan_augmentation, "MADE", 400)
    name = gan_augmentation.__name__
    flags = [
        "--rounds",
        "2",
        "--images",
        "2",
        "25",
        "--repeats",
        "2",
        "--batch-size",
        "20",
        "--size",
        "8",
    ]
    args = parse(gan_augmentation.Args, name, [*flags, "--workdir", str(tmp_path)])
    study.make(name, gan_augmentation.study, args)
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert [(e["images"], e["repeat"]) for e in found["repeats"]] == [
        (n, k) for n in (2, 25) for k in (0, 1)
    ]
    assert trained == [
        (f"{i}-gan-{n}-{k}", 10 * n, k)
        for i, n, k in ((0, 2, 0), (1, 2, 1), (2, 25, 0), (3, 25, 1))
    ]
    few, many = found["summary"]
    assert few["real"][0] < 0.8 < many["real"][0]  # of 4 levels of a class
    assert few["generated"][0] < 0.5
    pair = [e["real"] for e in found["repeats"][:2]]
    assert few["real"] == pytest.approx([np.mean(pair), np.std(pair)], abs=1e-3)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_mistakes():
    for flags, line in (
        ({"images": ()}, "--images are from 1 to 450"),
        ({"images": (10, 451)}, "--images are from 1 to 450"),
        ({"images": (5,)}, "--images are 7 or more"),
        ({"size": 24}, "--size is 8, 16, 32, ... pixels, not 24"),
    ):
        with pytest.raises(UserError, match=line):
            gan_augmentation.Args(**flags).check()
