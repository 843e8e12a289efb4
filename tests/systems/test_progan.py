"""What makes a progressive GAN itself: it grows, from the smaller network to the larger one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.commands.arguments import parse
from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.experiments import progan
from jaxgen.nn.resample import enlarge, shrink
from jaxgen.train.abilities import DiscriminatorScores, Sampler
from jaxgen.train.nets import bind, init
from jaxgen.train.stages import inherit
from tests.quick import quick_to_compile  # noqa: F401

TOY = progan.Args(
    **{"size": 16, "width": 6, "base": 32, "latent": 5, "batch_size": 8},
    **{"first_rounds": 3, "stage_rounds": 4, "last_rounds": 5, "fade_rounds": 2, "rounds": 12},
)
INFO = DataInfo((16, 16, 3), {"image": Field("image", 3)})
KEY = jax.random.key(0)


def stages(**flags):
    return progan.system(dataclasses.replace(TOY, **flags), INFO)


def players(stage, states, step=0):
    """The players after `step` rounds of the stage."""
    old = {name: state.replace(step=jnp.asarray(step)) for name, state in states.items()}
    return bind(old, KEY)


@pytest.fixture(scope="module")
def grown():
    """(the 8-pixel stage and its states, the 16-pixel stage and the states it starts from)."""
    _, one, two = stages()
    old = init(one.system, jax.random.key(1))
    return one, old, two, inherit(old, init(two.system, jax.random.key(2)))


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(3), (8, 16, 16, 3), minval=-1.0)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_stages_of_doubling_size():
    found = stages()
    assert [stage.name for stage in found] == ["4px", "8px", "16px"]
    assert [stage.rounds for stage in found] == [3, 4, 5]
    assert [stage.rounds for stage in stages(size=4)] == [12]
    assert [stage.rounds for stage in stages(rounds=24)] == [6, 8, 10]


def test_at_fade_0_it_is_the_smaller_network_enlarged(grown, images):
    """As the smaller stage leaves it, when it is full grown itself: G, its average, and D."""
    one, old, two, new = grown
    z = one.system.ability(Sampler).prior(jax.random.key(4), 8)

    @jax.jit
    def small(states):
        nets = players(one, states, step=4)
        made, score = nets.generator(z), nets.critic(shrink(images))
        return enlarge(made), score, one.system.ability(Sampler).generate(nets, z, {}, KEY)

    @jax.jit
    def large(states):
        nets = players(two, states, step=0)
        made, score = nets.generator(z, 0.0), nets.critic(images, 0.0)
        return made, score, two.system.ability(Sampler).generate(nets, z, {}, KEY)

    before, after = small(old), large(new)
    assert before[0].shape == before[2].shape == images.shape
    for a, b in zip(before, after, strict=True):
        close(a, b)
    close(after[2], after[0].clip(-1, 1))  # what a user sees


def test_at_fade_1_the_smaller_rgb_layers_are_forgotten(grown, images):
    _, _, two, new = grown

    def outputs(scale):
        def params(name):
            weights = dict(new[name].params)
            for layer in ("to_rgb_8", "from_rgb_8"):
                if layer in weights:
                    weights[layer] = jax.tree.map(lambda x: x * scale + scale - 1, weights[layer])
            return weights

        states = {k: s.replace(params=params(k), ema=None) for k, s in new.items()}
        nets = players(two, states)
        z = two.system.ability(Sampler).prior(jax.random.key(4), 8)
        make = jax.jit(lambda fade: (nets.generator(z, fade), nets.critic(images, fade)))
        return make(1.0), make(0.5)

    (g, d), (g_half, d_half) = outputs(1.0)
    (g2, d2), (g2_half, d2_half) = outputs(3.0)
    close(g, g2)
    close(d, d2)
    assert abs(g_half - g2_half).max() > 0.1
    assert abs(d_half - d2_half).max() > 1e-3


def test_half_way_the_images_are_the_mean_of_both(grown):
    _, _, two, new = grown
    nets = players(two, new)
    z = two.system.ability(Sampler).prior(jax.random.key(4), 4)
    at = jax.jit(lambda fade: nets.generator(z, fade))
    close(at(0.5), (at(0.0) + at(1.0)) / 2)


def test_both_players_and_the_data_are_faded_alike(grown, images):
    """After 1 of 2 fading rounds everything is half in; the generator's steps tell, also in its own
    turn, when the critic is a step ahead."""
    _, _, two, new = grown
    system = two.system
    close(
        system.ability(DiscriminatorScores).scores(players(two, new, 9), {"image": images}, KEY)[0],
        players(two, new).critic(images, 1.0),
    )
    half = 0.5 * images + 0.5 * enlarge(shrink(images))
    real, made = system.ability(DiscriminatorScores).scores(
        players(two, new, 1), {"image": images}, KEY
    )
    nets = players(two, new)
    close(real, nets.critic(half, 0.5))
    close(made, nets.critic(nets.generator(system.ability(Sampler).prior(KEY, 8), 0.5), 0.5))
    ahead = players(two, new, 1)
    ahead.critic.step = jnp.asarray(2)
    loss, _ = system.turns[1].loss(ahead, {"image": images}, KEY)
    z = system.ability(Sampler).prior(KEY, 8)
    close(loss, -nets.critic(nets.generator(z, 0.5), 0.5).mean())


def test_a_small_stage_sees_means_of_squares(images):
    stage = stages()[0]
    states = init(stage.system, KEY)
    nets = players(stage, states)
    real, _ = stage.system.ability(DiscriminatorScores).scores(nets, {"image": images}, KEY)
    close(real, nets.critic(shrink(images, 4)))


@pytest.mark.parametrize("target", [1.0, 750.0])
def test_the_critics_loss(images, target):
    """WGAN-GP's, the slope in units of its target, and a drift of 0.001 E f(x)^2."""
    stage = stages(target=target)[0]
    states = init(stage.system, KEY)

    @jax.jit
    def run(states):
        nets = players(stage, states)
        found = stage.system.turns[0].loss(nets, {"image": images}, jax.random.key(5))
        return *found, nets.critic(shrink(images, 4))

    loss, found, on_real = run(states)
    expected = -found["distance"] + 10 * found["penalty"] + 0.001 * (on_real**2).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    if target > 1:
        assert 0.98 < found["penalty"] < 1  # a slope of 750 is far


