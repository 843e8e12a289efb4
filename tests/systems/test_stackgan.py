"""What makes StackGAN itself: a discriminator that minds the text, a condition that is drawn about
it, and a second stage that goes on from the image of the first."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.data.source import DataInfo, Field
from jaxgen.data.tokens import Tokens
from jaxgen.errors import UserError
from jaxgen.evaluate import agreement
from jaxgen.evaluate.run import evaluate
from jaxgen.evaluate.separability import Reader
from jaxgen.evaluate.sets import _asked
from jaxgen.experiments import clip
from jaxgen.experiments import stackgan as experiment
from jaxgen.losses.adversarial import non_saturating
from jaxgen.runs.load import load
from jaxgen.systems.gan.conditional import mismatched
from jaxgen.systems.gan.stackgan import divergence, matching_aware
from jaxgen.train import nets
from jaxgen.train.abilities import Sampler
from jaxgen.train.nets import bind
from jaxgen.train.stages import folders, inherit
from tests.quick import quick_to_compile  # noqa: F401
from tests.runs import toys

SHAPE, WORDS = (32, 32, 1), Tokens((), 6)
FIELDS = {"image": Field("image", 1), "text": Field("text"), "caption": Field("caption")}
INFO = DataInfo(SHAPE, FIELDS, vocabulary=WORDS)
SIZES = {"text_width": 4, "text_layers": 1, "text_heads": 2, "embedding": 3, "context": 6}
SMALL = {"size": 32, "patch": 16, "width": 8, "discriminator_width": 2, "blocks": 1, "latent": 2}
SMALL |= {"first_width": 8, "first_discriminator_width": 2}
SMALL |= {"condition": 2, "rounds": 30, "ema": 0.0, "instance_noise": 0.0}
TEXTS = ("a", "b", "a")


@pytest.fixture
def golden(request):
    with np.load(request.path.parents[1] / "golden/b/stackgan_ca_and_losses.npz") as file:
        return dict(file)


def test_losses_are_those_of_the_authors_code(golden):
    names = ("in_p_real", "in_p_wrong_first5used", "in_p_fake")
    odds = lambda p: np.log(p / (1 - p))
    real, wrong, fake = (jnp.array(odds(golden[name])) for name in names)
    np.testing.assert_allclose(
        matching_aware(real, wrong[:5], fake), golden["out_D_stage1"], rtol=1e-5
    )
    np.testing.assert_allclose(non_saturating.generator(fake), golden["out_G_stage1"], rtol=1e-5)


def test_the_divergence_is_that_of_the_authors_code(golden):
    found = divergence(jnp.array(golden["out_mu_tf"]), jnp.array(golden["out_logsigma_tf"]))
    np.testing.assert_allclose(found, golden["out_KL_tf"], rtol=1e-5)


def test_what_belongs_to_a_mismatched_row():
    y = jnp.array([[0, 1], [0, 2], [0, 1]])
    found = np.stack([mismatched(y, jax.random.key(i), of=jnp.arange(3)) for i in range(20)])
    assert (found[:, [0, 2]] == 1).all()
    assert set(found[:, 1].tolist()) == {0, 2}


@pytest.fixture(scope="module")
def stages():
    return experiment.system(experiment.Args(**SMALL, **SIZES), INFO)


@pytest.fixture(scope="module")
def states(stages):
    """Runs of Stage I and II, with fresh weights that are large enough for images that differ."""
    _, one, two = (stage.system for stage in stages)

    def init(system, key):
        wider = lambda w: 50 * (2 * w.shape[-1] / w.size) ** 0.5 * w if w.ndim > 1 else w
        made = nets.init(system, key)
        for name in made.keys() - {"text"}:
            params = jax.tree.map(wider, made[name].params)
            made[name] = made[name].replace(params=params)
        return made

    first = init(one, jax.random.key(0))
    return first, inherit(first, init(two, jax.random.key(1)), ["text", "generator_1"])


@pytest.fixture(scope="module")
def batch():
    image = jax.random.uniform(jax.random.key(2), (3, *SHAPE), minval=-1.0)
    return {"image": image, "text": jnp.stack([jnp.array(WORDS(text)) for text in TEXTS])}


def test_the_stages(stages):
    assert folders(stages) == ["0-text", "1-stage-1", "2-stage-2"]
    learners = [[t.learners for t in stage.system.turns] for stage in stages]
    assert learners == [
        [("image", "text", "temperature")],
        [("discriminator_1",), ("generator_1",)],
        [("discriminator_2",), ("generator_2",)],
    ]


def test_the_discriminator_is_told_anothers_text(stages, states, batch):
    """D says of an image with its own text, and with another's, what its metrics say; where all
    texts are one it says the same of both. A generated image is of the batch's text."""
    system = stages[1].system

    @jax.jit
    def told(text):
        players = bind(states[0], jax.random.key(3))
        return system.turns[0].loss(players, {**batch, "text": text}, jax.random.key(4))[1]

    @jax.jit
    def said(text):
        players = bind(states[0], jax.random.key(3))
        small = batch["image"].reshape(3, 8, 4, 8, 4, 1).mean((2, 4))
        return jax.nn.sigmoid(players.discriminator_1(small, players.text(text))).mean()

    found, text = told(batch["text"]), batch["text"]
    np.testing.assert_allclose(found["matched"], said(text), rtol=1e-5)
    np.testing.assert_allclose(found["mismatched"], said(text[jnp.array([1, 0, 1])]), rtol=1e-5)
    assert found["matched"] != found["mismatched"]
    alike = told(text[jnp.zeros(3, int)])
    assert alike["matched"] == alike["mismatched"]


