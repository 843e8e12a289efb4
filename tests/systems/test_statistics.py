"""Running statistics that a turn moves: once for every pass that the reference makes."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.data.source import DataInfo, Field
from jaxgen.models.dcgan import Discriminator, Generator
from jaxgen.systems.gan.dcgan import LATENT, dcgan
from jaxgen.train.nets import bind, init, place, shapes
from jaxgen.train.program import compile_rounds
from tests.quick import quick_to_compile  # noqa: F401
from tests.train.toy import mesh

TINY = {"size": 16, "width": 2}
PAIRS = {name: Field("image", 3) for name in "ab"}
ONE = {"image": Field("image", 3)}
BOTH = {"generator", "discriminator"}


@pytest.mark.parametrize(
    ("experiment", "flags", "fields", "moved"),
    [
        # PyTorch's examples make the fakes once and judge them twice.
        ("dcgan", TINY, ONE, [{"discriminator"}, BOTH]),
        (
            "srgan",
            {**TINY, "size": 20, "blocks": 1, "content": "pixels"},
            ONE,
            [{"discriminator"}, BOTH],
        ),
        ("pix2pix", {**TINY, "layers": 1, "depth": 2}, PAIRS, [{"discriminator"}, BOTH]),
        # The authors' critic learns from new fakes in each step; that of WGAN-GP has no batch norm.
        ("wgan", TINY, ONE, [{"generator", "critic"}] * 2),
        ("wgan_gp", TINY, ONE, [{"generator"}] * 2),
    ],
)
def test_every_turn(experiment, flags, fields, moved):
    module = importlib.import_module(f"jaxgen.experiments.{experiment}")
    args = module.Args(**flags, **{} if "a" in fields else {"channels": 3})
    system = module.system(args, DataInfo((*args.size, 3), fields))
    system = getattr(system[-1], "system", None) if isinstance(system, list) else system
    batch = {x: jax.random.uniform(jax.random.key(0), (4, *args.size, 3)) for x in fields}

    leaves = lambda net: jax.tree.leaves(net.collections.get("batch_stats"))
    found = []

    def play(states):  # only traced: what moves is another array afterwards
        for turn in system.turns:
            nets = bind(states, jax.random.key(0))
            before = {name: leaves(net) for name, net in vars(nets).items()}
            turn.loss(nets, batch, jax.random.key(1))
            changed = lambda name, old: any(
                a is not b for a, b in zip(leaves(vars(nets)[name]), old)
            )
            found.append({name for name, old in before.items() if changed(name, old)})

    jax.eval_shape(play, shapes(system))
    assert found == moved


def test_a_round_of_dcgan_by_hand():
    """G once, by its fakes; D by real images, by the fakes, and by them again when it has learned:
    with momentum 0.9, as many steps of 1/10 towards a batch's moments."""
    shape, where = (16, 16, 1), mesh(1)
    z = jax.random.normal(jax.random.key(0), (4, LATENT))
    real = np.random.default_rng(0).integers(0, 256, (1, 1, 4, *shape), dtype=np.uint8)
    g, d = Generator(16, 1, width=2), Discriminator(16, width=2)
    system = dcgan(g, d, shape, prior=lambda key, n: z)
    states = init(system, jax.random.key(1))
    first = jax.device_get(states)
    program = compile_rounds(system, where, (1, 1), fields={"image": Field("image", 1)})
    rounds = np.zeros(1, np.int32)
    states, _ = program(place(states, where), {"image": real}, rounds, jax.random.key(2))

    @jax.jit
    def by_hand(judge):
        def moved(module, params, x, old):
            y, new = module.apply({"params": params, **old}, x, mutable=["batch_stats"])
            return y, new

        fake, once = moved(g, first["generator"].params, z, first["generator"].collections)
        thrice = first["discriminator"].collections
        for params, x in (
            (first["discriminator"].params, real[0, 0] / jnp.float32(127.5) - 1),
            (first["discriminator"].params, fake),
            (judge, fake),
        ):
            _, thrice = moved(d, params, x, thrice)
        return once, thrice

    once, thrice = by_hand(states["discriminator"].params)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, states["generator"].collections, once)
    jax.tree.map(close, states["discriminator"].collections, thrice)
