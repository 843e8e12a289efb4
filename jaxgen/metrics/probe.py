"""Probes: how well classes can be read off features that stay as they are, by logistic regression
(a linear probe) or by the nearest neighbours.

The linear one is L2-regularised and fitted by L-BFGS, as in CLIP (Radford et al., 2021, Sec. 3.2);
its strength is the best of `STRENGTHS` on a fifth of the training set, and then all of it is
fitted.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

STRENGTHS = tuple(10.0**k for k in range(-6, 2))
STEPS = 300

Features = Float[Array | np.ndarray, "n d"]
Labels = Int[Array | np.ndarray, "n"]


@partial(jax.jit, static_argnames="classes")
def _fit(x, labels, weights, strength, classes):
    """Kernel [d, classes] and bias of the weighted mean cross-entropy + strength / 2 |kernel|^2."""

    def loss(params):
        kernel, bias = params
        each = optax.softmax_cross_entropy_with_integer_labels(x @ kernel + bias, labels)
        return (weights * each).sum() / weights.sum() + strength / 2 * (kernel**2).sum()

    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(carry, _):
        params, state = carry
        value, grad = value_and_grad(params, state=state)
        updates, state = solver.update(grad, state, params, value=value, grad=grad, value_fn=loss)
        return (optax.apply_updates(params, updates), state), None

    params = jnp.zeros((x.shape[1], classes)), jnp.zeros(classes)
    (params, _), _ = jax.lax.scan(step, (params, solver.init(params)), length=STEPS)
    return params


def linear_probe(
    x: Features, labels: Labels, x_test: Float[Array | np.ndarray, "m d"], classes: int
) -> tuple[Int[Array, "m"], float]:
    """The classes that it gives to the test features [m, d], and the strength that was chosen.

    Features are shifted and scaled to mean 0 and deviation 1 in training.
    """
    x, labels = jnp.asarray(x, jnp.float32), jnp.asarray(labels)
    mean, std = x.mean(axis=0), jnp.maximum(x.std(axis=0), 1e-6)
    x, x_test = (x - mean) / std, (jnp.asarray(x_test, jnp.float32) - mean) / std
    fifth = jnp.asarray(np.random.RandomState(0).permutation(len(x)) % 5 == 0)

    def right(strength):
        kernel, bias = _fit(x, labels, jnp.float32(~fifth), strength, classes)
        found = (x @ kernel + bias).argmax(axis=1) == labels
        return float((found & fifth).sum())

    strength = max(STRENGTHS, key=right)
    kernel, bias = _fit(x, labels, jnp.ones(len(x)), strength, classes)
    return (x_test @ kernel + bias).argmax(axis=1), strength


def nearest_neighbours(
    x: Features, labels: Labels, x_test: Float[Array | np.ndarray, "m d"], k: int = 5
) -> Int[Array, "m"]:
    """The class of most of the `k` training features that are nearest to each of the test features;
    where several have as many, the lowest.  All vote where there are fewer than `k`."""
    x, labels = jnp.asarray(x, jnp.float32), jnp.asarray(labels)

    @jax.jit
    def vote(one):
        _, nearest = jax.lax.top_k(-((x - one) ** 2).sum(axis=1), min(k, len(x)))
        return (labels[nearest][:, None] == classes).sum(axis=0).argmax()

    classes = jnp.arange(int(labels.max()) + 1)
    return jax.lax.map(vote, jnp.asarray(x_test, jnp.float32), batch_size=16)
