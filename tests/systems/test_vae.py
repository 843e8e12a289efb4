"""What makes the variational autoencoder itself."""

import math
from functools import cache, partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from scipy import stats
from scipy.special import logsumexp

from jaxgen.data.pipeline import load
from jaxgen.data.source import DataInfo, to_float
from jaxgen.experiments.vae import Args
from jaxgen.experiments.vae import system as build
from jaxgen.losses import likelihood
from jaxgen.models import vae as models
from jaxgen.systems.likelihood import pixels, vae
from jaxgen.train.abilities import Density
from jaxgen.train.fit import fit
from jaxgen.train.nets import Net, bind, init, local
from tests.quick import quick_to_compile  # noqa: F401
from tests.train.toy import mesh

SHAPE = (4, 4, 1)


def count(module, *shape):
    params = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, *shape)))["params"]
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("latent", "hidden", "expected"),
    [
        (2, (500,), 788_788),
        (3, (500,), 790_290),
        (5, (500,), 793_294),
        (10, (500,), 800_804),
        (20, (500,), 815_824),
        (200, (500,), 1_086_184),
        (20, (400,), 652_824),  # PyTorch's example
        (50, (200, 200), 425_284),  # IWAE, one stochastic layer
    ],
)
def test_counts(latent, hidden, expected):
    encoder = count(models.Encoder(latent, hidden), 28, 28, 1)
    assert encoder + count(models.BernoulliDecoder(hidden=hidden), latent) == expected


def levels(n=8, seed=0):
    return {"image": np.random.default_rng(seed).integers(0, 256, (n, *SHAPE), dtype=np.uint8)}


wide, near_prior, prior = (nn.initializers.normal(spread) for spread in (0.5, 0.1, 0.0))


@cache
def toy(kind=pixels.binary, latent=3, start=wide, **options):
    """(system, its fresh states, nets)."""
    gaussian = kind is pixels.gaussian
    decoder = models.GaussianDecoder if gaussian else models.BernoulliDecoder
    system = vae.vae(
        models.Encoder(latent, (6,), kernel_init=start),
        decoder(SHAPE, (6,), kernel_init=wide),
        *(SHAPE, latent, optax.sgd(0.1), kind),
        **options,
    )
    states = init(system, jax.random.key(0))
    return system, states, bind(states, jax.random.key(1))


def test_encoder_that_is_the_prior_costs_nothing():
    system, _, nets = toy(start=prior)
    _, metrics = jax.jit(partial(system.turns[0].loss, nets))(to_float(levels()), jax.random.key(2))
    assert metrics["kl"] == 0.0


def test_gradient_through_z_is_that_of_finite_differences():
    """With the noise frozen, along a random direction of all weights, in double precision."""
    system, states, _ = toy()
    batch, key = to_float(levels()), jax.random.key(2)
    with jax.enable_x64(True):
        double = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)
        params = double({name: state.params for name, state in states.items()})
        keys = jax.random.split(jax.random.key(3), len(jax.tree.leaves(params)))
        keys = jax.tree.unflatten(jax.tree.structure(params), list(keys))
        direction = jax.tree.map(lambda k, x: jax.random.normal(k, x.shape), keys, params)

        @jax.jit
        def loss(params):
            nets = {k: Net(states[k], key, params[k]) for k in states}
            return system.turns[0].loss(SimpleNamespace(**nets), double(batch), key)[0]

        at = lambda t: loss(jax.tree.map(lambda x, v: x + t * v, params, direction))
        grads = jax.grad(loss)(params)
        slope = optax.tree.vdot(grads, direction)
        np.testing.assert_allclose((at(1e-5) - at(-1e-5)) / 2e-5, slope, rtol=1e-6)
        through_z = optax.tree.norm(grads["encoder"]["log_variance"])
        assert through_z > 0.1


def test_weight_decay_is_the_decoders_gaussian_prior():
    batch, key = to_float(levels()), jax.random.key(2)
    system, states, nets = toy()
    decayed, _, _ = toy(weight_decay=0.3)
    losses = [jax.jit(partial(s.turns[0].loss, nets))(batch, key)[0] for s in (system, decayed)]
    squares = sum((w**2).sum() for w in jax.tree.leaves(states["decoder"].params))
    np.testing.assert_allclose(losses[1] - losses[0], 0.3 * squares / 2, rtol=1e-4)


def black_and_white(n=6):
    """Images that binarisation leaves as they are."""
    image = np.random.default_rng(1).integers(0, 2, (n, *SHAPE)).astype(np.uint8) * 255
    return to_float({"image": image})


def measured(nets, system, batch, key):
    densities = [(d.name, d.log_prob) for d in system.all_of(Density)]
    return jax.jit(lambda: {name: f(nets, batch, key) for name, f in densities})()


def test_densities_are_bounds_of_the_likelihood():
    """With one latent log p(x) is an integral that a sum can do."""
    batch, key = black_and_white(), jax.random.key(3)
    z = np.linspace(-8, 8, 4001, dtype=np.float32)
    bounds = {}
    for k in (1, 8, 2000):
        system, _, nets = toy(latent=1, start=near_prior, samples=k)
        bounds[k] = measured(nets, system, batch, key)
        assert {name: v.shape for name, v in bounds[k].items()} == {"elbo": (6,), "iwae": (6,)}
    np.testing.assert_allclose(bounds[1]["iwae"], bounds[1]["elbo"], rtol=1e-6)
    assert bounds[1]["iwae"].mean() < bounds[8]["iwae"].mean() < bounds[2000]["iwae"].mean()
    assert (bounds[2000]["elbo"] < bounds[2000]["iwae"]).all()

    x = (batch["image"] + 1) / 2
    logits = jax.jit(nets.decoder)(jnp.asarray(z[:, None]))
    log_p = jax.jit(jax.vmap(lambda x: likelihood.bernoulli_log_likelihood(x, logits)))
    each = np.asarray(log_p(jnp.broadcast_to(x[:, None], (6, *logits.shape))))
    exact = logsumexp(each + stats.norm.logpdf(z), axis=1) + np.log(z[1] - z[0])
    np.testing.assert_allclose(bounds[2000]["iwae"], exact, atol=0.05)


