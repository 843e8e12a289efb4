"""Gaussians: EM's golden numbers, the closed form, and what mixtures and gradients come to."""

from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jaxgen.experiments import gaussian as experiment
from jaxgen.models.gaussian import Factor, Mixture
from jaxgen.systems.likelihood.gaussian import e_step, gaussian, m_step
from jaxgen.systems.likelihood.pixels import dequantise
from jaxgen.train.abilities import Autoencoder, Density, Sampler
from jaxgen.train.nets import bind, init
from tests.quick import quick_to_compile  # noqa: F401
from tests.systems.small import as_seen, build

GOLDEN = Path(__file__).parents[1] / "golden"
SHAPE = (2, 3, 1)


def step(params, x, ridge=0.0):
    """(the parameters after a step of EM, the mean log-likelihood before it)."""
    module = Mixture(len(params["weights"]))

    def loss(params):
        net = lambda x: module.apply({"params": params}, x)
        return e_step(_Net(net, params), x, ridge)

    (_, log_p), grads = jax.value_and_grad(loss, has_aux=True)(params)
    updates, _ = m_step().update(grads, None, params)
    return optax.apply_updates(params, updates), log_p.mean()


class _Net:
    def __init__(self, call, params):
        self.call, self.params = call, params

    def __call__(self, x):
        return self.call(x)


def test_em_is_the_references():
    golden = np.load(GOLDEN / "d/gmm_em.npz")
    names = {"weights": "pi", "means": "mu", "covariances": "sigma"}
    params = {k: jnp.asarray(golden[f"in_{v}"]) for k, v in names.items()}
    for n in (1, 2, 3):
        params, before = step(params, jnp.asarray(golden["in_x"]), ridge=1e-6)
        np.testing.assert_allclose(before, golden[f"out_mean_loglik_before_step{n}"], rtol=1e-6)
        for k, v in names.items():
            np.testing.assert_allclose(params[k], golden[f"out_{v}_step{n}"], atol=3e-6)


def test_one_step_of_one_component_is_the_closed_form():
    """mean log p = -(d log 2 pi + log det + d) / 2 at the moments of the data (divided by N)."""
    golden = np.load(GOLDEN / "c/gaussian_mle.npz")
    x = jnp.asarray(golden["in_x"], jnp.float32)
    start = Mixture(1).init(jax.random.key(0), x)["params"]
    fitted, _ = step(start, x)
    np.testing.assert_allclose(fitted["means"][0], golden["out_mu"], atol=1e-6)
    np.testing.assert_allclose(
        fitted["covariances"][0], golden["out_cov_mle"], rtol=1e-5, atol=2e-6
    )
    _, log_p = step(fitted, x)
    np.testing.assert_allclose(log_p, golden["out_mean_loglik_closed"], rtol=1e-5)


def test_em_never_falls():
    centres = jnp.array([[0.0, 0], [3, 1], [-2, 2]])
    x = centres[jnp.arange(300) % 3] + 0.5 * jax.random.normal(jax.random.key(0), (300, 2))
    params = Mixture(3).init(jax.random.key(1), x)["params"]
    values = []
    for _ in range(30):
        params, log_p = step(params, x, ridge=1e-6)
        values.append(float(log_p))
    assert (np.diff(values) > -1e-5).all()
    assert values[-1] > values[0] + 0.5
    np.testing.assert_allclose(params["weights"].sum(), 1, rtol=1e-5)


def test_gradients_meet_the_closed_form():
    """Within 1e-3 nats, in two dimensions."""
    spread = jnp.array([[1.0, 0], [1.2, 0.4]])
    x = jax.random.normal(jax.random.key(0), (500, 2)) @ spread.T + jnp.array([0.5, -1])
    start = Factor().init(jax.random.key(1), x[:50])
    params, kept = start["params"], {"start": start["start"]}
    tx = optax.adam(0.03)

    @jax.jit
    def descend(params, state):
        loss = lambda p: -Factor().apply({"params": p, **kept}, x).mean()
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state)
        return optax.apply_updates(params, updates), state, value

    state = tx.init(params)
    for _ in range(400):
        params, state, value = descend(params, state)
    covariance = np.cov(x.T, bias=True)
    best = stats.multivariate_normal(np.mean(x, 0), covariance).logpdf(x).mean()
    assert abs(best + value) < 1e-3
    mean, whiten = Factor().apply({"params": params, **kept}, method="whitening")
    np.testing.assert_allclose(mean, x.mean(0), atol=0.01)
    np.testing.assert_allclose(whiten @ covariance @ whiten.T, np.eye(2), atol=0.05)


