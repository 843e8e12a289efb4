"""The study of random codes: how they are drawn, and two rounds of it."""

import json

import jax
import numpy as np
import pytest

from jaxgen.commands import study
from jaxgen.commands.arguments import parse
from jaxgen.data.arrays import arrays
from jaxgen.evaluate import classifier
from jaxgen.experiments import codes
from jaxgen.train.devices import make_mesh
from jaxgen.train.nets import init, place
from tests.quick import quick_to_compile  # noqa: F401


def test_random_codes_have_the_moments_of_codes():
    """Two correlated numbers, one of which hardly varies."""
    rng = np.random.default_rng(0)
    own = rng.normal(size=(2000, 2)) @ np.array([[2.0, 1], [0, 0.01]]) + np.array([5, -3])
    drawn = codes.gaussian(own, 20_000, np.random.default_rng(1))
    np.testing.assert_allclose(drawn.mean(axis=0), own.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(own.T), rtol=0.05)
    one = codes.gaussian(own[:, :1], 20_000, np.random.default_rng(1))
    assert one.shape == (20_000, 1)
    assert one.std() == pytest.approx(own[:, 0].std(), rel=0.05)


def test_what_is_measured(tmp_path, monkeypatch):
    """Untrained networks, and a judge that is surer of an image the lighter it is."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 28, 28, 1), dtype=np.uint8)
    data = arrays({"image": image, "label": np.arange(60) % 3}, held_out=0.5)

    def judge(train, network, *, seed, run):
        assert train["image"].shape[1:] == (28, 28, 1)
        light = lambda images: np.float32(images).mean(axis=(1, 2, 3)) / 64
        return lambda images: np.stack([light(images), 0 * light(images)], axis=1)

    def fit(system, data, rounds, *, run, **schedule):
        trained.append((run.folder.name, rounds))
        return place(init(system, jax.random.key(0)), make_mesh(jax.devices()[:1]))

    trained = []
    monkeypatch.setattr(classifier, "classifier", judge)
    monkeypatch.setattr("jaxgen.train.fit.fit", fit)
    monkeypatch.setattr("jaxgen.data.pipeline.load", lambda *args, **options: data)
    name = codes.__name__
    flags = ["--rounds", "2", "--units", "4", "--latents", "2"]
    args = parse(codes.Args, name, [*flags, "--workdir", str(tmp_path)])
    study.make(name, codes.study, args)
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    plain, random = numbers["codes"]
    assert (plain["net"], random["net"]) == ("autoencoder", "vae")
    assert "prior" not in plain
    held = data.held_out(500)
    sure = 1 / (1 + np.exp(-held["image"].mean(axis=(1, 2, 3)) / 64))  # the softmax of (light, 0)
    assert numbers["digits"] == pytest.approx(sure.mean(), rel=1e-3)
    assert numbers["classifier_accuracy"] == np.mean(held["label"] == 0)
    shares = [entry[k] for entry in (plain, random) for k in ("random", "reconstructed")]
    assert all(0.5 < share < 1 for share in [*shares, random["prior"]])
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert trained == [("1-autoencoder-2", 2), ("2-vae-2", 2)]