def test_weights_are_carried_and_optimizers_start_anew(grown):
    _, old, two, new = grown
    for name, state in new.items():
        assert state.step == 0
        same = set(old[name].params) & set(state.params)
        assert len(same) >= len(old[name].params) - 1  # but the smaller one's own smaller RGB layer
        for layer in same:
            jax.tree.map(
                np.testing.assert_array_equal, state.params[layer], old[name].params[layer]
            )
    average = new["generator"].ema["params"]
    assert set(average) == set(new["generator"].params)
    optimizer = two.system.players["critic"].optimizer
    updates, _ = optimizer.update(jnp.full((), 1e-3), optimizer.init(jnp.zeros(())))
    np.testing.assert_allclose(updates, -TOY.lr, rtol=1e-3)  # Adam's first step


def test_flags_that_do_not_fit():
    read = lambda *argv: parse(progan.Args, "jaxgen.experiments.progan", list(argv))
    with pytest.raises(UserError, match="--size is 4, 8, 16"):
        read("--size", "28")
    with pytest.raises(UserError, match="a stage must end grown"):
        read("--stage-rounds", "10", "--fade-rounds", "11")
    with pytest.raises(UserError, match="--fade-rounds 11 are more than --last-rounds 10"):
        read("--last-rounds", "10", "--fade-rounds", "11", "--size", "8")
    with pytest.raises(UserError, match="--target is more than 0"):
        read("--target", "0")
    with pytest.raises(UserError, match="--ema"):
        read("--ema", "1")