RIDGE = 0.01


def images(n):
    return {"image": as_seen(n)["image"][:, : SHAPE[0], : SHAPE[1]]}


def played(system, states, key):
    """(metrics, gradients) of the system's turn on 60 images, from these states."""
    (turn,), (name,) = system.turns, system.turns[0].learners

    @jax.jit
    def play(params):
        nets = bind(states | {name: states[name].replace(params=params)}, key)
        return turn.loss(nets, images(60), key)

    (_, metrics), grads = jax.value_and_grad(play, has_aux=True)(states[name].params)
    return metrics, grads


@pytest.fixture(scope="module")
def closed():
    """The Gaussian after a step: its states."""
    one = gaussian(Mixture(1), SHAPE, m_step(), 3, ridge=RIDGE)
    states = init(one, jax.random.key(0))
    _, grads = played(one, states, jax.random.key(1))
    own = states["gaussian"]
    return {"gaussian": own.replace(params=em(own.params, grads))}


def em(params, grads):
    return optax.apply_updates(params, m_step().update(grads, None, params)[0])


def test_the_ridge_is_on_the_pixels_scale(closed):
    """Seen with its noise, the first components are N(0, I): one Gaussian of them gains nothing,
    and the closed form is where gradients end, too."""
    key = jax.random.key(1)
    two = gaussian(Mixture(1), SHAPE, m_step(), 3, Mixture(1), RIDGE)
    fresh = init(two, jax.random.key(2))
    _, grads = played(two, closed | {"mixture": fresh["mixture"]}, key)
    found = em(fresh["mixture"].params, grads)
    np.testing.assert_allclose(found["covariances"][0], np.eye(3), atol=1e-4)
    np.testing.assert_allclose(found["means"][0], 0, atol=1e-4)

    by_gradients = gaussian(Factor(), SHAPE, optax.sgd(1.0), 3, ridge=RIDGE)
    (state,) = init(by_gradients, key, images).values()
    mean, covariance = (closed["gaussian"].params[k][0] for k in ("means", "covariances"))
    first, deviations = state.collections["start"]["moments"]
    factor = jnp.linalg.inv(jnp.linalg.cholesky(covariance)) * deviations
    free = jnp.tril(factor, -1) + jnp.diag(jnp.log(jnp.diagonal(factor)))
    params = {"mean": (mean - first) / deviations, "factor": free}
    _, grads = played(by_gradients, {"gaussian": state.replace(params=params)}, key)
    for slope in jax.tree.leaves(grads):
        np.testing.assert_allclose(slope, 0, atol=1e-3)


@pytest.mark.parametrize("module", [Mixture(1), Factor()])
def test_training_logs_the_likelihood_that_is_scored(module):
    system, key = gaussian(module, SHAPE, optax.sgd(1.0), 3), jax.random.key(1)
    states = init(system, key, images)
    logged = played(system, states, key)[0]["log_likelihood"]
    scored = system.ability(Density).log_prob(bind(states, key), images(60), key)
    np.testing.assert_allclose(logged, scored.mean(), rtol=1e-4)


def test_rounds_suit_the_way_of_fitting():
    rounds = lambda **flags: [s.rounds for s in build(experiment, **flags)]
    assert rounds() == [2, 58]
    assert rounds(fit="sgd") == [100, 58]
    assert rounds(fit="sgd", rounds=79) == [50, 29]
    assert experiment.Args(mixture=0).rounds == 2
    assert experiment.Args(mixture=0, fit="sgd").rounds == 100


