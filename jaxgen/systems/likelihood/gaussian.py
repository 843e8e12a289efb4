"""Gaussians by maximum likelihood: in closed form, by gradients, and mixtures of them by EM
(Dempster, Laird & Rubin, 1977).

The images' log-likelihood is highest where mean and covariance are those of the data; of K
Gaussians with weights pi_k it rises with every step of

    E:  r_nk = pi_k N(x_n; mu_k, Sigma_k) / sum_j pi_j N(x_n; mu_j, Sigma_j)
    M:  pi_k = mean_n r_nk,  mu_k = sum_n r_nk x_n / sum_n r_nk,
        Sigma_k = sum_n r_nk (x_n - mu_k)(x_n - mu_k)' / sum_n r_nk

A turn's loss is the expected log-likelihood of x and the components, written so that its gradient
is what the M step counts; the M step is the optimizer.  With K = 1 one step is the closed form.
A minibatch is the whole training set.

A mixture of all pixels would have more parameters than there are digits.  It is fitted to the first
principal components of the Gaussian, scaled to unit variance: to these the Gaussian is N(0, I),
independently of all others, so that log p(x) of the mixture is the Gaussian's with this part
replaced.

Deviations.  Pixels are dequantised, so that a density exists.  They count as if they had further
noise, of the variance `ridge`, which keeps covariances regular (border pixels never change): that
of the Gaussian and, scaled as the components are, those of the mixture.
"""

import math

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.scipy.linalg import solve_triangular

from jaxgen import draw
from jaxgen.latents import lerp, normal
from jaxgen.losses.likelihood import gaussian_log_likelihood
from jaxgen.models.gaussian import Mixture
from jaxgen.models.vae import LEVEL
from jaxgen.systems.likelihood.pixels import SPREAD, dequantise, sheet
from jaxgen.train.abilities import Autoencoder, Density, Sampler
from jaxgen.train.game import Player, System, Turn

LEGENDS = {
    "directions": "Each strip: along a principal direction, from two deviations below to two above",
    "components": "The means of the mixture's components",
}
FIRST = 1000  # images whose moments a `Factor` starts from
LEAST = 1e-10  # share of a component, as which one without examples counts


def e_step(net, x: jax.Array, ridge: jax.Array | float = 0.0) -> tuple[jax.Array, jax.Array]:
    """(loss, log p(x) [b]) of vectors x [b, d]: the loss's gradient is minus the means over the
    batch of r (weights), r (x - mu) (means) and r ((x - mu)(x - mu)' + R) (covariances), mu the
    present means and R the diagonal matrix of `ridge`, a number or [d]."""
    joint = jax.lax.stop_gradient(net(x))
    r = jax.nn.softmax(joint)
    p = net.params

    def count(r, weight, mean, covariance):
        away = x - jax.lax.stop_gradient(mean)
        first, second = r @ away, (r[:, None] * away).T @ away
        noise = jnp.maximum(r.sum(), LEAST * len(x)) * jnp.broadcast_to(ridge, mean.shape)
        second += jnp.diag(noise)
        return (r.sum() * weight + (first * mean).sum() + (second * covariance).sum()) / len(x)

    counted = jax.vmap(count, in_axes=(1, 0, 0, 0))
    loss = -counted(r, p["weights"], p["means"], p["covariances"]).sum()
    return loss, jax.nn.logsumexp(joint, axis=1)


