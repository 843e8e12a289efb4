"""What makes IcGAN itself: a discriminator that minds the attributes, a generator that is inverted,
and edits that change what is asked for."""

from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgen as jg
from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.evaluate import edits as metric
from jaxgen.evaluate.run import evaluate
from jaxgen.experiments import icgan as experiment
from jaxgen.latents import normal
from jaxgen.runs.trained import TrainedRun
from jaxgen.systems.gan.conditional import mismatched
from jaxgen.systems.gan.icgan import conditional, icgan, one_wrong, signs
from jaxgen.train.abilities import SET, Translator
from jaxgen.train.nets import bind, init
from jaxgen.train.stages import inherit
from tests.quick import quick_to_compile  # noqa: F401

SHAPE, NAMES = (1, 3, 1), ("glasses", "beard")
FIELDS = {"image": Field("image", 1), "attributes": Field("attributes")}
INFO = DataInfo(SHAPE, FIELDS, attribute_names=NAMES)
HAS = jnp.array([[1, 1], [1, 0]])


class Pixels(nn.Module):
    """An image of three pixels: tanh z, and the attributes, half as bright."""

    @nn.compact
    def __call__(self, z, y, *, train: bool = True):
        bias = self.param("bias", nn.initializers.zeros, ())
        return jnp.concatenate([jnp.tanh(z), y / 2], axis=1).reshape(-1, *SHAPE) + bias


class Fits(nn.Module):
    """How well the pixels fit the attributes."""

    @nn.compact
    def __call__(self, x, y, *, train: bool = True):
        return 2 * (x.reshape(-1, 3)[:, 1:] * y).sum(1) + self.param("b", nn.initializers.zeros, ())


class Looks(nn.Module):
    """Numbers that an image shows, exactly but for what is learned."""

    latent: bool = False

    @nn.compact
    def __call__(self, x, *, train: bool = True):
        x = x.reshape(-1, 3) + self.param("bias", nn.initializers.zeros, ())
        return jnp.arctanh(x[:, :1].clip(-0.999, 0.999)) if self.latent else 2 * x[:, 1:]


def gan():
    optimizers = [optax.sgd(0.1)] * 2
    return conditional(Pixels(), Fits(), SHAPE, 2, 1, normal(1), optimizers)


def inverse(**weights):
    encoders, optimizers = (Looks(latent=True), Looks()), [optax.sgd(0.1)] * 2
    return icgan(Pixels(), encoders, SHAPE, 2, 1, normal(1), optimizers, **weights)


def losses(system, moved=None):
    """Losses by turn, on two images that show `HAS`; with other weights of the players `moved`"""
    states = init(system, jax.random.key(0))
    for name, shift in (moved or {}).items():
        params = jax.tree.map(lambda w, shift=shift: w + shift, states[name].params)
        states[name] = states[name].replace(params=params)
    image = jnp.concatenate([jnp.zeros((2, 1)), signs(HAS) / 2], axis=1).reshape(2, *SHAPE)
    nets, batch = bind(states, jax.random.key(1)), {"image": image, "attributes": HAS}
    return [turn.loss(nets, batch, jax.random.key(2)) for turn in system.turns]


def test_the_gan_by_hand():
    """An image and a sample fit their attributes by 2; with those of the other one, which differs
    in one of two, an image fits by 0. D's reported value is half of its loss."""
    (of_discriminator, about), (of_generator, _) = losses(gan())
    softplus = lambda x: np.log1p(np.exp(x))
    expected = softplus(-2) + (softplus(0) + softplus(2)) / 2
    np.testing.assert_allclose(of_discriminator, expected, rtol=1e-6)
    np.testing.assert_allclose(of_generator, softplus(-2), rtol=1e-6)
    assert about["mismatch"] == 0


def test_the_encoders_by_hand():
    """Exact encoders have no loss. Pixels 0.1 brighter are 0.2 too many in each attribute."""
    (of_latent, _), (of_attributes, about) = losses(inverse())
    assert of_latent < 1e-6
    assert of_attributes < 1e-6
    assert about["accuracy"] == 1
    (of_latent, _), (of_attributes, _) = losses(inverse(), {"encoder_y": 0.1, "encoder_z": 0.1})
    assert of_latent > 1e-3
    np.testing.assert_allclose(of_attributes, 0.2**2, rtol=1e-5)


def test_the_latents_encoder_learns_from_generated_images_only():
    """Whatever the images of the data are; the attributes' encoder learns from these only."""
    system = inverse()
    states = init(system, jax.random.key(0))

    @jax.jit
    def both(image, bias):
        params = {"bias": bias + states["generator"].params["bias"]}
        changed = {**states, "generator": states["generator"].replace(params=params)}
        nets, batch = bind(changed, jax.random.key(1)), {"image": image, "attributes": HAS}
        return [turn.loss(nets, batch, jax.random.key(2))[0] for turn in system.turns]

    black, white = jnp.full((2, *SHAPE), -1.0), jnp.full((2, *SHAPE), 1.0)
    first, other, moved = both(black, 0.0), both(white, 0.0), both(black, 0.3)
    assert first[0] == other[0] != moved[0]
    assert moved[1] == first[1] != other[1]


