"""What makes pix2pix itself: the condition, the L1 term, the noise, the order of play."""

import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.commands.arguments import parse
from jaxgen.data.source import DataInfo, Field, to_float
from jaxgen.errors import UserError
from jaxgen.experiments import pix2pix as experiment
from jaxgen.losses.adversarial import non_saturating
from jaxgen.train.abilities import DiscriminatorScores, Translator
from jaxgen.train.nets import Net, bind, init, place
from jaxgen.train.program import compile_rounds
from tests.quick import quick_to_compile  # noqa: F401
from tests.train.toy import mesh

SIZE = 16
FIELDS = {"a": Field("image", 3), "b": Field("image", 3)}
TOY = {"size": SIZE, "width": 4, "layers": 1, "depth": 3}
GOLDEN = Path(__file__).parents[1] / "golden/b"


def build(**flags):
    args = experiment.Args(**{**TOY, **flags})
    return experiment.system(args, DataInfo((*args.size, 3), FIELDS))


def pairs(n=4):
    """b is a's negative."""
    a = np.random.default_rng(0).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)
    return {"a": a, "b": 255 - a}


def losses(system, batch, states=None):
    """Metrics of both turns, and what the turns left in the players' collections."""

    @jax.jit
    def all_turns(states, batch):
        found, extra = {}, {}
        for turn in system.turns:
            nets = bind(states, jax.random.key(1))
            loss, metrics = turn.loss(nets, to_float(batch), jax.random.key(2))
            found |= {f"{turn.name}/{k}": v for k, v in {"loss": loss, **metrics}.items()}
            extra[turn.name] = {name: vars(nets)[name].collections for name in states}
        return found, extra

    found, extra = all_turns(states or init(system, jax.random.key(0)), batch)
    return {k: float(v) for k, v in found.items()}, extra


def test_the_losses_are_the_codes():
    golden = np.load(GOLDEN / "gan_losses.npz")
    real, fake = jnp.asarray(golden["in_real"]), jnp.asarray(golden["in_fake"])
    half = non_saturating.discriminator(real, fake) / 2
    np.testing.assert_allclose(half, golden["out_vanilla_D_total_half"], atol=1e-5)
    np.testing.assert_allclose(non_saturating.generator(fake), golden["out_vanilla_G"], atol=1e-5)


def test_at_first_the_discriminator_is_undecided():
    """Logits near 0: ln 2 for each player, D's being halved; and lambda is 100."""
    system = build(norm="none")
    found, _ = losses(system, pairs())
    assert math.isclose(found["discriminator/loss"], math.log(2), rel_tol=0.01)
    assert math.isclose(found["generator/adversarial"], math.log(2), rel_tol=0.01)
    whole = 100 * found["generator/l1"] + found["generator/adversarial"]
    assert math.isclose(found["generator/loss"], whole, rel_tol=1e-5)
    # The outputs are near 0, so the distance is the mean size of b.
    size = np.abs(pairs()["b"] / 127.5 - 1).mean()
    assert math.isclose(found["generator/l1"], size, rel_tol=0.02)


@pytest.mark.parametrize("objective", ["cgan+l1", "cgan", "gan+l1", "gan"])
def test_objectives(objective):
    """What G's loss is made of, and whether D tells that an input and a target do not match."""
    system = build(objective=objective, norm="none", depth=2)

    @jax.jit
    def look(batch):
        nets = bind(init(system, jax.random.key(0)), jax.random.key(1))
        other = batch | {"a": batch["a"][::-1]}  # the same b, with a shuffled
        real = [
            system.ability(DiscriminatorScores).scores(nets, x, jax.random.key(2))[0]
            for x in (batch, other)
        ]
        return system.turns[1].loss(nets, batch, jax.random.key(2)), jnp.abs(
            real[0] - real[1]
        ).max()

    (loss, metrics), difference = look(to_float(pairs()))
    l1 = 100 * metrics["l1"] if "l1" in objective else 0
    assert math.isclose(loss, metrics["adversarial"] + l1, rel_tol=1e-5)
    assert difference > 1e-3 if "cgan" in objective else difference < 1e-6


def test_a_shuffled_input_tells_on_a_generator_that_ignores_it():
    """A constant output has the same L1 for every order of the inputs, a copy has not."""
    system = build(objective="l1")
    a, b = (to_float(pairs()[k]) for k in "ab")
    l1 = lambda generator, a: system.turns[0].loss(
        SimpleNamespace(generator=generator), {"a": a, "b": b}, None
    )[0]
    blind, seeing = (lambda a: jnp.zeros_like(a)), (lambda a: -a)
    assert l1(blind, a) == l1(blind, a[::-1])
    assert l1(seeing, a) < 1e-4 < 0.5 < l1(seeing, a[::-1])


