"""What makes StyleGAN itself: styles by layer, truncation, noise, growing with R1."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.commands.arguments import parse
from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.experiments import stylegan
from jaxgen.losses.adversarial import non_saturating
from jaxgen.losses.penalties import squared_gradient_norms
from jaxgen.nn.resample import enlarge, shrink
from jaxgen.runs.choices import values
from jaxgen.train.abilities import DiscriminatorScores, LatentSpace, Sampler, StyleMixer
from jaxgen.train.nets import bind, init
from jaxgen.train.stages import inherit
from tests.quick import quick_to_compile  # noqa: F401

TOY = stylegan.Args(
    **{"size": 16, "width": 6, "base": 32, "latent": 5, "layers": 2, "batch_size": 4},
    **{"first_rounds": 3, "stage_rounds": 4, "last_rounds": 5, "fade_rounds": 2, "rounds": 8},
)
INFO = DataInfo((16, 16, 3), {"image": Field("image", 3)})
KEY = jax.random.key(0)
IMAGES = jax.random.uniform(jax.random.key(3), (4, 16, 16, 3), minval=-1.0)
A, B = jax.random.normal(jax.random.key(4), (2, 3, 5))


def louder(states):
    """The states with a mean style, noise and colours that are not their first."""
    keys = iter(jax.random.split(jax.random.key(2), 99))
    shake = lambda x: x + 0.3 * jax.random.normal(next(keys), x.shape)
    state = states["generator"]
    extra = {**state.collections, "averages": jax.tree.map(shake, state.collections["averages"])}
    params = jax.tree.map(shake, state.params)
    ema = {**state.ema, "params": params}
    return {**states, "generator": state.replace(params=params, collections=extra, ema=ema)}


@pytest.fixture(scope="module")
def grown():
    """(the 8-pixel stage and its states, the 16-pixel stage and the states it starts from)."""
    one, two = stylegan.system(TOY, INFO)
    old = louder(init(one.system, jax.random.key(1)))
    return one, old, two, inherit(old, init(two.system, jax.random.key(2)))


def players(states, step=0):
    """The players after `step` rounds of the stage."""
    return bind({k: s.replace(step=jnp.asarray(step)) for k, s in states.items()}, KEY)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


def test_stages_of_doubling_size_from_8():
    found = stylegan.system(TOY, INFO)
    assert [(stage.name, stage.rounds) for stage in found] == [("8px", 3), ("16px", 5)]
    alone = stylegan.system(dataclasses.replace(TOY, size=(8, 8)), INFO)
    assert [(stage.name, stage.rounds) for stage in alone] == [("8px", 8)]


def test_at_fade_0_it_is_the_smaller_network_enlarged(grown):
    """As the smaller stage leaves it, with its styles, its mean style and its maps of noise."""
    one, old, two, new = grown

    @jax.jit
    def outputs(small, large):
        nets, more = players(small, 4), players(large, 0)
        z, cut = A, {"truncation": 0.5}
        made = (x.system.ability(Sampler).generate for x in (one, two))
        scores = (x.system.ability(DiscriminatorScores).scores for x in (one, two))
        return (
            (next(made)(nets, z, {}, KEY, **cut), next(scores)(nets, {"image": IMAGES}, KEY)[0]),
            (next(made)(more, z, {}, KEY, **cut), next(scores)(more, {"image": IMAGES}, KEY)[0]),
        )

    before, after = outputs(old, new)
    assert before[0].shape == (3, 16, 16, 3)
    jax.tree.map(close, before, after)


def test_half_way_everything_is_half_in(grown):
    """After 1 of 2 fading rounds: both players and the data."""
    _, _, two, new = grown

    @jax.jit
    def run(states):
        nets = players(states, 1)
        half = 0.5 * IMAGES + 0.5 * enlarge(shrink(IMAGES))
        sampler = two.system.ability(Sampler)
        at = [sampler.generate(players(states, n), A, {}, KEY) for n in (0, 1, 2)]
        real, _ = two.system.ability(DiscriminatorScores).scores(nets, {"image": IMAGES}, KEY)
        return real, nets.discriminator(half, 0.5), at

    real, expected, (none, half, whole) = run(new)
    close(real, expected)
    inside = (abs(none) < 1) & (abs(whole) < 1)  # what is shown is clipped
    assert inside.mean() > 0.3
    close(half[inside], (none + whole)[inside] / 2)


def test_the_losses(grown):
    """Non-saturating; R1 is of the sum over pixels at each real image, in every round."""
    one, old, _, _ = grown

    @jax.jit
    def run(states):
        batch = {"image": IMAGES}
        loss, metrics = one.system.turns[0].loss(players(states), batch, KEY)
        scores = one.system.ability(DiscriminatorScores).scores(players(states), batch, KEY)
        f = lambda x: players(states).discriminator.still(x, 1.0)
        norms = squared_gradient_norms(f, shrink(IMAGES))
        return loss, metrics["penalty"], scores, norms

    loss, penalty, scores, norms = run(old)
    close(penalty, TOY.gamma / 2 * norms.mean())
    close(loss, non_saturating.discriminator(*scores) + penalty)
    assert [turn.every for turn in one.system.turns] == [1, 1]
    assert one.system.minibatches((1, 1)) == 1


def test_styles_are_mixed_and_drawn_to_their_mean_by_layer(grown):
    _, _, two, new = grown
    mixer, sampler = two.system.ability(StyleMixer), two.system.ability(Sampler)
    assert mixer.layers == 6

    @jax.jit
    def run(states):
        nets = players(states, 2)
        space = two.system.ability(LatentSpace)
        mean = states["generator"].collections["averages"]["mapping"]["w"]
        made = lambda z, **options: sampler.generate(nets, z, {}, KEY, **options)
        w = space.points(nets, KEY, 3)
        return {
            "mixed": [mixer.mix(nets, A, B, layer) for layer in (0, 2, 6)],
            "alone": (made(A), made(B)),
            "psi": [made(A, truncation=psi) for psi in (0.0, 0.5, 1.0)],
            "mean": space.generate(nets, jnp.stack([mean] * 3), space.maps(nets)).clip(-1, 1),
            "coarse": [made(A, truncation=0.0, truncated_layers=n) for n in (0, 2)],
            "of_points": space.generate(nets, w, space.maps(nets)).clip(-1, 1),
            "of_latents": made(sampler.prior(KEY, 3)),
        }

    x = run(new)
    close(x["mixed"][0], x["alone"][1])
    close(x["mixed"][2], x["alone"][0])
    assert min(abs(x["mixed"][1] - y).max() for y in x["alone"]) > 1e-2
    close(x["psi"][0], x["mean"])
    close(x["psi"][2], x["alone"][0])
    assert min(abs(x["psi"][1] - x["psi"][k]).max() for k in (0, 2)) > 1e-2
    close(x["coarse"][0], x["alone"][0])
    assert min(abs(x["coarse"][1] - y).max() for y in (x["alone"][0], x["mean"])) > 1e-2
    close(x["of_points"], x["of_latents"])  # the same key, the same latents


def test_noise_by_layer(grown):
    """Fixed or off, an image is the same whatever is drawn; coarse and fine noise are parts."""
    _, _, two, new = grown
    sampler = two.system.ability(Sampler)

    @jax.jit
    def run(states, key):
        nets = bind({k: s.replace(step=jnp.asarray(2)) for k, s in states.items()}, key)
        kinds = sampler.options["noise"].choices
        return {k: sampler.generate(nets, A, {}, key, noise=k) for k in kinds}

    one, two = run(new, KEY), run(new, jax.random.key(9))
    for kind in ("fixed", "off", "coarse", "fine"):
        np.testing.assert_array_equal(one[kind], two[kind])
    assert abs(one["random"] - two["random"]).max() > 1e-2
    different = ("fixed", "off", "coarse", "fine")
    for i, a in enumerate(different):
        for b in different[:i]:
            assert abs(one[a] - one[b]).max() > 1e-3, (a, b)
    with pytest.raises(UserError, match="noise is one of fixed, random, off, coarse, fine, not no"):
        values(sampler.options, {"noise": "no"})


def test_flags_that_do_not_fit():
    read = lambda *argv: parse(stylegan.Args, "jaxgen.experiments.stylegan", list(argv))
    for flags, message in (
        (("--size", "4"), "--size is 8, 16, 32"),
        (("--stage-rounds", "10", "--fade-rounds", "11"), "a stage must end grown"),
        (("--last-rounds", "10", "--fade-rounds", "11"), "are more than --last-rounds 10; a stage"),
        (("--base", "31"), "--base is at least 32 at --size 64"),
        (("--mixing", "1.1"), "--mixing is from 0 to 1"),
    ):
        with pytest.raises(UserError, match=message):
            read(*flags)
