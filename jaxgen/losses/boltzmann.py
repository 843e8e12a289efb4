"""Reducing the dimensionality of data with neural networks (Hinton & Salakhutdinov, Science 2006),
https://doi.org/10.1126/science.1127647.

The pre-training of the deep autoencoder (`models.autoencoder`): restricted Boltzmann machines, each
on the hidden probabilities of the one below, learn by contrastive divergence (CD-1, the authors'
code),

    dW = rate (<v h>_data - <v h>_reconstruction - cost W),   with momentum.
"""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn


def contrastive_divergence(params, v, noise, linear: bool) -> tuple[jax.Array, jax.Array]:
    """(loss, summed squared error [b]) of one step from visible probabilities v [b, n]: the loss's
    gradient is minus the differences of the statistics.

    noise: uniform in [0, 1), or normal for linear hidden units, [b, hidden].
    """
    fixed = jax.lax.stop_gradient(params)
    mean = lambda v: v @ fixed["weights"] + fixed["hidden"]
    probability = mean if linear else lambda v: nn.sigmoid(mean(v))
    up = probability(v)
    h = up + noise if linear else jnp.float32(up > noise)
    again = nn.sigmoid(h @ fixed["weights"].T + fixed["visible"])
    down = probability(again)
    statistics = {
        "weights": (v.T @ up - again.T @ down) / len(v),
        "visible": (v - again).mean(0),
        "hidden": (up - down).mean(0),
    }
    loss = -jnp.asarray(optax.tree.vdot(statistics, params))
    return loss, ((v - again) ** 2).sum(1)
