"""Gradients that come in parts: a large batch in the memory of a small one."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgen as jg
from jaxgen import parallel
from jaxgen.errors import UserError
from jaxgen.nn.replay import ImagePool
from jaxgen.train import game
from jaxgen.train.fit import fit
from tests.train import toy


def close(one, other, atol):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol)


def trained(system, parts, n=1, rounds=6, batch_size=8, data=None):
    records = []
    states = fit(
        system,
        data or toy.Points(),
        rounds,
        batch_size=batch_size,
        accumulate=parts,
        mesh=toy.mesh(n),
        log_every=1,
        log=records.append,
    )
    timed = {"seconds", "images_per_second", "data_wait"}
    return states, [{k: x for k, x in record.items() if k not in timed} for record in records]


@pytest.mark.parametrize(("parts", "n"), [(2, 1), (8, 1), (2, 4)])
def test_parts_are_the_whole_to_float_rounding(parts, n):
    """Latents are drawn by example, wherever it comes: the same ones in each case."""
    system = toy.gan(optax.adam(1e-2), ema=0.9)
    whole, records = trained(system, 1)
    mine, own = trained(system, parts, n)
    close(mine, whole, 1e-6)
    assert int(mine["g"].step) == 6
    for record, other in zip(records, own, strict=True):
        assert record == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("n", [1, 2])
def test_replay_memory_keeps_its_lanes(n):
    """Each position of the batch has its own memory, whichever part it comes in."""

    def loss(nets, batch, key):
        seen = nets.pool(batch["x"][:, None, None, :])
        return (nets.g(seen[:, 0, 0]) ** 2).mean(), {}

    system = game.System(
        players={
            "g": game.Player(toy.Dense(2), [(1, 2)], optax.sgd(0.1)),
            "pool": game.Player(ImagePool(16), [(8, 1, 1, 2)]),
        },
        turns=(game.Turn(("g",), loss),),
        show=toy.show,
    )
    whole, _ = trained(system, 1)
    mine, _ = trained(system, 4, n)
    close(mine, whole, 1e-6)
    assert jnp.ptp(whole["pool"].collections["memory"]["filled"]) == 0


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("vae", {"units": 8, "latent": 2}),
        ("pixelcnn", {"width": 4, "layers": 2}),
    ],
)
def test_systems_without_batch_statistics_and_spectral_norm(name, flags):
    data = jg.load_data("mnist5k", size=8, channels=1)
    module = importlib.import_module(f"jaxgen.experiments.{name}")
    args = module.Args(size=8, channels=1, **flags)
    system = module.system(args, data.info)
    whole, _ = trained(system, 1, rounds=1, data=data)
    mine, _ = trained(system, 4, rounds=1, data=data)
    for player in whole:
        close(mine[player].params, whole[player].params, 1e-5)


@pytest.mark.parametrize(("parts", "n"), [(1, 1), (4, 1), (2, 2)])
def test_running_values_move_with_every_part(parts, n):
    """The mean of a part, halved into the mean of those before."""

    class Mean(toy.nn.Module):
        @toy.nn.compact
        def __call__(self, x):
            scale = self.param("scale", lambda _: jnp.float32(1))
            mean = self.variable("batch_stats", "mean", lambda: jnp.float32(0))
            if not self.is_initializing():
                mean.value = (mean.value + parallel.mean(x.mean())) / 2
            return x * scale

    loss = lambda nets, batch, key: ((nets.g(batch["x"]) ** 2).mean(), {})
    player = game.Player(Mean(), [(1, 2)], optax.sgd(0.0))
    system = game.System({"g": player}, (game.Turn(("g",), loss),), toy.show)
    states, _ = trained(system, parts, n, rounds=1)
    shares = toy.Points().arrays["x"][:8].reshape(n, parts, -1)  # a device's, in parts
    expected = 0.0
    for part in shares.mean(axis=(0, 2)):
        expected = (expected + part) / 2
    mean = float(states["g"].collections["batch_stats"]["mean"])
    assert mean == pytest.approx(expected, abs=1e-6)


def test_a_batch_that_cannot_be_cut_is_one_line():
    with pytest.raises(UserError, match=r"8 cannot be split over 2 devices in 3 parts each; use a"):
        trained(toy.gan(optax.sgd(0.1)), 3, 2)
