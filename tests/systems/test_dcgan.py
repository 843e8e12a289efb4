"""What makes DCGAN itself."""

import jax

from jaxgen.experiments import dcgan as experiment
from jaxgen.systems.gan import dcgan
from jaxgen.train.abilities import Sampler
from tests.systems.small import build


def test_generator_learns_from_the_fakes_just_judged():
    system = build(experiment, width=2)
    assert [turn.reuse for turn in system.turns] == ["none", "batch+noise"]
    assert system.minibatches(system.plan(0)) == 1
    assert system.ability(Sampler).interpolate.__name__ == "slerp"
    paper = build(experiment, width=2, variant="paper")
    z = paper.ability(Sampler).prior(jax.random.key(0), 1000)
    assert z.min() < -0.99
    assert -1 <= z.min() < z.max() <= 1
    assert paper.ability(Sampler).interpolate.__name__ == "lerp"
    assert z.shape == (1000, dcgan.LATENT)
