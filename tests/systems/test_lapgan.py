"""What makes LAPGAN itself: levels that are trained apart, and play together."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxgen.commands.arguments import parse
from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.experiments import lapgan
from jaxgen.latents import uniform
from jaxgen.systems.gan.lapgan import LATENT, build, collapse, up
from jaxgen.systems.gan.lapgan import lapgan as lapgan_level
from jaxgen.train.abilities import DiscriminatorScores, Sampler
from jaxgen.train.nets import bind, init, shapes
from jaxgen.train.stages import inherit
from tests.quick import quick_to_compile  # noqa: F401

TOY = lapgan.Args(
    **{"size": 18, "coarser": (4, 9), "width": 3, "discriminator_width": 2, "batch_size": 4},
    **{"base_width": 5, "base_discriminator_width": 4, "rounds": 4, "ema": 0.5},
)
SIDES = (4, 9, 18)
FIELDS = {"image": Field("image", 3), "label": Field("label")}
INFO = DataInfo((18, 18, 3), FIELDS, ("a", "b", "c"), examples=12)
UNLABELLED = DataInfo((18, 18, 3), {"image": FIELDS["image"]})
SGD = [optax.sgd(0.1)] * 2
KEY = jax.random.key(0)


def stages(**flags):
    return lapgan.system(dataclasses.replace(TOY, **flags), INFO)


@pytest.fixture(scope="module")
def batch():
    image = jax.random.uniform(jax.random.key(3), (4, 18, 18, 3), minval=-1.0)
    return {"image": image, "label": jnp.array([0, 1, 2, 0])}


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_stage_for_each_level():
    found = stages(rounds=12, base_rounds=2, level_rounds=5)
    assert [(stage.name, stage.rounds) for stage in found] == [("4px", 2), ("9px", 5), ("18px", 5)]
    players = [set(stage.system.players) for stage in found]
    assert players[0] == {"generator_4", "discriminator_4"}
    assert players[2] == {"generator_4", "generator_9", "generator_18", "discriminator_18"}
    (alone,) = stages(coarser=())
    assert set(alone.system.players) == {"generator_18", "discriminator_18"}


def test_a_level_learns_the_same_whatever_the_others_have_learned(batch):
    """Its losses do not know the generators of the coarser levels, and no weight is carried but
    theirs, by which it samples."""
    _, two, three = stages()
    old = init(two.system, jax.random.key(1), lambda n: batch)
    fresh = init(three.system, jax.random.key(2), lambda n: batch)
    frozen = ["generator_4", "generator_9"]
    new = inherit(old, fresh, frozen)
    same = lambda a, b: jax.tree.map(np.testing.assert_array_equal, a.params, b.params)
    same(new["generator_4"], old["generator_4"])
    same(new["discriminator_18"], fresh["discriminator_18"])
    same(new["generator_18"], fresh["generator_18"])
    assert all(three.system.players[name].optimizer is None for name in frozen)
    for turn in three.system.turns:
        loss = jax.jit(lambda states, turn=turn: turn.loss(bind(states, KEY), batch, KEY)[0])
        assert loss(new) == loss(fresh)
    sampler = three.system.ability(Sampler)
    z = sampler.prior(KEY, 4)
    sample = jax.jit(lambda states: sampler.generate(bind(states, KEY), z, {}, KEY))
    assert abs(sample(new) - sample(fresh)).max() > 1e-3


@pytest.mark.parametrize("labels", [False, True])
def test_both_players_are_given_the_real_coarse_image(batch, labels):
    """What they see and both losses, by hand; the first level's players see images alone."""
    for k, stage in enumerate(stages(labels=labels)):
        system, pyramid = stage.system, build(batch["image"], SIDES)[: k + 1]
        told = [up(collapse(pyramid[:-1]), SIDES[k])] if k else []
        told += [batch["label"]] if labels else []

        @jax.jit
        def run(states, system=system, real=pyramid[-1], told=told, side=SIDES[k], k=k):
            nets = bind(states, KEY)
            g, d = getattr(nets, f"generator_{side}"), getattr(nets, f"discriminator_{side}")
            fake = g(uniform(side**2 if k else LATENT)(KEY, 4), *told)
            by_hand = d(real, *told), d(fake, *told)
            again = lambda: bind(states, KEY)  # with the same dropout
            found = system.ability(DiscriminatorScores).scores(again(), batch, KEY)
            losses = [turn.loss(again(), batch, KEY)[0] for turn in system.turns]
            first = lambda *told: getattr(again(), f"discriminator_{side}")(fake, *told)
            mixed = first(*told[:-1], told[-1][::-1]) if told else -first()
            return fake, by_hand, found, losses, first(*told), mixed

        wave = lambda w: w + 0.3 * jnp.cos(jnp.arange(w.size)).reshape(w.shape)
        states = {
            name: state.replace(params=jax.tree.map(wave, state.params))
            for name, state in init(system, KEY, lambda n: batch).items()
        }
        fake, by_hand, found, losses, on_fake, mixed = run(states)
        assert fake.shape == pyramid[-1].shape
        for a, b in zip(by_hand, found, strict=True):
            close(a, b)
        minus_log = lambda logits: np.log1p(np.exp(-np.asarray(logits))).mean()
        close(losses[0], (minus_log(by_hand[0]) + minus_log(-by_hand[1])) / 2)
        close(losses[1], minus_log(on_fake))
        assert abs(on_fake - mixed).max() > 1e-3  # the last that D is told matters