def test_the_latents_encoder_can_reconstruct_images():
    """The images' first pixel is 0, seen 0.1 brighter; the other two are as the
    attributes have them."""
    moved = {"encoder_z": 0.1}
    (plain, _), _ = losses(inverse(), moved)
    (loss, about), _ = losses(inverse(reconstruction=3.0), moved)
    np.testing.assert_allclose(about["lost"], 0.1 / 3, rtol=1e-5)
    np.testing.assert_allclose(loss, plain + 0.1, rtol=1e-5)


def test_mismatched_attributes_are_of_another_that_differs():
    y = signs(jnp.array([[1, 1], [1, 1], [0, 1], [0, 0], [1, 1]]))
    keys = jax.random.split(jax.random.key(0), 200)
    found = np.asarray(jax.jit(jax.vmap(lambda key: mismatched(y, key)))(keys))
    assert (found != y).any(axis=-1).all()
    known = {tuple(row) for row in np.asarray(y).tolist()}
    assert {tuple(row) for row in found.reshape(-1, 2).tolist()} <= known
    assert 0.35 < (found[:, 0, 1] > 0).mean() < 0.65  # two differ from the first, equally often
    np.testing.assert_array_equal(mismatched(y[:2], jax.random.key(0)), y[:2])  # all alike


def test_attributes_that_differ_in_one():
    y = signs(jnp.array([[1, 1, 0], [0, 1, 0]]))
    keys = jax.random.split(jax.random.key(0), 300)
    found = np.asarray(jax.jit(jax.vmap(lambda key: one_wrong(y, key)))(keys))
    differs = found != np.asarray(y)
    assert (differs.sum(-1) == 1).all()
    np.testing.assert_allclose(differs.mean((0, 1)), 1 / 3, atol=0.06)
    assert 0.2 < (differs[:, 0] & differs[:, 1]).any(-1).mean() < 0.5  # each row has its own lot


def test_attributes_are_signs():
    np.testing.assert_array_equal(signs(jnp.array([0, 1, -1, 5, 0.5])), [-1, 1, -1, 1, 0])


@pytest.fixture(scope="module")
def run():
    system = inverse()
    old = init(gan(), jax.random.key(3))
    states = inherit(old, init(system, jax.random.key(0)), ["generator"])
    return TrainedRun(system, states, INFO, 1, "icgan")


def picture(*values):
    return np.round((np.array(values).reshape(SHAPE) + 1) * 127.5).astype(np.uint8)


def test_an_edit_changes_what_is_asked_for(run):
    """And reads the rest off the image: no glasses, a beard, the latent's pixel."""
    image = picture(0.3, -0.5, 0.5)
    close = lambda made, *values: np.testing.assert_allclose(made, picture(*values), atol=1)
    close(run.translate(image), 0.3, -0.5, 0.5)
    close(run.translate(image, set={"glasses": 1}), 0.3, 0.5, 0.5)
    close(run.translate(image, set={"glasses": 1, "beard": 0}), 0.3, 0.5, -0.5)
    close(run.translate(image, set={"beard": 0.5}), 0.3, -0.5, 0)
    faint = picture(0.3, -0.1, 0.1)  # attributes are there or not
    close(run.translate(faint, direction="reconstruction"), 0.3, -0.5, 0.5)
    close(run.decode(run.encode(faint[None]))[0], 0.3, -0.5, 0.5)
    with pytest.raises(UserError, match="^set 'glases' is not known; did you mean glasses?"):
        run.translate(image, set={"glases": 1})
    with pytest.raises(UserError, match="^set glasses is from 0 to 1, not yes"):
        run.translate(image, set={"glasses": "yes"})
    with pytest.raises(UserError, match="^set is {name: value}, such as {'glasses': 1}, not 'gla"):
        run.translate(image, set="glasses=1")
    with pytest.raises(UserError, match=r"to be encoded are \[n, 1, 3, 1\], not \[1, 2, 2, 3\]"):
        run.encode(np.zeros((1, 2, 2, 3), np.uint8))


def test_detail_gives_back_what_the_reconstruction_lacks(run):
    """Faint attributes, which come back strong, stay faint but for what is asked for."""
    faint = picture(0.3, -0.1, 0.1)
    close = lambda made, *values: np.testing.assert_allclose(made, picture(*values), atol=1)
    close(run.translate(faint, detail=1.0), 0.3, -0.1, 0.1)
    close(run.translate(faint, set={"glasses": 1}, detail=1.0), 0.3, 0.5, 0.1)
    close(run.translate(faint, set={"glasses": 1}, detail=0.5), 0.3, 0.5, 0.3)
    whole = TrainedRun(inverse(detail=1.0), run.states, INFO, 1, "icgan")
    close(whole.translate(faint, set={"glasses": 1}), 0.3, 0.5, 0.1)


