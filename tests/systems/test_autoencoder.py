"""The deep autoencoder: how its machines learn, and what they become."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen import draw
from jaxgen.data.arrays import arrays
from jaxgen.errors import UserError
from jaxgen.experiments import autoencoder as experiment
from jaxgen.models.autoencoder import RBM, Decoder, Encoder
from jaxgen.systems.likelihood.autoencoder import autoencoder, machine, unroll
from jaxgen.train import optim
from jaxgen.train.abilities import Autoencoder
from jaxgen.train.nets import bind, init
from tests.quick import quick_to_compile  # noqa: F401
from tests.systems.small import SHAPE, as_seen, build

sigmoid = lambda x: 1 / (1 + np.exp(-x))
MACHINES = [RBM(6), RBM(5), RBM(2, linear=True)]


@pytest.fixture(scope="module")
def stack():
    """The systems of three machines, with the states of the last one's; no weight is zero."""
    systems = [machine(MACHINES[:i], own, SHAPE, optim.rbm(0.1)) for i, own in enumerate(MACHINES)]
    rng = np.random.default_rng(0)
    noisy = lambda w: jnp.asarray(w + rng.normal(size=w.shape) / 5, jnp.float32)
    states = init(systems[-1], jax.random.key(0))
    states = {k: s.replace(params=jax.tree.map(noisy, s.params)) for k, s in states.items()}
    return SimpleNamespace(systems=systems, states=states)


def layers(stack):
    """Weights and biases (visible, hidden) of each machine, as numpy has them."""
    order = ("weights", "visible", "hidden")
    return [[np.float64(stack.states[f"rbm_{i}"].params[k]) for k in order] for i in range(3)]


def pixels(n):
    return (np.float64(as_seen(n)["image"]).reshape(n, -1) + 1) / 2


@pytest.mark.parametrize("level", [1, 2])
def test_a_machine_learns_by_the_differences_of_statistics(stack, level):
    """From the probabilities of those below, which stand still: by hand."""
    system, name, key = stack.systems[level], f"rbm_{level}", jax.random.key(3)
    assert [turn.learners for turn in system.turns] == [(name,)]
    states = {k: stack.states[k] for k in system.players}
    loss = system.turns[0].loss

    @jax.jit
    @jax.grad
    def learn(params):
        moved = states | {name: states[name].replace(params=params)}
        return loss(bind(moved, key), as_seen(8), key)[0]

    found = learn(states[name].params)
    v = pixels(8)
    for weights, _, hidden in layers(stack)[:level]:
        v = sigmoid(v @ weights + hidden)
    weights, visible, hidden = layers(stack)[level]
    linear = MACHINES[level].linear
    probability = (lambda x: x) if linear else sigmoid
    up = probability(v @ weights + hidden)
    noise = (draw.normal if linear else draw.uniform)(key, 8, (MACHINES[level].hidden,))
    h = up + noise if linear else up > noise
    again = sigmoid(np.float64(h) @ weights.T + visible)
    down = probability(again @ weights + hidden)
    expected = {
        "weights": (v.T @ up - again.T @ down) / 8,
        "visible": (v - again).mean(0),
        "hidden": (up - down).mean(0),
    }
    for k, statistic in expected.items():
        np.testing.assert_allclose(found[k], -statistic, atol=1e-5)


def coder(hidden=(6, 5), latent=2):
    nets = Encoder((*hidden, latent)), Decoder(SHAPE, hidden[::-1])
    return autoencoder(*nets, SHAPE, latent, optax.sgd(0.1))