def test_the_discriminator_sees_noise(states, batch):
    """On true and on generated images, in both turns; without it nothing else is drawn."""

    def losses(noise, key):
        args = experiment.Args(**{**SMALL, "instance_noise": noise}, **SIZES)
        turns = experiment.system(args, INFO)[1].system.turns
        play = lambda: [turn.loss(bind(states[0], key), batch, key) for turn in turns]
        return jax.jit(play)()

    key = jax.random.key(4)
    (_, clean), (without, _) = losses(0.0, key)
    (_, noisy), (with_noise, _) = losses(1.0, key)
    assert all(abs(clean[name] - noisy[name]) > 1e-4 for name in ("matched", "mismatched"))
    assert abs(without - with_noise) > 1e-4


def test_stage_two_goes_on_from_stage_one_which_holds_still(stages, states, batch):
    """Beside each other in the pictures: Stage I's image, enlarged, Stage II's, and the true one.
    Training Stage II moves no running average of Stage I."""
    system = stages[2].system

    @jax.jit
    def run(shift):
        own = states[1]["generator_1"]
        params = jax.tree.map(lambda w: w + shift, own.params)
        players = bind({**states[1], "generator_1": own.replace(params=params)}, jax.random.key(5))
        z, eps, _ = jnp.split(system.ability(Sampler).prior(jax.random.key(6), 3), 3, axis=1)
        small, *_ = players.generator_1(z, players.text(batch["text"]), eps, train=False)
        enlarged = jax.image.resize(small, (3, *SHAPE), "cubic").clip(-1, 1)
        shown = system.show(players, batch, jax.random.key(6))["samples"]
        for turn in system.turns:
            turn.loss(players, batch, jax.random.key(7))
        return shown, enlarged, players.generator_1.collections, players.generator_2.collections

    (first, second, true), enlarged, still, moved = jax.tree.map(np.asarray, _panels(*run(0.0)))
    np.testing.assert_array_equal(true, batch["image"])
    np.testing.assert_allclose(first, enlarged, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, still, states[1]["generator_1"].collections)
    means = lambda tree: np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
    assert (means(moved) != means(states[1]["generator_2"].collections)).any()
    (_, other, _), *_ = _panels(*run(0.1))
    assert abs(other - second).max() > 1e-4


def _panels(shown, *others):
    return [shown[:, :, i * 32 : (i + 1) * 32] for i in range(3)], *others


def test_samples_of_a_text(stages, states):
    run = toys.TrainedRun(stages[2].system, states[1], INFO, 1, "stackgan")
    assert run.sample(2, text="a").shape == (2, *SHAPE)
    np.testing.assert_array_equal(run.sample(2, text="a"), run.sample(2, text="a"))
    assert (run.sample(2, text="a") != run.sample(2, text="b")).any()
    with pytest.raises(UserError, match="^text is needed"):
        run.sample(2)


