"""Energies: a density is recovered from points, and what a trained system is used for."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxgen.data.arrays import arrays
from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.experiments.ebm import Args
from jaxgen.runs.trained import TrainedRun
from jaxgen.systems.likelihood.ebm import ebm
from jaxgen.train.abilities import Translator
from jaxgen.train.fit import fit
from jaxgen.train.nets import bind, init

MEANS = np.array([[0.3, 0.3], [0.7, 0.4], [0.4, 0.75]])
WEIGHTS = np.array([0.5, 0.3, 0.2])
SPREAD = 0.08
SHAPE = (4, 4, 1)
DATA = arrays({"image": np.zeros((4, *SHAPE), np.uint8)})


class Net(nn.Module):
    """Images, or points as images of one pixel with two channels, to energies."""

    classes: int = 0

    @nn.compact
    def __call__(self, x, label=None, *, train: bool = True):
        x = nn.swish(nn.Dense(64)(4 * x.reshape(len(x), -1) - 2))
        if label is not None:
            x += nn.Embed(self.classes, 64)(label)
        return nn.Dense(1)(nn.swish(nn.Dense(64)(x)))[:, 0]


def test_the_density_of_a_mixture_is_recovered():
    """exp(-E), normalised on a grid, beside three Gaussians of unequal weights in the plane.  With
    noise of variance 2 size the chains draw from it."""
    rng = np.random.default_rng(0)
    points = MEANS[rng.choice(3, 5000, p=WEIGHTS)] + SPREAD * rng.normal(size=(5000, 2))
    points = np.uint8(np.clip(256 * points, 0, 255)).reshape(-1, 1, 1, 2)
    noise, rounds = 0.03, 400
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, rounds), b1=0.0, b2=0.999)
    options = {"steps": 20, "size": noise**2 / 2, "noise": noise, "alpha": 0.0, "ema": 0.98}
    system = ebm(Net(), (1, 1, 2), optimizer, 128, **options)
    states = fit(system, arrays({"image": points}), rounds, batch_size=128, rounds_per_call=100)
    axis = (np.arange(64) + 0.5) / 64
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    energies = bind(states, jax.random.key(0)).energy(jnp.float32(grid).reshape(-1, 1, 1, 2))
    found = np.asarray(jax.nn.softmax(-energies))
    away = ((grid[:, None] - MEANS) ** 2).sum(-1)
    true = np.exp(-away / 2 / SPREAD**2) @ WEIGHTS
    true /= true.sum()
    divergence = lambda p: (true * np.log(true / p)).sum()
    assert divergence(np.full(64**2, 1 / 64**2)) > 1
    assert divergence(found) < 0.1
    near = away.argmin(1)
    shares = np.bincount(near, found)
    np.testing.assert_allclose(shares, np.bincount(near, true), atol=0.15)


@pytest.fixture(scope="module")
def run():
    """Fresh weights, for small images with labels."""
    system = ebm(Net(3), SHAPE, optax.adam(1e-3), 4, steps=2, size=0.05, labels=True)
    info = DataInfo(SHAPE, {"image": Field("image", 1), "label": Field("label")}, ("a", "b", "c"))
    return TrainedRun(system, init(system, jax.random.key(0)), info, 0, "made")


def test_chains_go_downhill_and_are_filmed(run):
    """The last frame of a film is the sample; the first is the noise that it starts from."""
    film = run.film(8, 5, label="b")
    assert film.shape == (5, 8, *SHAPE)
    assert abs(film[-1].astype(int) - run.sample(8, batch=8, label="b")).max() <= 1
    assert abs(film[0] / 255 - 0.5).max() > 0.4
    assert abs(film[0].mean() / 255 - 0.5) < 0.1
    with pytest.raises(UserError, match="^steps is at least 1, not 0"):
        run.film(8, 5, steps=0)
    energies = [run.score(frame, label="b", batch=8)["energy"].mean() for frame in film]
    assert (np.diff(energies) < 0).all()


def test_inpainting_paints_the_hole_alone(run):
    image = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 2:] = 255
    options = {"mask": mask, "label": "a"}
    paint = lambda **choices: run.translate(image, **options | choices).astype(int)
    painted = paint()
    assert abs(painted[:, :2] - image[:, :2]).max() <= 1
    for other in (image, paint(seed=1), paint(label=1)):
        assert (painted[:, 2:] != other[:, 2:]).any()
    with pytest.raises(UserError, match="label is needed, and has no default; there are a, b, c"):
        paint(label=None)
    with pytest.raises(UserError, match="label is one value here, not 2"):
        paint(label=["a", "c"])
    given, truth = run.system.ability(Translator).pair(run.info.zeros(2))
    assert set(given) == {"image", "mask", "label"}
    assert given["mask"][:, :2].sum() == 0  # the lower half is what is scored
    assert given["mask"][:, 2:].all()
    assert truth.shape == (2, *SHAPE)


def test_an_image_has_an_energy_by_label(run):
    image = np.full(SHAPE, 200, np.uint8)
    energies = run.score([image] * 4, label=["a", "b", "c", 0])["energy"]
    assert len(set(energies[:3].round(2))) == 3
    with pytest.raises(UserError, match="label is needed: made scores an image and its label"):
        run.score([image])
    with pytest.raises(UserError, match="auroc is of images alone, and made scores their label"):
        run.evaluate("auroc", data=DATA, other=DATA)
    np.testing.assert_allclose(energies[3], energies[0], atol=0.05)  # but for the grey's noise


def test_images_too_small_for_the_residual_network():
    with pytest.raises(UserError, match="--size 8 or more, not 4x8"):
        Args(net="resnet", size=(4, 8)).check()