class Told(nn.Module):
    """A generator of what is known."""

    images: jax.Array

    @nn.compact
    def __call__(self, z, *told, train: bool = True):
        return self.images


def test_the_true_differences_give_the_images_back(batch):
    """In the chain by which it samples; without differences it is the coarsest image, enlarged."""
    pyramid = build(batch["image"], SIDES)

    def sample(pyramid):
        level = lapgan_level([Told(x) for x in pyramid], Told(pyramid[0]), (18, 18, 3), SIDES, SGD)
        sampler, nets = level.ability(Sampler), bind(init(level, KEY, lambda n: batch), KEY)
        z = sampler.prior(KEY, 4)
        assert z.shape == (4, LATENT + 9**2 * (len(pyramid) > 1) + 18**2 * (len(pyramid) > 2))
        assert sampler.film is not None
        return sampler.generate(nets, z, {}, KEY), sampler.film(nets, z, {}, KEY, 5)

    images, film = sample(pyramid)
    np.testing.assert_allclose(images, batch["image"], atol=1e-6)
    close(film[-1], images)
    assert film.shape == (5, *images.shape)
    block = film[0, :, 4:9, 4:9]  # of one pixel of 4
    close(block[:, 1:4, 1:4], jnp.broadcast_to(block[:, 2:3, 2:3], (4, 3, 3, 3)))
    first, _ = sample(pyramid[:1])
    close(first, up(pyramid[0], 18))


def test_the_large_networks_play(batch):
    """Traced, not computed; they have running statistics, which samples use."""
    _, stage = stages(net="large", coarser=(9,), labels=True)
    states = shapes(stage.system, INFO.zeros)
    assert set(states["generator_18"].collections) == {"batch_stats"}
    assert len(states["generator_18"].collections["batch_stats"]) == 5
    sampler = stage.system.ability(Sampler)

    def played(states):
        nets = bind(states, KEY)
        losses = [turn.loss(nets, batch, KEY)[0] for turn in stage.system.turns]
        return losses, sampler.generate(nets, sampler.prior(KEY, 4), batch, KEY)

    losses, images = jax.eval_shape(played, states)
    assert [x.shape for x in losses] == [(), ()]
    assert images.shape == (4, 18, 18, 3)


def test_the_papers_gradient_descent():
    """v <- m v + g, w <- w - rate v, with m and the rate by the epoch, of three rounds here."""
    optimizer = stages(optimizer="sgd", lr=0.02)[0].system.players["generator_4"].optimizer
    update = jax.jit(optimizer.update)
    state, w, velocity = optimizer.init(jnp.zeros(())), jnp.zeros(()), 0.0
    for step in range(8):
        moved, state = update(jnp.ones(()), state, w)
        velocity = (0.5 + 0.0008 * (step // 3)) * velocity + 1
        np.testing.assert_allclose(moved, -0.02 / 1.00004 ** (step // 3) * velocity, rtol=1e-5)


def test_flags_that_do_not_fit():
    read = lambda *argv: parse(lapgan.Args, "jaxgen.experiments.lapgan", list(argv))
    with pytest.raises(UserError, match="--size is a square's, such as 32, not 32x64"):
        read("--size", "32x64")
    with pytest.raises(UserError, match="--coarser rises to less than --size 16.*, not 8 16$"):
        read("--size", "16")
    with pytest.raises(UserError, match="--coarser is at least 1, not 0$"):
        read("--coarser", "0", "8")
    with pytest.raises(UserError, match="--coarser rises .* not 16 8$"):
        read("--coarser", "16", "8")
    with pytest.raises(UserError, match="small judges images of 9 pixels or more .*, not 8; leave"):
        read("--coarser", "4", "8", "16")
    with pytest.raises(UserError, match="large judges images of 13 pixels or more .*, not 12;"):
        read("--coarser", "6", "12", "--net", "large")
    assert read("--coarser", "8", "14", "--size", "28").coarser == (8, 14)
    with pytest.raises(UserError, match="photos has no labels; leave --labels out"):
        lapgan.system(dataclasses.replace(TOY, labels=True, data="photos"), UNLABELLED)
