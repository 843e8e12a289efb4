"""Both halves of the timed workloads are the same, at toy size."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from experiments.benchmarks.torch_nets import WORKLOADS, halves  # noqa: E402
from experiments.benchmarks.torch_nets.weights import Mismatch  # noqa: E402
from experiments.benchmarks.torch_nets.workload import Machine  # noqa: E402
from jaxgen import draw  # noqa: E402
from jaxgen.train.nets import init  # noqa: E402
from tests.quick import quick_to_compile  # noqa: E402, F401

CHANGED = {"pix2pix-256": {"dropout": 0.0, "size": 16}}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def normal(*shape):
    return np.float32(2 * np.sin(1 + 3 * np.arange(np.prod(shape)))).reshape(shape)


def uniform(*shape):
    return (normal(*shape) + 2) / 4


class Drawn(Machine):
    """Draws what our half draws in these tests; images channels first."""

    def normal(self, *shape):
        return channels_first(normal, shape)

    def uniform(self, *shape):
        return channels_first(uniform, shape)


def channels_first(drawn, shape):
    if len(shape) < 4:
        return torch.from_numpy(drawn(*shape))
    b, c, h, w = shape
    return torch.from_numpy(drawn(b, h, w, c)).permute(0, 3, 1, 2)


@pytest.fixture
def drawn(monkeypatch):
    """Numbers that do not depend on the key."""
    monkeypatch.setattr(draw, "normal", lambda key, n, shape=(): jnp.asarray(normal(n, *shape)))
    monkeypatch.setattr(draw, "uniform", lambda key, n, shape=(): jnp.asarray(uniform(n, *shape)))
    monkeypatch.setattr(draw, "bernoulli", lambda key, p, n: jnp.asarray(uniform(n) < p))


PLAYED = ["dcgan-64", "wgan_gp", "vae", "pixelcnn", "realnvp", "ebm", "pix2pix-256"]


@pytest.mark.parametrize("name", PLAYED)
def test_the_same_networks_and_the_same_rounds(name, drawn):
    workload = WORKLOADS[name].tiny(**CHANGED.get(name, {}))
    ours, machine = halves.Ours(workload), Drawn()
    nets = halves.paired(workload, ours.system, ours.states, machine)
    theirs = halves.Theirs(workload, nets, machine, ours.minibatches)
    for tolerance in (1e-4, 1e-3):  # Adam's first steps follow signs, of gradients near 0 as well
        metrics, losses = jax.device_get(ours.play(1)), theirs.play(1)
        assert len(losses) == len(ours.system.turns)
        for turn, loss in losses.items():
            np.testing.assert_allclose(loss.item(), metrics[turn][0], tolerance, tolerance)


def test_a_round_costs_what_its_minibatches_do():
    ours = halves.Ours(WORKLOADS["wgan_gp"].tiny())
    assert ours.system.plan(0) == (2, 1)
    once, critic = ours._cost((1, 1)), ours._cost((1, 0))
    assert 0 < critic[0] < once[0]
    np.testing.assert_allclose(ours.cost(), once + critic)


def test_what_differs_is_refused():
    workload = WORKLOADS["dcgan-64"].tiny()
    system = workload.system()
    states = init(system, jax.random.key(0))

    def narrow():
        other = WORKLOADS["dcgan-64"].tiny(width=2).nets()
        return {**workload.nets(), "generator": other["generator"]}

    def leaky():
        nets = workload.nets()
        nets["discriminator"][1].negative_slope = 0.1
        return nets

    for nets, says in ((narrow, "generator: .* is"), (leaky, "discriminator: the outputs differ")):
        wrong = dataclasses.replace(workload, nets=nets)
        with pytest.raises(Mismatch, match=says):
            halves.paired(wrong, system, states, Machine())