def test_machines_unroll_to_an_autoencoder(stack):
    """What goes up through the machines and down again is what it begins with."""
    system = coder()
    states = unroll(stack.states, init(system, jax.random.key(1)))
    ability, nets = system.ability(Autoencoder), bind(states, jax.random.key(0))
    images = as_seen(4)["image"]
    codes = ability.encode(nets, images)
    again = ability.decode(nets, codes)
    h = pixels(4)
    for i, (weights, _, hidden) in enumerate(layers(stack)):
        h = h @ weights + hidden
        h = h if MACHINES[i].linear else sigmoid(h)
    np.testing.assert_allclose(codes, h, atol=1e-5)
    for weights, visible, _ in layers(stack)[::-1]:
        h = sigmoid(h @ weights.T + visible)
    np.testing.assert_allclose((again + 1) / 2, h.reshape(again.shape), atol=1e-5)


def test_the_loss_is_the_cross_entropy_and_the_error_a_sum_over_pixels():
    system = coder()
    nets = bind(init(system, jax.random.key(1)), jax.random.key(0))
    loss, metrics = jax.jit(lambda b: system.turns[0].loss(nets, b, None))(as_seen(4))
    ability = system.ability(Autoencoder)
    x = as_seen(4)["image"]
    p, q = ((np.float64(y) + 1) / 2 for y in (x, ability.decode(nets, ability.encode(nets, x))))
    by_hand = -(p * np.log(q) + (1 - p) * np.log(1 - q)).sum((1, 2, 3)).mean()
    np.testing.assert_allclose(loss, by_hand, rtol=1e-4)
    np.testing.assert_allclose(metrics["squared_error"], ((p - q) ** 2).sum() / 4, rtol=1e-4)


def test_pictures(stack):
    draws = lambda system, nets: jax.jit(lambda b: system.show(nets, b, None))(as_seen(40))
    shown = draws(stack.systems[-1], bind(stack.states, jax.random.key(0)))
    system = coder()
    nets = bind(unroll(stack.states, init(system, jax.random.key(1))), jax.random.key(0))
    same = draws(system, nets)
    assert same["reconstructions"].shape == (32, SHAPE[0], 2 * SHAPE[1], 1)
    np.testing.assert_allclose(shown["reconstructions"], same["reconstructions"], atol=1e-5)
    ability = system.ability(Autoencoder)
    z = ability.encode(nets, as_seen(40)["image"])
    corners = jnp.stack([z.min(0), z.max(0)])
    first, last = ability.decode(nets, corners)
    plane = same["plane"][0]
    assert plane.shape == (20 * SHAPE[0], 20 * SHAPE[1], 1)
    np.testing.assert_allclose(plane[: SHAPE[0], : SHAPE[1]], first, atol=1e-4)
    np.testing.assert_allclose(plane[-SHAPE[0] :, -SHAPE[1] :], last, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_codes_of_a_few_images_are_drawn(n):
    """Also of such that are all alike."""
    rng = np.random.default_rng(0)
    for image in (rng.integers(0, 256, (n, 4, 4, 1), np.uint8), np.zeros((n, 4, 4, 1), np.uint8)):
        encode = lambda x: np.float32(x).reshape(len(x), -1)[:, :2]
        figure = experiment.draw(SimpleNamespace(data=arrays({"image": image}), encode=encode))
        assert [len(panel.lines) for panel in figure.axes] == [1, 1]


def test_rounds_are_shared_out_among_machines_and_fine_tuning():
    stages = build(experiment)
    assert [stage.name for stage in stages] == ["rbm0", "rbm1", "rbm2", "rbm3", "autoencoder"]
    assert [stage.rounds for stage in stages] == [450, 450, 450, 450, 2200]
    for flags in ({"pretraining": False}, {"net": "conv"}):
        assert set(build(experiment, **flags).players) == {"encoder", "decoder"}


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"net": "conv", "size": 30}, "sides that 4 divides, such as --size 28, not 30"),
        ({"units": ()}, "--units are numbers of 1 or more"),
        ({"units": (8, 0)}, "--units are numbers of 1 or more"),
    ],
)
def test_mistakes(flags, problem):
    with pytest.raises(UserError, match=problem):
        experiment.Args(**flags).check()