def test_l1_alone_has_no_discriminator():
    system = build(objective="l1")
    assert list(system.players) == ["generator"]
    assert [turn.learners for turn in system.turns] == [("generator",)]
    assert system.ability(DiscriminatorScores) is None
    nets = SimpleNamespace(generator=lambda a: -a)
    loss, metrics = system.turns[0].loss(nets, to_float(pairs()), None)
    assert metrics.keys() == {"l1"}
    assert math.isclose(loss, 100 * metrics["l1"], rel_tol=1e-6)


def test_one_minibatch_a_round_and_one_step_of_the_statistics():
    """G paints again for its own turn what D has judged, but its running statistics move once; D's
    move with each of its three looks, as in the PyTorch code."""
    system = build()
    assert [turn.name for turn in system.turns] == ["discriminator", "generator"]
    assert system.minibatches(system.plan(0)) == 1
    states = init(system, jax.random.key(0))
    before = jax.device_get({name: state.collections for name, state in states.items()})
    _, extra = losses(system, pairs(), states)
    moved = lambda new, name: any(
        not np.array_equal(x, y)
        for x, y in zip(jax.tree.leaves(new[name]), jax.tree.leaves(before[name]))
    )
    assert moved(extra["discriminator"], "discriminator")
    assert not moved(extra["discriminator"], "generator")
    assert moved(extra["generator"], "discriminator")
    assert moved(extra["generator"], "generator")


def test_direction():
    batch = jax.tree.map(np.asarray, to_float(pairs()))
    there, back = build(), build(direction="b-to-a")
    assert not build(depth=4).ability(Translator).any_size
    for system, name in ((there, "a-to-b"), (back, "b-to-a")):
        (one,) = system.all_of(Translator)
        assert one.name == name
        inputs, ground_truth = one.pair(batch)
        np.testing.assert_array_equal(inputs["image"], batch[name[0]])
        np.testing.assert_array_equal(ground_truth, batch[name[-1]])
        assert one.multiple == 2**3
        assert one.any_size  # 16 pixels become 2, not 1
    states = init(back, jax.random.key(0))

    @jax.jit
    def show(states, batch):
        return back.show(bind(states, jax.random.key(1)), batch, jax.random.key(2))

    picture = show(states, batch)
    assert picture["translations"].shape == (4, SIZE, 3 * SIZE, 3)
    np.testing.assert_array_equal(picture["translations"][:, :, :SIZE], batch["b"])
    np.testing.assert_array_equal(picture["translations"][:, :, -SIZE:], batch["a"])


@partial(jax.jit, static_argnums=0)
def translate(function, states, a, key):
    nets = {name: Net(state, key) for name, state in states.items()}
    return function(SimpleNamespace(**nets), {"image": a}, key)


def used(system, states, key, a):
    function = system.ability(Translator).translate
    return np.asarray(translate(function, states, a, jax.random.key(key)))


def test_dropout_is_the_noise():
    """Also once G is trained, with the batch's statistics; and it can be left out."""
    a = to_float(pairs()["a"])
    for dropout in (True, False):
        system = build(variant="torch", test_dropout=dropout)
        states = init(system, jax.random.key(0))
        one, two = (used(system, states, key, a) for key in (1, 2))
        assert bool(np.abs(one - two).max() > 1e-5) is dropout


def test_statistics_at_test():
    """An image's translation depends on its company with the batch's statistics (the paper's way),
    and not with the running ones."""
    a = to_float(pairs()["a"])
    for statistics, depends in (("batch", True), ("running", False)):
        system = build(test_statistics=statistics)
        states = init(system, jax.random.key(0))
        alone, among = used(system, states, 1, a[:1]), used(system, states, 1, a)[:1]
        assert bool(np.abs(alone - among).max() > 1e-4) is depends


def test_learns_a_negative():
    """A few rounds bring the outputs nearer to the targets than the inputs are."""
    system, where = build(lr=2e-3), mesh(1)
    states = place(init(system, jax.random.key(0)), where)
    program = compile_rounds(system, where, system.plan(0), fields=FIELDS)
    batch = {k: x[None, None] for k, x in pairs().items()}
    for r in range(30):
        states, metrics = program(states, batch, np.array([r], np.int32), jax.random.key(1))
    a, b = (to_float(pairs()[k]) for k in "ab")
    assert metrics["generator/l1"][0] < 0.7 * np.abs(a - b).mean()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--size", "60", "--depth", "3"], "cannot be halved 3 times"),
        (["--size", "33"], "cannot be halved 1 times"),
        (["--size", "16", "--layers", "3"], "use 2 at most"),
        (["--dropout", "1"], "from 0 up to below 1"),
        (["--l1-weight", "-1"], "at least 0"),
    ],
)
def test_flags_that_do_not_fit(flags, says):
    with pytest.raises(UserError, match=says):
        parse(experiment.Args, "jaxgen.experiments.pix2pix", flags)
