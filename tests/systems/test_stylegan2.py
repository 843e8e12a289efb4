"""What makes StyleGAN2 itself: lazy regularisers, mixed styles, truncation, ADA's probability."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.commands.arguments import parse
from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.experiments import stylegan, stylegan2
from jaxgen.train import devices
from jaxgen.train.abilities import LatentSpace, Sampler, StyleMixer
from jaxgen.train.game import System
from jaxgen.train.nets import bind, init, place
from jaxgen.train.optim import half_life, lazy_adam
from jaxgen.train.program import compile_rounds
from tests.quick import quick_to_compile  # noqa: F401

TOY = stylegan2.Args(
    **{"size": 8, "base": 32, "width": 4, "latent": 5, "batch_size": 4, "augment": "none"},
    **{"ada_images": 16, "mixing": 1.0, "noise_rate": 1.0},
)
KEY = jax.random.key(0)
FIELDS = {"image": Field("image", 3)}
IMAGES = jax.random.uniform(jax.random.key(3), (4, 8, 8, 3), minval=-1.0)


def build(**flags):
    args = dataclasses.replace(TOY, **flags)
    return stylegan2.system(args, DataInfo((*args.size, args.channels), FIELDS))


@pytest.fixture(scope="module")
def toy():
    """A system and its states, with a mean style, noise and colours that are not their first."""
    system = build()
    states = init(system, jax.random.key(1))
    state = states["generator"]
    keys = iter(jax.random.split(jax.random.key(2), 99))
    shake = lambda x: x + 0.3 * jax.random.normal(next(keys), x.shape)
    extra = {**state.collections, "averages": jax.tree.map(shake, state.collections["averages"])}
    params = jax.tree.map(shake, state.params)
    states["generator"] = state.replace(params=params, collections=extra, ema={"params": params})
    return system, states


def nets_of(system, states):
    return bind(states, KEY)


def turn(system, name):
    return next(turn for turn in system.turns if turn.name == name)


def test_the_order_of_play():
    """G, its path lengths in every 4th round, D, its R1 in every 16th, all on one minibatch."""
    system = build()
    assert [turn.name for turn in system.turns] == ["generator", "path", "discriminator", "r1"]
    assert [system.plan(r) for r in (0, 1, 4, 16)] == [
        *((1, 1, 1, 1), (1, 0, 1, 0), (1, 1, 1, 0), (1, 1, 1, 1))
    ]
    assert system.minibatches((1, 1, 1, 1)) == 1
    bare = build(gamma=0.0, path_weight=0.0)
    assert [turn.name for turn in bare.turns] == ["generator", "discriminator"]
    assert "path" not in bare.players


def test_lazy_adam_takes_the_constants_of_appendix_b():
    """17 steps in 16 rounds are to move as far as 16 steps would."""
    lazy, rate = lazy_adam(2e-3, 16), 2e-3 * 16 / 17
    ours, theirs = (
        tx.init(jnp.zeros(())) for tx in (lazy, optax.adam(rate, 0.0, 0.99 ** (16 / 17)))
    )
    for gradient in (1.0, -0.3, 2.0):
        a, ours = lazy.update(jnp.float32(gradient), ours)
        b, theirs = optax.adam(rate, 0.0, 0.990585).update(jnp.float32(gradient), theirs)
        np.testing.assert_allclose(a, b, rtol=1e-4)
    plain, _ = lazy_adam(2e-3, 0).update(jnp.float32(1), lazy_adam(2e-3, 0).init(jnp.float32(0)))
    np.testing.assert_allclose(plain, -2e-3, rtol=1e-4)


def test_the_half_life_of_averages_grows_with_what_was_seen():
    decay = half_life(1000, 10, 0.05)
    np.testing.assert_allclose(decay(jnp.int32(99)), 0.5 ** (10 / 50), rtol=1e-6)
    np.testing.assert_allclose(decay(jnp.int32(99_999)), 0.5 ** (10 / 1000), rtol=1e-6)
    np.testing.assert_allclose(half_life(1000, 10)(jnp.int32(0)), 0.5 ** (1 / 100), rtol=1e-6)


def test_r1_is_weighted_for_its_rounds(toy):
    """16 gamma / 2 E |grad D|^2 of a D that is, here, linear in the pixels' sum."""
    system, _ = toy
    linear = lambda x: 0.3 * x.sum((1, 2, 3))
    nets = SimpleNamespace(discriminator=SimpleNamespace(still=linear))
    loss, _ = turn(system, "r1").loss(nets, {"image": IMAGES}, KEY)
    np.testing.assert_allclose(loss, 16 * TOY.gamma / 2 * 0.09 * 8 * 8 * 3, rtol=1e-5)


def test_path_lengths_are_of_half_the_batch_and_their_mean_is_kept(toy):
    system, states = toy

    @jax.jit
    def run(states):
        nets = nets_of(system, states)
        loss, metrics = turn(system, "path").loss(nets, {"image": IMAGES}, KEY)
        return loss, metrics["length"], nets.path()

    loss, length, kept = run(states)
    assert length > 0
    np.testing.assert_allclose(kept, length, rtol=1e-6)
    # From a mean of 0 it moves by 1/100 of the lengths' own mean.
    assert loss >= 4 * 2 * (100 * length * 0.99) ** 2 * 0.999  # E x^2 is (E x)^2 at least


