"""Density estimation using Real NVP (Dinh, Sohl-Dickstein & Bengio, ICLR 2017),
https://arxiv.org/abs/1605.08803.

An invertible network f takes images to latents z ~ N(0, I), so that their likelihood is exact:

    log p(x) = log N(f(x); 0, I) + log |det df(x) / dx|                            (Eq. 2)

It is built of coupling layers (Eq. 9), in which one half of the numbers, unchanged, says how the
other is moved and scaled: the determinant is a product, and the inverse costs as much as f.  Grey
levels are dequantised and become logits (Sec. 4.1).

The network is that of the authors' code: y = (x + t) exp(s), weight norm everywhere, and batch
norm inside the flow.  Deviations.  Samples are drawn with the running averages of the batch norm,
so that f and its inverse agree (the released code takes the batch's moments there).
"""

import math

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.latents import normal
from jaxgen.losses.likelihood import gaussian_log_likelihood
from jaxgen.models.vae import LEVEL
from jaxgen.systems.likelihood.pixels import SPREAD, dequantise
from jaxgen.train.abilities import Autoencoder, Density, Option, Sampler
from jaxgen.train.game import Player, System, Turn

CONSTRAINT = 0.9  # the share of [0, 1] that pixels take before they become logits


def to_logits(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logits of x [b, ...] in [0, 1], and the log-determinant [b]."""
    p = (1 - CONSTRAINT) / 2 + CONSTRAINT * x
    logits = jax.scipy.special.logit(p)
    change = math.log(CONSTRAINT) + jax.nn.softplus(logits) + jax.nn.softplus(-logits)
    return logits, change.sum(tuple(range(1, x.ndim)))


def from_logits(logits: jax.Array) -> jax.Array:
    """The inverse of `to_logits`, cut to [0, 1]."""
    return jnp.clip((nn.sigmoid(logits) - (1 - CONSTRAINT) / 2) / CONSTRAINT, 0, 1)


def realnvp(
    flow: nn.Module,
    shape: tuple[int, int, int],
    optimizer: optax.GradientTransformation,
    weight_decay: float = 5e-5,
) -> System:
    """`models.realnvp.RealNVP` on images of `shape` [H, W, C].

    weight_decay: of the scales of the couplings and the magnitudes of the kernels.
    """
    size = math.prod(shape)

    def likelihood(nets, batch, key, train):
        logits, change = to_logits(dequantise((batch["image"] + 1) / 2, key))
        z, log_det = nets.flow(logits, train=train)
        return gaussian_log_likelihood(z, 0.0, 0.0) + log_det + change + size * math.log(LEVEL)

    def loss(nets, batch, key):
        log_p = likelihood(nets, batch, key, train=True).mean()
        return weight_decay * squares(nets.flow.params) - log_p, {
            "log_likelihood": log_p,
            "bits_per_dimension": -log_p / size / math.log(2),
        }

    def log_prob(nets, batch, key):
        return likelihood(nets, batch, key, train=False)

    def encode(nets, images):
        levels = ((images + 1) / 2 * 255 + 0.5) * LEVEL
        return nets.flow(to_logits(levels)[0], train=False)[0].reshape(-1, size)

    def decode(nets, z):
        logits, _ = nets.flow(z.reshape(-1, *shape), reverse=True, train=False)
        return 2 * from_logits(logits) - 1

    def generate(nets, z, condition, key, temperature=1.0):
        return decode(nets, temperature * z)

    return System(
        players={"flow": Player(flow, [(2, *shape)], optimizer)},
        turns=(Turn(("flow",), loss),),
        abilities=(
            Sampler(
                normal(size),
                generate,
                options={"temperature": Option(1.0, "Factor of the latents' deviation", low=0)},
                traversable=False,
            ),
            Autoencoder(encode, decode),
            Density(log_prob, of=SPREAD),
        ),
    )


def squares(params):
    """The summed squares of the weights that the authors' code decays."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    names = [(jax.tree_util.keystr(path, simple=True, separator="/"), x) for path, x in leaves]
    return sum(
        jnp.sum(x**2)
        for name, x in names
        if name.endswith("/magnitude") or ("checkerboard" in name and name.endswith("/scale"))
    )