def test_loss_is_on_average_the_elbo():
    """The analytic KL (Eq. 10) and the measure's sampled one (Eq. 8) agree."""
    batch = black_and_white()
    system, _, nets = toy(samples=4000)
    still = SimpleNamespace(encoder=nets.encoder.still, decoder=nets.decoder.still)
    keys = jax.random.split(jax.random.key(4), 4000)
    losses = jax.lax.map(lambda key: system.turns[0].loss(still, batch, key)[0], keys)
    elbo = measured(nets, system, batch, jax.random.key(5))["elbo"]
    np.testing.assert_allclose(-losses.mean(), elbo.mean(), atol=0.1)


def test_binarise():
    x = jnp.broadcast_to(jnp.array([0.0, 0.25, 0.5, 1.0]).reshape(1, 2, 2, 1), (20_000, 2, 2, 1))
    drawn = pixels.binarise(x, jax.random.key(0))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(axis=0).ravel(), [0, 0.25, 0.5, 1], atol=0.02)


def test_gaussian_bound_is_of_levels():
    """The probabilities of the 256 levels of a pixel add up to 1 at most, and nearly to 1 where
    the Gaussian lies between black and white."""
    k = np.arange(256)
    level = np.broadcast_to((k / 255).astype(np.float32).reshape(256, 1, 1, 1), (256, 200, 1, 1))
    x = pixels.dequantise(jnp.asarray(level), jax.random.key(0))
    np.testing.assert_array_equal(jnp.floor(x[:, :, 0, 0] * 256), np.repeat(k[:, None], 200, 1))
    output = jnp.float32(0.5), jnp.float32(2 * np.log(0.1))  # mean, log variance
    each = pixels.gaussian.log_likelihood(x.reshape(-1, 1, 1, 1), output)
    log_p = each.reshape(256, 200).mean(axis=1)
    total = np.exp(log_p).sum()
    assert 0.99 < total <= 1.0


def test_manifold_is_a_grid_of_equal_probability():
    """Through the inverse Gaussian distribution function; a linear grid is the usual mistake."""
    z = np.asarray(vae.manifold()).reshape(20, 20, 2)
    centres = (np.arange(1, 21) - 0.5) / 20
    expected = stats.norm.ppf(centres)
    np.testing.assert_allclose(z[7, :, 0], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(z[:, 7, 1], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(z[:, :, 0], np.broadcast_to(z[0, :, 0], (20, 20)), atol=1e-6)


def test_pictures():
    batch, key = to_float(levels(40)), jax.random.key(0)
    system, _, nets = toy(latent=2)
    pictures = jax.jit(partial(system.show, nets))(batch, key)
    shapes = {name: x.shape for name, x in pictures.items()}
    assert shapes == {
        "samples": (40, *SHAPE),
        "reconstructions": (32, SHAPE[0], 2 * SHAPE[1], SHAPE[2]),
        "manifold": (1, 20 * SHAPE[0], 20 * SHAPE[1], SHAPE[2]),
    }
    assert set(np.unique(pictures["reconstructions"][:, :, : SHAPE[1]])) == {-1.0, 1.0}
    system, _, nets = toy()
    assert set(jax.eval_shape(partial(system.show, nets), batch, key)) == {
        "samples",
        "reconstructions",
    }


def test_starts_as_the_paper_says():
    args = Args(start="paper", size=8, units=200, latent=200)
    states = init(build(args, DataInfo((8, 8, 4), {})), jax.random.key(0))
    for leaf in jax.tree.leaves([state.params for state in states.values()]):
        assert math.isclose(leaf.std(), 0.01, rel_tol=0.2)


def test_few_rounds_on_digits_beat_pixels_by_themselves():
    """By 40 nats of the 207 that a factorised Bernoulli has on all held-out digits."""
    data = load("mnist5k", size=28, channels=1)
    x = np.float32(data.resident["image"]) / 255
    held_out = data.held_out(100)["image"]
    p = (np.float64(x).sum(axis=0) + 1) / (len(x) + 2)
    y = held_out / 255
    by_hand = (y * np.log(p) + (1 - y) * np.log1p(-p)).sum(axis=(1, 2, 3))
    logits = likelihood.factorised_logits(jnp.asarray(x))
    alone = likelihood.bernoulli_log_likelihood(jnp.float32(y), logits)
    np.testing.assert_allclose(alone, by_hand, rtol=1e-4)

    system = build(Args(units=100, latent=10, lr=5e-3, importance_samples=20), data.info)
    states = fit(system, data, 300, batch_size=50, rounds_per_call=50, mesh=mesh(1))
    nets = bind(local(states), jax.random.key(0))
    found = measured(nets, system, to_float({"image": held_out}), jax.random.key(1))
    assert alone.mean() + 40 < found["elbo"].mean() < found["iwae"].mean()
