"""The study of a VAE beside a GAN: what sharpness is, and two rounds of it."""

import json

import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jaxgen.commands import study
from jaxgen.commands.arguments import parse
from jaxgen.data.arrays import arrays
from jaxgen.errors import UserError
from jaxgen.experiments import vae_vs_gan
from jaxgen.runs.trained import TrainedRun
from jaxgen.train.devices import make_mesh
from jaxgen.train.nets import init, place
from tests.quick import quick_to_compile  # noqa: F401


def test_sharpness_falls_with_blur():
    """A step of 1 in one column: the Laplacian is 1 and -1 beside it, 0 elsewhere."""
    step = np.zeros((1, 6, 6, 1), np.uint8)
    step[:, :, 3:] = 255
    laplacian = np.tile([0.0, 1.0, -1.0, 0.0], (4, 1))
    assert vae_vs_gan.sharpness(step) == pytest.approx(laplacian.var(), rel=1e-6)
    image = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    blurred = [gaussian_filter(image, sigma)[None, :, :, None] for sigma in (0, 0.5, 1, 2)]
    values = [vae_vs_gan.sharpness(x) for x in blurred]
    assert (np.diff(values) < 0).all()
    flat = np.full((2, 5, 5, 1), 77, np.uint8)
    assert vae_vs_gan.sharpness(flat) == pytest.approx(0, abs=1e-10)


def test_what_is_measured(tmp_path, monkeypatch):
    """Untrained networks: as many rounds for both, on images of all parts of the data."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (80, 28, 28, 1), dtype=np.uint8)
    data = arrays({"image": image}, held_out=0.5)
    trained = []

    def fit(system, own, rounds, *, run, **schedule):
        trained.append((run.folder.name, rounds, len(own)))
        run.log({"round": rounds, "seconds": 7.5})
        example = lambda n: {"image": np.zeros((n, 28, 28, 1), np.float32)}
        return place(init(system, jax.random.key(0), example), make_mesh(jax.devices()[:1]))

    def evaluate(run, *names, data, samples=0):
        assert len(data) == len(held)
        return {f"{name}-squeezenet" if samples else name: 0.5 for name in names}

    held = data.held_out(500)["image"]
    monkeypatch.setattr("jaxgen.train.fit.fit", fit)
    monkeypatch.setattr("jaxgen.data.pipeline.load", lambda *args, **options: data)
    monkeypatch.setattr(TrainedRun, "evaluate", evaluate)
    name = vae_vs_gan.__name__
    flags = ["--rounds", "2", "--units", "8", "--batch-size", "4", "--images", "5", "20"]
    args = parse(vae_vs_gan.Args, name, [*flags, "--workdir", str(tmp_path)])
    study.make(name, vae_vs_gan.study, args)
    entries = json.loads((tmp_path / "numbers.json").read_text())["systems"]
    assert [(e["images"], e["net"]) for e in entries] == [
        (n, net) for n in (5, 20) for net in ("vae", "gan")
    ]
    assert all(e["coverage-squeezenet"] == 0.5 and e["sharpness"] > 0 for e in entries)
    assert ["elbo" in e for e in entries] == [True, False] * 2
    assert [e["seconds"] for e in entries] == [7.5] * 4
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert trained == [
        (f"{i}-{e['net']}-{e['images']}", 2, e["images"]) for i, e in enumerate(entries)
    ]


def test_mistakes():
    for images in ((), (50,), (100, 5000)):
        with pytest.raises(UserError, match="--images are from --batch-size to 4500"):
            vae_vs_gan.Args(images=images).check()
