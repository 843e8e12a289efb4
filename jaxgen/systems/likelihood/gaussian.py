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

Deviations.  Pixels are dequantised, so that a density exists; a ridge on the diagonal keeps the
covariance regular (border pixels never change).
"""

import math

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.latents import lerp, normal
from jaxgen.losses.likelihood import gaussian_log_likelihood
from jaxgen.models.gaussian import Mixture, lower
from jaxgen.models.vae import LEVEL
from jaxgen.systems.likelihood.pixels import SPREAD, dequantise, sheet
from jaxgen.train.abilities import Autoencoder, Density, Sampler
from jaxgen.train.game import Player, System, Turn

LEGENDS = {
    "directions": "Each strip: along a principal direction, from two deviations below to two above",
    "components": "The means of the mixture's components",
}


def e_step(net, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(loss, log p(x) [b]) of vectors x: the loss's gradient is minus the means over the batch of
    r (weights), r (x - mu) (means) and r (x - mu)(x - mu)' (covariances), mu the present means."""
    joint = jax.lax.stop_gradient(net(x))
    r = jax.nn.softmax(joint)
    p = net.params

    def count(r, weight, mean, covariance):
        away = x - jax.lax.stop_gradient(mean)
        first, second = r @ away, (r[:, None] * away).T @ away
        return (r.sum() * weight + (first * mean).sum() + (second * covariance).sum()) / len(x)

    counted = jax.vmap(count, in_axes=(1, 0, 0, 0))
    loss = -counted(r, p["weights"], p["means"], p["covariances"]).sum()
    return loss, jax.nn.logsumexp(joint, axis=1)


def m_step(ridge: float) -> optax.GradientTransformation:
    """The optimizer that takes a gradient of `e_step` to the maximum; `ridge` is added to the
    covariances' diagonals."""

    def update(grads, state, params):
        weights = -grads["weights"]
        share = jnp.maximum(weights, 1e-10)
        shift = -grads["means"] / share[:, None]
        spread = -grads["covariances"] / share[:, None, None]
        spread -= shift[:, :, None] * shift[:, None, :]
        new = {
            "weights": weights,
            "means": params["means"] + shift,
            "covariances": spread + ridge * jnp.eye(shift.shape[1]),
        }
        return jax.tree.map(jnp.subtract, new, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def moments(params) -> tuple[jax.Array, jax.Array]:
    """Mean [d] and factor L [d, d] of the one Gaussian that a player's weights describe."""
    if "factor" in params:
        return params["mean"], lower(params["factor"])
    return params["means"][0], jnp.linalg.cholesky(params["covariances"][0])


def axes(params, n: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The Gaussian's mean [d], its n principal directions [d, n] and the deviations [n] along
    them, the largest first."""
    mean, factor = moments(params)
    values, vectors = jnp.linalg.eigh(factor @ factor.T)
    return mean, vectors[:, ::-1][:, :n], jnp.sqrt(values[::-1][:n])


def gaussian(
    module: nn.Module,
    shape: tuple[int, int, int],
    optimizer: optax.GradientTransformation,
    components: int = 40,
    mixture: tuple[Mixture, optax.GradientTransformation] | None = None,
) -> System:
    """A Gaussian of images of `shape` [H, W, C]; with `mixture` it is frozen, and that is fitted to
    its first principal components.

    module, optimizer: `Mixture(1)` with `m_step`, or `Factor` with any other.
    components: the number of principal components, of codes and of the mixture.
    """
    size = math.prod(shape)
    components = min(components, size)

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
            loss, log_p = e_step(nets.gaussian, x)
            return loss, {"log_likelihood": log_p.mean()}
        log_p = nets.gaussian(x)
        return -log_p.mean(), {"log_likelihood": log_p.mean()}

    def fit_mixture(nets, batch, key):
        z = code(axes(nets.gaussian.params, components), pixels(batch, key))
        loss, log_p = e_step(nets.mixture, z)
        return loss, {"gain": (log_p - gaussian_log_likelihood(z, 0.0, 0.0)).mean()}

    def log_prob(nets, batch, key):
        x = pixels(batch, key)
        log_p = jax.nn.logsumexp(nets.gaussian(x), axis=1)
        if mixture:
            z = code(axes(nets.gaussian.params, components), x)
            log_p += jax.nn.logsumexp(nets.mixture(z), axis=1)
            log_p -= gaussian_log_likelihood(z, 0.0, 0.0)
        return log_p + size * math.log(LEVEL)

    def draw_code(nets, z, u):
        """Codes of the mixture from normal numbers z [n, k] and a uniform one u [n]."""
        p = nets.mixture.params
        k = jnp.searchsorted(jnp.cumsum(p["weights"])[:-1], u)
        factors = jnp.linalg.cholesky(p["covariances"])
        return p["means"][k] + jnp.einsum("nij,nj->ni", factors[k], z)

    def generate(nets, z, condition, key):
        mean, factor = moments(nets.gaussian.params)
        x = mean + z[:, :-1] @ factor.T
        if mixture:
            frame = axes(nets.gaussian.params, components)
            old = code(frame, x)
            new = draw_code(nets, old, jax.scipy.special.ndtr(z[:, -1]))
            x += image(frame, new) - image(frame, old)
        return as_images(x)

    def as_images(x):
        return 2 * jnp.clip(x, 0, 1).reshape(-1, *shape) - 1

    def encode(nets, images):
        x = ((images + 1) / 2 * 255 + 0.5) * LEVEL
        return code(axes(nets.gaussian.params, components), x.reshape(-1, size))

    def decode(nets, z):
        return as_images(image(axes(nets.gaussian.params, components), z))

    def show(nets, batch, key):
        """Samples; the mean and the principal directions, two deviations to either side; and the
        means of the mixture's components."""
        frame = axes(nets.gaussian.params, min(16, components))
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
    players = {"gaussian": Player(module, [(1, size)], None if mixture else optimizer)}
    turn = Turn(("gaussian",), fit_gaussian)
    if mixture:
        players["mixture"] = Player(mixture[0], [(1, components)], mixture[1])
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