@pytest.fixture
def encoder(tmp_path):
    """A run of clip, in a folder."""
    towers = {**SIZES, "size": 32, "patch": 16, "width": 4, "layers": 1, "heads": 2, "rounds": 4}
    args = clip.Args(**towers, workdir=tmp_path / "clip")
    run = toys.trained(clip.system(args, INFO), INFO, "clip")
    return toys.saved(run, tmp_path / "clip", "jaxgen.experiments.clip", **dataclasses.asdict(args))


def test_the_text_encoder_of_a_run_of_clip(encoder, tmp_path):
    """Its sizes, words and weights; a run that has begun does not need it any more."""
    args = experiment.Args(**SMALL, text_encoder=encoder)
    args.check()
    assert args.encoder == SIZES
    assert args.tokenizer(lambda: ()) == WORDS
    stages = experiment.system(args, INFO)
    assert folders(stages) == ["0-stage-1", "1-stage-2"]
    own = nets.init(stages[0].system, jax.random.key(9))["text"].params
    clips = load(encoder).states["text"].params
    jax.tree.map(np.testing.assert_array_equal, own, clips)
    written = {x.name: getattr(args, x.name) for x in dataclasses.fields(args)}
    shutil.rmtree(encoder)
    again = experiment.Args(**written)
    assert folders(experiment.system(again, INFO)) == ["0-stage-1", "1-stage-2"]
    with pytest.raises(UserError, match="clip is not a run folder"):
        experiment.Args(**SMALL, text_encoder=encoder)


def test_flags_that_do_not_fit(encoder, tmp_path):
    def refused(match, **flags):
        with pytest.raises(UserError, match=match):
            experiment.Args(**{**SMALL, **flags}).check()

    refused("^--embedding is 3 in .*clip, not 4; leave it out$", text_encoder=encoder, embedding=4)
    refused("^--size is a multiple of 16 from 32 on, such as 32, not 24$", size=24)
    refused("^--patch 7 does not divide --size 32; use 8$", patch=7)
    refused("^--text-width 6 is not a multiple of --text-heads 4$", text_width=6)
    other = toys.saved(toys.styled(), tmp_path / "gan", "jaxgen.experiments.gan")
    refused("gan is a run of gan; name a run of clip$", text_encoder=other)


def conditional(**more):
    """A run that shows attributes and texts, and ten examples."""
    run = toys.trained(toys.conditional_system(toys.CONDITIONS), toys.CONDITIONS)
    has = np.int32([[1, 1], [1, 0]] * 5)
    text = np.int32(np.arange(16) <= np.arange(10)[:, None])
    examples = {"image": np.zeros((10, 4, 4, 3), np.uint8), "attributes": has, "text": text}
    return run, jg.arrays(examples | more, attribute_names=toys.ATTRIBUTES)


def test_agreement_of_images_with_what_was_asked_for(monkeypatch):
    """Read off the row that shows the attributes. Another's are half right: the first that all
    have, none of the second."""
    run, data = conditional()
    reader = Reader(
        [*toys.ATTRIBUTES],
        {},
        lambda examples: examples["attributes"],
        lambda images: np.float32(images[:, 3, 0, :2]) - 200,
    )
    monkeypatch.setattr(agreement, "read", lambda data, seed: reader)
    (found,) = evaluate(run, ["attribute-agreement"], data=data)
    assert found["value"] == 1
    assert found["by_factor"] == dict.fromkeys(toys.ATTRIBUTES, 1)
    assert found["baselines"] == {"another's": 0.5, "real images": 0.25}
    with pytest.raises(UserError, match="^attributes cannot be chosen for attribute-agreement"):
        evaluate(run, ["attribute-agreement"], data=data, attributes={"old": 1})


def test_sets_of_images_are_asked_for_what_the_data_say():
    from jaxgen.evaluate.metric import Scoring

    run, data = conditional()
    scoring = Scoring(run, lambda split: data, batch=3)
    asked = _asked(scoring, "fid", data, 5)
    np.testing.assert_array_equal(asked["text"].sum(1), [1, 3, 5, 7, 9])
    assert asked.keys() == {"text", "attributes"}
    chosen = dataclasses.replace(scoring, choices={"text": "a", "attributes": {}})
    assert _asked(chosen, "fid", data, 5) == {}
    assert run.system.ability(Sampler).condition == ("label", "text", "attributes")
