"""What makes BigGAN itself: orthogonal regularisation, truncation, standing statistics."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.experiments import biggan as experiment
from jaxgen.latents import truncated
from jaxgen.losses.penalties import orthogonality
from jaxgen.models import biggan as models
from jaxgen.nn.spectral import power_iteration
from jaxgen.runs.sampling import prepared
from jaxgen.runs.trained import TrainedRun
from jaxgen.systems.gan.biggan import biggan
from jaxgen.train.abilities import Sampler
from jaxgen.train.nets import bind, init
from tests.quick import quick_to_compile  # noqa: F401

GOLDEN = Path(__file__).parents[1] / "golden/a"
SHAPE = (8, 8, 1)
INFO = DataInfo(SHAPE, {"image": Field("image", 1), "label": Field("label")}, tuple("0123"))
LATENT = 6


@pytest.fixture(scope="module")
def system():
    g = models.generator(8, 2, 0, channels=1, classes=4, embedding=3)
    d = models.discriminator(8, 2, 0, classes=4)
    return biggan(g, d, SHAPE, LATENT, (optax.sgd(1.0), optax.sgd(1.0)), orthogonal=0.01)


@pytest.fixture(scope="module")
def states(system):
    return init(system, jax.random.key(0))


def test_orthogonality_like_the_authors():
    """Their code adds half of the gradient."""
    golden = np.load(GOLDEN / "biggan_ortho.npz")
    w = jnp.asarray(golden["in_W"].T)
    with jax.default_matmul_precision("highest"):
        value, slope = jax.value_and_grad(orthogonality)(w)
        window = orthogonality(w.reshape(7, 1, 1, 5))
    np.testing.assert_allclose(value, golden["out_penalty_modified"], rtol=1e-5)
    np.testing.assert_allclose(window, value, rtol=1e-5)
    np.testing.assert_allclose(slope, golden["out_autograd_modified"].T, rtol=1e-5, atol=1e-5)
    half = golden["out_code_grad_modified"].T
    np.testing.assert_allclose(slope / 2, half, rtol=1e-5, atol=1e-5)


def test_losses_by_hand(system, states):
    """The regularisation is of all kernels of the generator, not of its table of classes."""
    label = jnp.array([3, 0, 2, 3])
    image = jax.random.normal(jax.random.key(1), (4, *SHAPE))
    batch, key = {"image": image, "label": label}, jax.random.key(2)

    @jax.jit
    def both():
        nets = bind(states, jax.random.key(3))
        fake = nets.generator.still(system.ability(Sampler).prior(key, 4), label)
        on_both = nets.discriminator.still(jnp.concatenate([image, fake]), jnp.tile(label, 2))
        on_fake = nets.discriminator.still(fake, label)
        losses = [turn.loss(bind(states, jax.random.key(3)), batch, key) for turn in system.turns]
        return on_both, on_fake, losses

    on_both, on_fake, (of_d, of_g) = both()
    real, fake = np.split(np.asarray(on_both), 2)
    wanted = np.maximum(1 - real, 0).mean() + np.maximum(1 + fake, 0).mean()
    np.testing.assert_allclose(of_d[0], wanted, rtol=1e-4)
    params = states["generator"].params
    leaves = [w for path, w in jax.tree_util.tree_leaves_with_path(params)]
    kernels = [np.reshape(w, (-1, w.shape[-1])) for w in leaves if w.ndim in (2, 4)]
    kernels = [w for w in kernels if w.shape != params["embedding"].shape]
    assert len(kernels) == 9  # four norms' lines, three convolutions, the first and the last layer
    grams = [w.T @ w for w in kernels]
    apart = sum((g**2).sum() - (np.diag(g) ** 2).sum() for g in grams)
    np.testing.assert_allclose(of_g[1]["orthogonality"], apart, rtol=1e-4)
    np.testing.assert_allclose(of_g[0], -on_fake.mean() + 0.01 * apart, rtol=1e-4)


@pytest.mark.parametrize("tau", [0.04, 0.5, 2.0])
def test_truncated_latents(tau):
    z = np.random.default_rng(0).normal(size=(1000, 5)).astype(np.float32)
    found = np.asarray(truncated(jnp.asarray(z), tau))
    wanted = stats.truncnorm(-tau, tau).ppf(stats.norm.cdf(np.float64(z)))
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert abs(found).max() <= tau
    # what is left of N(0, 1) where the others are drawn anew
    left = np.random.default_rng(1).normal(size=400_000)
    left = left[abs(left) <= tau]
    assert stats.ks_2samp(found.ravel(), left).pvalue > 1e-3


def test_standing_statistics_are_of_the_latents_in_use(system, states):
    """Those of the first norm can be told: its input is linear in the truncated latents.  They are
    of the averaged weights."""
    twice = lambda tree: jax.tree.map(lambda x: 2 * x, tree)
    g = states["generator"]
    g = g.replace(ema={"params": twice(g.params), "batch_stats": g.ema["batch_stats"]})
    trained = TrainedRun(system, {**states, "generator": g}, INFO, 0, "biggan")
    sampler = system.ability(Sampler)
    kernel = g.ema["params"]["first"]["kernel"]
    _, _, sigma = power_iteration(kernel.T, g.collections["spectral"]["first"]["spectral"]["u"])
    w = np.asarray(kernel / sigma).reshape(3, 16, -1)  # three latents, 4 x 4 pixels, channels
    for tau in (0.5, 2.0):
        used = prepared(trained, sampler, (("truncation", tau), ("standing", 64)))
        kept = used.states["generator"].collections["batch_stats"]["level0"]["norm1"]["norm"]
        spread = stats.truncnorm(-tau, tau).var() * (w**2).mean(1).sum(0)
        np.testing.assert_allclose(kept["var"], spread, rtol=0.1)
        np.testing.assert_allclose(kept["mean"], np.zeros_like(spread), atol=0.05 * tau)
    same = prepared(trained, sampler, (("truncation", tau), ("standing", 0)))
    np.testing.assert_array_equal(
        same.states["generator"].collections["batch_stats"]["norm"]["mean"], np.zeros(4)
    )


def test_samples_are_made_with_the_statistics_of_their_truncation(system, states):
    trained = TrainedRun(system, states, INFO, 0, "biggan")
    some = trained.sample(8, label=1, truncation=0.5, batch=8)
    assert some.shape == (8, *SHAPE)
    assert (some != trained.sample(8, label=1, batch=8)).any()
    assert (some != trained.sample(8, label=1, truncation=0.5, standing=0, batch=8)).any()
    with pytest.raises(UserError, match=r"^truncation is at least 0.01, not 0$"):
        trained.sample(1, truncation=0.0)


def test_mistakes():
    small = {"size": 8, "width": 2, "attention": 0}
    bare = DataInfo(SHAPE, {"image": Field("image", 1)})
    with pytest.raises(UserError, match="^mnist5k has no labels; name other data$"):
        experiment.system(experiment.Args(data="mnist5k"), bare)
    with pytest.raises(UserError, match="^--latent 7 is no multiple of 2; use 8$"):
        experiment.system(experiment.Args(latent=7, **small), INFO)
    with pytest.raises(UserError, match="^--embedding 0 leaves .*; add --no-hierarchical$"):
        experiment.Args(embedding=0).check()
    generator = experiment.system(experiment.Args(size=8, width=2, latent=8), INFO)
    assert generator.players["generator"].module.attention == (0,)  # the only one
    assert [models.usual_attention(side) for side in (28, 30, 32, 128)] == [14, 30, 16, 64]