def test_detail_is_given_back_less_where_the_edit_changes_more(run):
    """The second pixel goes from -0.5 to 0.5, and the third, which lacks -0.4, from 0.5 to 0.1:
    0.8 of the half of the former, so that 0.2 of what lacks is given back."""
    made = run.translate(picture(0.3, -0.1, 0.1), set={"glasses": 1, "beard": 0.6}, detail=1.0)
    np.testing.assert_allclose(made, picture(0.3, 0.5, 0.02), atol=1)


def test_samples_of_attributes(run):
    np.testing.assert_array_equal(
        run.sample(3, attributes={"beard": 1})[:, 0, 1:, 0], [[64, 191]] * 3
    )


def test_the_counterfactual_is_asked_for_by_what_changes(run):
    (way,) = run.system.all_of(Translator)
    batch = {"attributes": HAS, "edited_attributes": jnp.array([[0, 1], [1, 1]])}
    inputs, truth = way.pair({**batch, "image": jnp.zeros((2, *SHAPE)), "edited": jnp.ones(2)})
    np.testing.assert_array_equal(inputs[SET], [[0, np.nan], [np.nan, 1]])
    assert (truth == 1).all()


def data(shown, **more):
    """Six images that show these attributes, of people who have `HAS`."""
    has = np.tile(HAS, (3, 1))
    pixels = np.concatenate([np.zeros((6, 1)), shown(np.float32(2 * has - 1)) / 2], axis=1)
    images = np.uint8(np.round((pixels + 1) * 127.5)).reshape(6, *SHAPE)
    return jg.arrays({"image": images, "attributes": has}, attribute_names=NAMES, **more)


def test_edits_are_read(run, monkeypatch):
    """By a reader that knows the pixels. Of six images three are asked for other glasses, three
    for another beard."""
    from jaxgen.evaluate.separability import Reader

    logits = lambda images: np.float32(images.reshape(-1, 3)[:, 1:]) - 127.5
    answers = lambda examples: examples["attributes"]
    monkeypatch.setattr(metric, "read", lambda data, seed: Reader([*NAMES], {}, answers, logits))
    names = ("edit-accuracy", "edit-preservation")
    accuracy, preservation = evaluate(run, names, data=data(lambda y: y))
    assert accuracy["value"] == preservation["value"] == 1
    assert accuracy["by_factor"] == dict.fromkeys(NAMES, 1)
    assert accuracy["baselines"] == {"unedited": 0}
    assert preservation["baselines"] == {"unedited": 1}
    # No image shows glasses, so that none are kept that somebody has: everybody has.
    bare = data(lambda y: np.stack([-np.ones(6), y[:, 1]], axis=1))
    accuracy, preservation = evaluate(run, names, data=bare)
    assert accuracy["value"] == 1
    assert preservation["by_factor"] == {"glasses": 0, "beard": 1}
    assert preservation["value"] == 0.5
    assert preservation["classifier_accuracy"] == 0.5


def test_nothing_is_kept_beside_a_single_attribute(monkeypatch):
    content = {"image": np.zeros((6, *SHAPE), np.uint8), "attributes": np.uint8([[1], [0]] * 3)}
    one = jg.arrays(content, attribute_names=NAMES[:1])
    monkeypatch.setattr(metric, "_held_out", lambda scoring, name: (one, 6))
    scoring = SimpleNamespace(taught=lambda: one)
    metric.check(scoring, "edit-accuracy")
    with pytest.raises(UserError, match="edit-preservation is of the other attributes"):
        metric.check(scoring, "edit-preservation")


def test_an_edit_beside_what_it_should_be(run, monkeypatch):
    """The training data does not show it."""
    monkeypatch.setattr(metric.Scoring, "taught", lambda scoring: data(lambda y: y))
    has, turned = np.tile(HAS, (3, 1)), np.tile(1 - HAS, (3, 1))
    given = [picture(0, *row) for row in has - 0.5]
    content = {"image": np.stack(given), "attributes": has, "edited_attributes": turned}
    content["edited"] = np.stack([picture(0, *row) for row in turned - 0.5])
    kinds = {"edited": "image", "edited_attributes": "attributes"}
    shown = jg.arrays(content, kinds=kinds, attribute_names=NAMES)
    (found,) = evaluate(run, ("l1",), data=shown)
    assert found["value"] == pytest.approx(0, abs=0.01)
    assert found["baselines"] == {"input": pytest.approx(2 / 3, abs=0.01)}


def test_what_cannot_be_scored(run):
    with pytest.raises(UserError, match="^l1: arrays has no edited images; leave it out"):
        run.evaluate("l1", data=data(lambda y: y))
    with pytest.raises(UserError, match="edit-accuracy: arrays has no attributes; leave it out"):
        run.evaluate("edit-accuracy", data=jg.arrays({"image": np.zeros((6, *SHAPE), np.uint8)}))


def test_data_without_attributes():
    with pytest.raises(UserError, match="^mnist5k has no attributes; name other data$"):
        experiment.system(experiment.Args(data="mnist5k"), DataInfo((32, 32, 1), {}))