def m_step() -> optax.GradientTransformation:
    """The optimizer that takes a gradient of `e_step` to the maximum."""

    def update(grads, state, params):
        weights = -grads["weights"]
        share = jnp.maximum(weights, LEAST)
        shift = -grads["means"] / share[:, None]
        spread = -grads["covariances"] / share[:, None, None]
        spread -= shift[:, :, None] * shift[:, None, :]
        new = {
            "weights": weights,
            "means": params["means"] + shift,
            "covariances": spread,
        }
        return jax.tree.map(jnp.subtract, new, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def axes(net, n: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The mean [d] of the one Gaussian that a player is, its n principal directions [d, n] and the
    deviations [n] along them, the largest first."""
    if "factor" in net.params:
        mean, whiten = net(method="whitening")
        factor = solve_triangular(whiten, jnp.eye(len(mean)), lower=True)
        covariance = factor @ factor.T
    else:
        mean, covariance = net.params["means"][0], net.params["covariances"][0]
    values, vectors = jnp.linalg.eigh(covariance)
    return mean, vectors[:, ::-1][:, :n], jnp.sqrt(jnp.maximum(values[::-1][:n], 0))


def gaussian(
    module: nn.Module,
    shape: tuple[int, int, int],
    optimizer: optax.GradientTransformation,
    components: int = 40,
    mixture: Mixture | None = None,
    ridge: float = 1e-5,
) -> System:
    """A Gaussian of images of `shape` [H, W, C]; with `mixture` it is frozen, and that is fitted to
    its first principal components.

    module, optimizer: `Mixture(1)` with `m_step`, or `Factor` with any other.
    components: the number of principal components, of codes and of the mixture.
    ridge: variance that is added to that of pixels in [0, 1].
    """
    size = math.prod(shape)
    components = min(components, size)
    levels = size * math.log(LEVEL)  # from the density of pixels in [0, 1] to that of grey levels

    def pixels(batch, key):
        return dequantise((batch["image"] + 1) / 2, key).reshape(-1, size)

    def code(frame, x):
        mean, directions, deviations = frame
        return (x - mean) @ directions / deviations

    def image(frame, z):
        mean, directions, deviations = frame
        return mean + (z * deviations) @ directions.T

    def fit_gaussian(nets, batch, key):
        x = pixels(batch, key)
        if isinstance(module, Mixture):
            loss, log_p = e_step(nets.gaussian, x, ridge)
        else:
            log_p = nets.gaussian(x)
            _, whiten = nets.gaussian(method="whitening")
            loss = ridge / 2 * (whiten**2).sum() - log_p.mean()
        return loss, {"log_likelihood": log_p.mean() + levels}

    def fit_mixture(nets, batch, key):
        frame = axes(nets.gaussian, components)
        z = code(frame, pixels(batch, key))
        loss, log_p = e_step(nets.mixture, z, ridge / frame[2] ** 2)
        return loss, {"gain": (log_p - gaussian_log_likelihood(z, 0.0, 0.0)).mean()}

    def log_prob(nets, batch, key):
        x = pixels(batch, key)
        log_p = jax.nn.logsumexp(nets.gaussian(x), axis=1)
        if mixture:
            z = code(axes(nets.gaussian, components), x)
            log_p += jax.nn.logsumexp(nets.mixture(z), axis=1)
            log_p -= gaussian_log_likelihood(z, 0.0, 0.0)
        return log_p + levels

    def draw_code(nets, z, u):
        """Codes of the mixture from normal numbers z [n, k] and a uniform one u [n]."""
        p = nets.mixture.params
        k = jnp.searchsorted(jnp.cumsum(p["weights"])[:-1], u)
        factors = jnp.linalg.cholesky(p["covariances"])
        return p["means"][k] + jnp.einsum("nij,nj->ni", factors[k], z)

    def generate(nets, z, condition, key):
        """The numbers of a latent are those of the principal components, the largest first."""
        codes = z[:, :-1]
        if mixture:
            u = jax.scipy.special.ndtr(z[:, -1])
            first = draw_code(nets, codes[:, :components], u)
            codes = codes.at[:, :components].set(first)
        return as_images(image(axes(nets.gaussian, size), codes))

    def as_images(x):
        return 2 * jnp.clip(x, 0, 1).reshape(-1, *shape) - 1

    def encode(nets, images):
        x = ((images + 1) / 2 * 255 + 0.5) * LEVEL
        return code(axes(nets.gaussian, components), x.reshape(-1, size))

    def decode(nets, z):
        return as_images(image(axes(nets.gaussian, components), z))

    def show(nets, batch, key):
        """Samples; the mean and the principal directions, two deviations to either side; and the
        means of the mixture's components."""
        frame = axes(nets.gaussian, min(16, components))
        steps = jnp.eye(len(frame[2]))[:, None] * jnp.linspace(-2, 2, 5)[:, None]
        moved = as_images(image(frame, steps.reshape(-1, len(frame[2]))))
        strips = sheet(moved, columns=5).reshape(-1, shape[0], 5 * shape[1], shape[2])
        pictures = {
            "samples": generate(nets, prior(key, len(batch["image"])), {}, key),
            "directions": strips,
        }
        if mixture:
            pictures["components"] = decode(nets, nets.mixture.params["means"])
        return pictures

    prior = normal(size + 1)  # the last chooses a component

    def first(examples):
        """What `Factor` starts from, with the ridge's noise."""
        x = pixels(examples(FIRST), jax.random.key(0))
        return [x + math.sqrt(ridge) * draw.normal(jax.random.key(1), len(x), (size,))]

    inputs = [(1, size)] if isinstance(module, Mixture) else first
    players = {"gaussian": Player(module, inputs, None if mixture else optimizer)}
    turn = Turn(("gaussian",), fit_gaussian)
    if mixture:
        players["mixture"] = Player(mixture, [(1, components)], m_step())
        turn = Turn(("mixture",), fit_mixture)
    return System(
        players=players,
        turns=(turn,),
        show=show,
        legends=LEGENDS,
        abilities=(
            Sampler(prior, generate, lerp),
            Autoencoder(encode, decode),
            Density(log_prob, of=SPREAD),
        ),
    )