def test_truncation_goes_to_the_mean_style(toy):
    system, states = toy
    sampler, space = system.ability(Sampler), system.ability(LatentSpace)
    z = jax.random.normal(jax.random.key(4), (3, 5))

    @jax.jit
    def run(states):
        nets = nets_of(system, states)
        mean = states["generator"].collections["averages"]["mapping"]["w"]
        average = space.generate(nets, jnp.stack([mean] * 3), space.maps(nets))
        return (
            [sampler.generate(nets, z, {}, KEY, truncation=psi) for psi in (0.0, 0.5, 1.0)],
            sampler.generate(nets, z, {}, KEY),
            average,
        )

    (none, half, whole), made, average = run(states)
    np.testing.assert_allclose(whole, made, atol=1e-5)
    np.testing.assert_allclose(none, average.clip(-1, 1), atol=1e-5)
    assert abs(half - none).max() > 1e-3
    assert abs(half - whole).max() > 1e-3


def test_mixing_takes_the_coarse_layers_from_one_and_the_fine_from_the_other(toy):
    system, states = toy
    mixer, sampler = system.ability(StyleMixer), system.ability(Sampler)
    a, b = jax.random.normal(jax.random.key(4), (2, 3, 5))
    assert mixer.layers == 4

    @jax.jit
    def run(states):
        nets = nets_of(system, states)
        mixed = [mixer.mix(nets, a, b, layer) for layer in (0, 2, 4)]
        return mixed, *(sampler.generate(nets, z, {}, KEY) for z in (a, b))

    (first, middle, last), from_a, from_b = run(states)
    np.testing.assert_allclose(first, from_b, atol=1e-5)
    np.testing.assert_allclose(last, from_a, atol=1e-5)
    assert min(abs(middle - from_a).max(), abs(middle - from_b).max()) > 1e-3


def test_images_are_searched_for_among_styles_and_noise(toy):
    system, states = toy
    space, z = system.ability(LatentSpace), jax.random.normal(jax.random.key(5), (2, 5))

    @jax.jit
    def run(states):
        nets = nets_of(system, states)
        w = nets.generator(z, method="styles", train=False)[:, 0]
        maps = space.maps(nets)
        none = jax.tree.map(jnp.zeros_like, maps)
        made = [space.generate(nets, w, m).clip(-1, 1) for m in (maps, none)]
        return (
            space.points(nets, KEY, 6),
            made,
            system.ability(Sampler).generate(nets, z, {}, KEY),
            maps,
        )

    points, (fixed, silent), made, maps = run(states)
    assert points.shape == (6, 5)
    np.testing.assert_allclose(fixed, made, atol=1e-5)
    assert abs(silent - fixed).max() > 1e-4
    assert sorted(x.shape for x in jax.tree.leaves(maps)) == [(4, 4), (8, 8), (8, 8)]


@pytest.mark.parametrize("paper", [stylegan, stylegan2])
def test_no_noise_is_searched_for_where_there_is_none(paper):
    flags = {"size": (8, 8), "base": 32, "width": 4, "latent": 5, "noise_rate": 0.0}
    built = paper.system(paper.Args(**flags), DataInfo((8, 8, 3), FIELDS))
    system = built if isinstance(built, System) else built[0].system
    space, sampler = system.ability(LatentSpace), system.ability(Sampler)

    @jax.jit
    def run(key):
        nets = nets_of(system, init(system, key))
        assert not space.maps(nets)
        w = space.points(nets, KEY, 2)
        made = sampler.generate(nets, sampler.prior(KEY, 2), {}, KEY)
        return space.generate(nets, w, space.maps(nets)).clip(-1, 1), made

    np.testing.assert_allclose(*run(KEY), atol=1e-5)


def test_ada_moves_its_probability_with_the_discriminators_certainty():
    """After four minibatches of 4 images, by their share of `ada_images`; both of D's and G's turns
    see it."""
    system = build(augment="ada", ada_target=-0.9, path_weight=0.0, gamma=0.0)
    mesh = devices.make_mesh(jax.devices()[:1])
    states = place(init(system, KEY), mesh)
    program = compile_rounds(system, mesh, system.plan(0), fields=FIELDS)
    batch = {"image": np.zeros((1, 1, 4, 8, 8, 3), np.uint8) + 200}
    found = []
    for r in range(6):
        states, metrics = program(states, batch, np.array([r], np.int32), KEY)
        found.append(float(metrics["discriminator/p"][0]))
    sign = float(metrics["discriminator/sign"][0])
    assert -1 <= sign <= 1
    moved = found[4]
    assert found[:4] == [0, 0, 0, 0]
    assert moved in (0, 1)  # 16 of 16 images: all the way, or it stays
    assert found[5] == moved
    assert float(states["ada"].collections["ada"]["minibatches"]) == 2


def test_flags_that_do_not_fit():
    read = lambda *argv: parse(stylegan2.Args, "jaxgen.experiments.stylegan2", list(argv))
    for flags, message in {
        ("--size", "28"): "--size is 8, 16, 32",
        ("--channels", "4"): "use --channels 3",
        ("--gamma", "-1"): "--gamma is at least 0",
        ("--mixing", "1.1"): "--mixing is from 0 to 1",
        ("--ada-target", "1.5"): "--ada-target is from -1 to 1",
        ("--ada-target", "0.5", "--augment", "none"): "--ada-target goes with --augment ada$",
        ("--ema-images", "0"): "--ema-images is at least 1",
    }.items():
        with pytest.raises(UserError, match=message):
            read(*flags)
