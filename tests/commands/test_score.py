"""`score`: how likely a run holds a user's images, from the command and from Python."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxgen as jg
from jaxgen.errors import UserError
from jaxgen.experiments import vae
from jaxgen.runs.load import load
from jaxgen.train.abilities import Density
from tests.quick import quick_to_compile  # noqa: F401
from tests.runs import toys


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs with densities and with an energy, each as words of the command."""
    root = tmp_path_factory.mktemp("runs")
    named = {"densities": toys.scoring_system, "energy": toys.energy_system}
    for name, system in named.items():
        toys.saved(toys.scoring(system), root / name)
    return {k: (root / k, f"--system=tests.runs.toys:{v.__name__}") for k, v in named.items()}


@pytest.fixture
def files(tmp_path):
    """Images of other sizes: grey with one white pixel, and black."""
    grey = np.full((4, 4), 40, np.uint8)
    grey[0, 0] = 255
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.new("RGB", (20, 10)).save(tmp_path / "long name.png")
    return [tmp_path / "grey.png", tmp_path / "long name.png"]


def test_a_line_an_image(runs, files, jaxgen):
    """bits a dimension are -nats / (log 2 * 48)."""
    code, said, problem = jaxgen("score", runs["densities"][0], *files, runs["densities"][1])
    assert (code, problem) == (0, "")
    mean = (15 * 40 + 255) / 16
    lines = [
        f"{files[0]}       log_prob 255 nats ({-255 / np.log(2) / 48:.4g} bits a dimension, exact, "
        f"of grey levels); bound {mean:.6g} nats ({-mean / np.log(2) / 48:.4g} bits a dimension, "
        f"a bound, of levels); odd {mean:.6g} nats (no likelihood: shades)",
        f"{files[1]}  log_prob 0 nats (-0 bits a dimension, exact, of grey levels); bound 0 nats "
        "(-0 bits a dimension, a bound, of levels); odd 0 nats (no likelihood: shades)",
    ]
    assert said.splitlines() == lines
    code, said, _ = jaxgen("score", runs["energy"][0], files[0].parent, runs["energy"][1])
    assert [line.split("energy ")[-1] for line in said.splitlines()] == ["-53.438", "-0"]


def test_from_python(runs, files):
    """Neither the number of images at a time nor their size matters."""
    trained = load(runs["densities"][0], toys.scoring_system)
    images = [np.full((n, 9, 1), 10 * n, np.uint8) for n in range(1, 6)]
    for batch in (2, 64):
        found = trained.score(images, batch=batch)
        assert set(found) == {"log_prob", "bound", "odd"}
        np.testing.assert_allclose(found["bound"], [10, 20, 30, 40, 50], rtol=1e-5)
    np.testing.assert_allclose(trained.score(files)["log_prob"], [255, 0], atol=1e-4)
    with pytest.raises(UserError, match="takes no label; leave it out$"):
        trained.score(images, label=1)


def test_scores_that_are_not_numbers(runs, files):
    trained = load(runs["densities"][0], toys.scoring_system)
    odd = Density(lambda nets, batch, key: jnp.sqrt(batch["image"].mean((1, 2, 3))))
    trained = dataclasses.replace(
        trained, system=dataclasses.replace(trained.system, abilities=(odd,))
    )
    white, black = (np.full((4, 4, 3), level, np.uint8) for level in (255, 0))
    assert trained.score([white])["log_prob"] == 1
    line = ": its log_prob is not a number; use another round of densities"
    with pytest.raises(UserError, match=f"^image 2{line}"):
        trained.score([white, black])
    with pytest.raises(UserError, match=f"^{files[1]}{line}"):
        trained.score(files[1:])
    data = jg.arrays({"image": np.stack([white, black])})
    with pytest.raises(UserError, match="^log_prob is not a number here; leave it out, or score "):
        trained.evaluate("log_prob", data=data)
    with pytest.raises(UserError, match="^auroc: 2 of the scores are not a number; leave it out, "):
        trained.evaluate("auroc", data=data, other=data)


def test_the_noise_is_the_images_own():
    """Neither its neighbours, its place nor how many are scored at a time change a bound, which
    `evaluate` gives, too."""
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), dtype=np.uint8)
    data = jg.arrays({"image": images})
    args = vae.Args(size=4, units=4, latent=2, importance_samples=2)
    trained = toys.trained(vae.system(args, data.info), data.info)
    bounds = trained.score(images)["elbo"]
    assert len(set(bounds)) == len(images)
    same = lambda *found: np.testing.assert_allclose(*found, rtol=1e-5)
    same(trained.score(images[::-1], batch=4)["elbo"], bounds[::-1])
    same(trained.score(images[3:4])["elbo"], bounds[3:4])
    assert (abs(trained.score(images, seed=1)["elbo"] - bounds) > 1e-3).all()
    for batch in 4, 64:
        same(trained.evaluate("elbo", data=data, batch=batch)["elbo"], bounds.mean())


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["{run}"], "name an image file, or a folder of them, after the run"),
        (["{run}", "none.png"], "there is no none.png; name image files"),
        (
            ["{gan}", "{file}"],
            "wgan gives images no likelihood; gaussian, vae, pixelcnn, realnvp and ebm are systems",
        ),
        (["{run}", "{broken}"], "broken.png is not a readable image"),
    ],
)
def test_mistakes(runs, trained, files, jaxgen, tmp_path, words, problem):
    (tmp_path / "broken.png").write_bytes(b"no image")
    known = {"{run}": runs["energy"][0], "{gan}": trained, "{file}": files[0]}
    known |= {"{broken}": tmp_path / "broken.png"}
    system = [] if "{gan}" in words else [runs["energy"][1]]
    code, _, line = jaxgen("score", *(known.get(word, word) for word in words), *system)
    assert (code, line.count("\n")) == (2, 1)
    assert problem in line
