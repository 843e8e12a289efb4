from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from jaxgen.losses import likelihood

GOLDEN = Path(__file__).parents[1] / "golden"
RNG = np.random.default_rng(0)


def numbers(*shape, spread=1.0):
    return (spread * RNG.standard_normal(shape)).astype(np.float32)


def test_importance_weighted_bound_is_the_references():
    golden = np.load(GOLDEN / "c/iwae.npz")
    log_w = jnp.asarray(golden["in_logw"].T, jnp.float32)  # samples first
    bound = likelihood.importance_weighted_bound(log_w)
    np.testing.assert_allclose(bound, golden["out_iwae50_per_x"], rtol=1e-6)
    np.testing.assert_allclose(bound.mean(), golden["out_iwae50_mean"], rtol=1e-6)
    np.testing.assert_allclose(log_w.mean(axis=0), golden["out_elbo_per_x"], rtol=1e-6)


def test_bernoulli():
    x, logits = RNG.integers(0, 2, (5, 4, 3, 1)), numbers(5, 4, 3, 1, spread=4)
    p = 1 / (1 + np.exp(-np.float64(logits)))
    expected = stats.bernoulli.logpmf(x, p).sum(axis=(1, 2, 3))
    found = likelihood.bernoulli_log_likelihood(jnp.float32(x), jnp.asarray(logits))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_bernoulli_of_certain_logits():
    """Exact where a probability that is clipped at 1e-6 would say 13.8 nats."""
    x = jnp.array([[0.0], [1.0], [0.0], [1.0]])
    logits = jnp.array([[-90.0], [90.0], [90.0], [-90.0]])
    value = likelihood.bernoulli_log_likelihood(x, logits)
    slope = jax.grad(lambda logits: likelihood.bernoulli_log_likelihood(x, logits).sum())(logits)
    np.testing.assert_allclose(value, [0, 0, -90, -90], atol=1e-6)
    np.testing.assert_allclose(slope[:, 0], [0, 0, -1, 1], atol=1e-6)


def test_bernoulli_of_grey_levels_is_the_mean_over_binary_ones():
    levels, logits = RNG.random((1, 3), np.float32), jnp.asarray(numbers(1, 3))
    expected = 0.0
    for bits in np.ndindex(2, 2, 2):
        chance = np.prod(np.where(bits, levels[0], 1 - levels[0]))
        x = jnp.asarray(bits, jnp.float32)[None]
        expected += chance * likelihood.bernoulli_log_likelihood(x, logits)[0]
    found = likelihood.bernoulli_log_likelihood(jnp.asarray(levels), logits)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_gaussian():
    x, mean, log_variance = numbers(5, 2, 3), numbers(5, 2, 3), numbers(5, 2, 3)
    expected = stats.norm.logpdf(x, mean, np.exp(log_variance / 2)).sum(axis=(1, 2))
    found = likelihood.gaussian_log_likelihood(*map(jnp.asarray, (x, mean, log_variance)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    prior = likelihood.gaussian_log_likelihood(jnp.asarray(x), 0.0, 0.0)
    np.testing.assert_allclose(prior, stats.norm.logpdf(x).sum(axis=(1, 2)), rtol=1e-5)


def test_kl_is_the_monte_carlo_mean():
    mean, log_variance = jnp.asarray(numbers(3, 2)), jnp.asarray(numbers(3, 2))
    noise = jax.random.normal(jax.random.key(0), (100_000, 3, 2))
    z = mean + jnp.exp(log_variance / 2) * noise
    ratio = jax.vmap(
        lambda z: (
            likelihood.gaussian_log_likelihood(z, mean, log_variance)
            - likelihood.gaussian_log_likelihood(z, 0.0, 0.0)
        )
    )(z)
    error = ratio.std(axis=0) / len(noise) ** 0.5
    kl = likelihood.gaussian_kl(mean, log_variance)
    assert (jnp.abs(ratio.mean(axis=0) - kl) < 4 * error).all()
    assert (error < 0.02 * kl).all()


def test_kl_of_the_prior_is_zero():
    np.testing.assert_array_equal(likelihood.gaussian_kl(jnp.zeros((3, 4)), jnp.zeros((3, 4))), 0)


# z ~ N(0, 1), x ~ N(z, 1): log p(x) is known, and so is p(z | x) = N(x / 2, 1 / 2).
X = jnp.array([[-1.5], [0.2], [3.0]])
LOG_P = stats.norm.logpdf(np.asarray(X)[:, 0], 0, 2**0.5)


def log_weights(mean, log_variance, k):
    z = mean + jnp.exp(log_variance / 2) * jax.random.normal(jax.random.key(1), (k, *mean.shape))
    log_p = lambda *args: jax.vmap(lambda z: likelihood.gaussian_log_likelihood(z, *args))(z)
    return log_p(0.0, 0.0) + log_p(X, 0.0) - log_p(mean, log_variance)


def test_every_weight_of_the_true_posterior_is_the_likelihood():
    log_w = log_weights(X / 2, jnp.full_like(X, jnp.log(0.5)), 5)
    np.testing.assert_allclose(log_w, np.broadcast_to(LOG_P, (5, 3)), rtol=1e-5)
    np.testing.assert_allclose(likelihood.importance_weighted_bound(log_w), LOG_P, rtol=1e-5)


def test_bound_rises_with_its_samples_to_the_likelihood():
    log_w = log_weights(X / 2 - 0.5, jnp.zeros_like(X), 64_000)
    means = []
    for k in (1, 2, 8, 64, 64_000):
        groups = log_w.reshape(k, -1, 3)
        means.append(likelihood.importance_weighted_bound(groups).mean(axis=0))
    np.testing.assert_allclose(means[0], log_w.mean(axis=0), rtol=1e-4)  # the ELBO
    elbo = LOG_P - (2 + 0.5 - 1 - np.log(2)) / 2  # less KL(q || p(z | x))
    np.testing.assert_allclose(means[0], elbo, atol=0.02)
    rises = np.diff(np.stack(means), axis=0)
    assert (rises[:-1] > 0.002).all()
    assert (rises[-1] > 0).all()
    np.testing.assert_allclose(means[-1], LOG_P, atol=0.02)


def test_factorised_logits_by_hand():
    x = jnp.array([[0.0, 1.0, 0.5], [0.0, 1.0, 0.0]])
    p = jax.nn.sigmoid(likelihood.factorised_logits(x))
    np.testing.assert_allclose(p, [[1 / 4, 3 / 4, 1.5 / 4]], rtol=1e-6)


def test_logistic_mixture_is_the_references():
    golden = np.load(GOLDEN / "c/pixelcnnpp_dmol.npz")
    x, numbers = (jnp.float32(golden[name]) for name in ("in_x", "in_params_nhwc"))
    loss = lambda numbers: -likelihood.logistic_mixture_log_likelihood(x, numbers).sum()
    value, slope = jax.value_and_grad(loss)(numbers)
    np.testing.assert_allclose(value, golden["out_nll_sum"], rtol=2e-5)
    largest = abs(golden["out_grad_params"]).max()
    np.testing.assert_allclose(slope, golden["out_grad_params"], atol=1e-4 * largest)


def test_probabilities_of_all_levels_sum_to_one():
    levels = jnp.arange(256) / 255
    for log_p in (
        likelihood.logistic_mixture_log_likelihood(
            (2 * levels - 1)[:, None], jnp.tile(numbers(6), (256, 1))
        ),
        likelihood.categorical_log_likelihood(levels, jnp.tile(numbers(256), (256, 1))),
    ):
        np.testing.assert_allclose(jnp.exp(log_p).sum(), 1, rtol=1e-4)
