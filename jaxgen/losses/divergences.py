"""What the GAN papers' distances say of two parallel lines (Arjovsky et al., 2017, Example 1).

One distribution is uniform on {0} x [0, 1], the other on {theta} x [0, 1]. Only the first of these
functions of theta has a slope to follow. Natural logarithms; the Jensen-Shannon divergence has the
weights 1/2 (which the paper's formula leaves out but its value log 2 needs).
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

Theta = Float[Array, "..."]


def earth_mover(theta: Theta) -> Theta:
    """|theta|: all mass moves that far."""
    return jnp.abs(theta)


def jensen_shannon(theta: Theta) -> Theta:
    """log 2 nats, but 0 at theta = 0."""
    return jnp.where(theta == 0, 0.0, math.log(2))


def total_variation(theta: Theta) -> Theta:
    """1, but 0 at theta = 0."""
    return jnp.where(theta == 0, 0.0, 1.0)


def kullback_leibler(theta: Theta) -> Theta:
    """Infinite, either way round, but 0 at theta = 0."""
    return jnp.where(theta == 0, 0.0, jnp.inf)


def minimax_value(js: Theta) -> Theta:
    """V(D*, G) = -log 4 + 2 JS: the GAN's value under a perfect discriminator, from the divergence
    in nats (Goodfellow et al., 2014, Theorem 1)."""
    return 2 * js - math.log(4)