@pytest.fixture(scope="module")
def fitted():
    """A Gaussian of six pixels and a mixture on three of its components, with weights drawn."""
    rng = np.random.default_rng(0)
    system = gaussian(Mixture(1), SHAPE, m_step(), 3, Mixture(2))
    spread = rng.normal(size=(6, 6)) / 8
    one = {
        "weights": np.ones(1),
        "means": rng.uniform(0.4, 0.6, (1, 6)),
        "covariances": (spread @ spread.T + 1e-3 * np.eye(6))[None],
    }
    a = rng.normal(size=(2, 3, 3)) / 2
    two = {
        "weights": np.array([0.3, 0.7]),
        "means": rng.normal(size=(2, 3)),
        "covariances": a @ a.swapaxes(1, 2) + 0.1 * np.eye(3),
    }
    states = init(system, jax.random.key(0))
    given = {"gaussian": one, "mixture": two}
    states = {k: s.replace(params=jax.tree.map(jnp.float32, given[k])) for k, s in states.items()}
    return SimpleNamespace(system=system, nets=bind(states, jax.random.key(1)), **given)


def test_the_mixture_is_a_density_of_the_pixels(fitted):
    """With one standard Gaussian as the mixture it is the Gaussian; else the part of the first
    components is replaced: by hand, in other coordinates."""
    values, vectors = np.linalg.eigh(fitted.gaussian["covariances"][0])
    directions, deviations = vectors[:, ::-1][:, :3], np.sqrt(values[::-1][:3])
    image = jax.random.randint(jax.random.key(2), (5, *SHAPE), 0, 256) / 127.5 - 1
    density = fitted.system.ability(Density)
    found = density.log_prob(fitted.nets, {"image": image}, jax.random.key(3))
    x = np.asarray(dequantise((image + 1) / 2, jax.random.key(3)), np.float64).reshape(5, 6)
    mean = fitted.gaussian["means"][0]
    z = (x - mean) @ directions / deviations
    whole = stats.multivariate_normal(mean, fitted.gaussian["covariances"][0]).logpdf(x)
    parts = [
        w * stats.multivariate_normal(m, c).pdf(z)
        for w, m, c in zip(*(fitted.mixture[k] for k in ("weights", "means", "covariances")))
    ]
    expected = whole - stats.norm.logpdf(z).sum(1) + np.log(sum(parts)) + 6 * np.log(1 / 256)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=0.02)


def test_samples_have_the_mixtures_moments(fitted):
    """In the first components; the others' are the Gaussian's."""
    sampler, coder = fitted.system.ability(Sampler), fitted.system.ability(Autoencoder)

    @jax.jit
    def codes(key):
        images = sampler.generate(fitted.nets, sampler.prior(key, 20_000), {}, key)
        return coder.encode(fitted.nets, images)

    z = np.asarray(codes(jax.random.key(4)))
    weights, means = fitted.mixture["weights"], fitted.mixture["means"]
    inside = (abs(z) < 2.5).all(1)  # pixels are cut to [0, 1]
    assert inside.mean() > 0.5
    np.testing.assert_allclose(np.median(z, 0), _medians(fitted.mixture), atol=0.1)
    assert means.shape == (len(weights), 3)


def _medians(mixture):
    rng = np.random.default_rng(5)
    n = 100_000
    k = rng.choice(2, n, p=mixture["weights"])
    parts = zip(mixture["means"], mixture["covariances"])
    z = np.stack([rng.multivariate_normal(mean, covariance, n) for mean, covariance in parts])
    return np.median(z[k, np.arange(n)], 0)


def test_codes_are_inverted_and_begin_the_latents(fitted):
    """Those of the Gaussian alone: a traversal of latents is one of principal components."""
    coder = fitted.system.ability(Autoencoder)
    z = jnp.array([[0.3, -0.2, 0.5], [0.0, 0.4, -0.4]])
    again = coder.encode(fitted.nets, coder.decode(fitted.nets, z))
    np.testing.assert_allclose(again, z, atol=0.05)  # half a grey level is added
    sampler = gaussian(Mixture(1), SHAPE, m_step(), 3).ability(Sampler)
    latents = jnp.pad(z, ((0, 0), (0, 4)), constant_values=0.5)
    again = coder.encode(fitted.nets, sampler.generate(fitted.nets, latents, {}, None))
    np.testing.assert_allclose(again, z, atol=0.05)
