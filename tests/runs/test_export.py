"""Exported weights and programs are what the run computes with, and need no jaxgen."""

import dataclasses
import json
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from safetensors import safe_open

from jaxgen import draw
from jaxgen.commands.choices import call
from jaxgen.commands.export import export as command
from jaxgen.data.arrays import arrays
from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.latents import uniform
from jaxgen.models import dcgan, pix2pix, pixelcnn, srgan, stylegan2, vae
from jaxgen.models.patchgan import PatchGAN
from jaxgen.pictures import as_uint8
from jaxgen.runs.fit import fit
from jaxgen.runs.trained import TrainedRun
from jaxgen.systems.gan.dcgan import dcgan as dcgan_system
from jaxgen.systems.gan.stylegan2 import stylegan2 as stylegan2_system
from jaxgen.systems.gan.wgan import wgan as wgan_system
from jaxgen.systems.likelihood import pixels
from jaxgen.systems.likelihood.pixelcnn import pixelcnn as pixelcnn_system
from jaxgen.systems.likelihood.vae import vae as vae_system
from jaxgen.systems.restoration.srgan import srgan as srgan_system
from jaxgen.systems.translation.cyclegan import cyclegan as cyclegan_system
from jaxgen.systems.translation.pix2pix import pix2pix as pix2pix_system
from jaxgen.train import nets
from jaxgen.train.abilities import Option, Sampler, Translator
from jaxgen.train.game import Player, System, Turn
from jaxgen.weights.published import read_state_dict
from tests.quick import quick_to_compile  # noqa: F401
from tests.runs import toys

KEY, KEY_Z, KEY_NOISE = jax.random.split(jax.random.key(0), 3)  # as samples are drawn
PAIRS = {"a": Field("image", 3), "b": Field("image", 3)}


def toy(system, shape, name, fields=None, **info):
    """The system with weights and statistics drawn at random, without compiling anything."""
    rng = np.random.default_rng(0)

    def fill(path, x):
        if path[-1] == jax.tree_util.DictKey("var") or x.dtype != jnp.float32:
            return jnp.ones(x.shape, x.dtype)
        return jnp.float32(rng.normal(0, math.prod(x.shape[:-1]) ** -0.5, x.shape))

    fields = fields or {"image": Field("image", shape[-1])}
    known = DataInfo(shape, fields, **info)
    states = jax.tree_util.tree_map_with_path(fill, nets.shapes(system, known.zeros))
    return TrainedRun(system, states, known, 7, name)


def wgan():
    shape = (8, 8, 1)
    system = wgan_system(dcgan.Generator(8, 1, 4), dcgan.Discriminator(8, 4), shape)
    return toy(system, shape, "wgan")


def theano():
    """DCGAN's first networks, whose statistics are always those of the batch."""
    networks = dcgan.PaperGenerator(8, 1, 4), dcgan.PaperDiscriminator(8, 4)
    return toy(dcgan_system(*networks, (8, 8, 1), uniform(100)), (8, 8, 1), "theano")


def torch():
    networks = dcgan.Generator(16, 3, 4), dcgan.Discriminator(16, 4)
    return toy(dcgan_system(*networks, (16, 16, 3)), (16, 16, 3), "dcgan")


def variational():
    shape = (8, 8, 1)
    networks = vae.Encoder(3, (9,)), vae.BernoulliDecoder(shape, (9,))
    return toy(vae_system(*networks, shape, 3, optax.adam(1e-3)), shape, "vae")


def styles():
    networks = stylegan2.Generator((8, 4), 3, 8, 2), stylegan2.Discriminator((8, 4))
    return toy(stylegan2_system(*networks, (8, 8, 3), 5), (8, 8, 3), "stylegan2")


def translated():
    """With dropout, and the statistics of what it is given."""
    networks = pix2pix.UNet(3, 3, 4, variant="torch"), PatchGAN(4, 1)
    return toy(pix2pix_system(*networks, (16, 16, 3)), (16, 16, 3), "pix2pix", PAIRS)


def enlarged():
    networks = srgan.Generator(3, 4, 1), srgan.Discriminator(4)
    optimizers = [optax.adam(1e-3)] * 2
    return toy(srgan_system(*networks, (32, 32, 3), optimizers), (32, 32, 3), "srgan")


class Labelled(nn.Module):
    @nn.compact
    def __call__(self, z, label, key, scale):
        x = nn.Dense(12)(z["a"] + z["b"]) + nn.Embed(4, 12)(label)
        x += scale * draw.normal(key, len(label), (12,))
        return nn.tanh(x).reshape(len(label), 2, 2, 3)


def labelled_system(info=None):
    """Two latents, a condition, an option, and noise by example."""

    def prior(key, n):
        keys = jax.random.split(key)
        return {name: draw.normal(k, n, (5,)) for name, k in zip("ab", keys)}

    def generate(nets, z, condition, key, scale=1.0):
        return nets.generator(z, condition["label"], key, scale)

    options = {"scale": Option(1.0, "Scale of the noise")}
    inputs = [prior(KEY, 2), jnp.zeros(2, jnp.int32), KEY, 1.0]
    return System(
        {"generator": Player(Labelled(), inputs, optax.sgd(0.1))},
        (Turn(("generator",), lambda nets, batch, key: (jnp.zeros(()), {})),),
        abilities=(Sampler(prior, generate, condition=("label",), options=options),),
    )


LABELS = {"image": Field("image", 3), "label": Field("label")}


def labelled():
    return toy(labelled_system(), (2, 2, 3), "labelled", LABELS, label_names=("c", "d", "e", "f"))


def raster():
    """Pixel by pixel, in loops, and with labels."""
    network = pixelcnn.GatedPixelCNN(1, 3, 2, first_kernel=3, classes=4)
    system = pixelcnn_system(network, (4, 4, 1), optax.adam(1e-3), pixels.binary, labels=True)
    fields = {**LABELS, "image": Field("image", 1)}
    return toy(system, (4, 4, 1), "pixelcnn", fields, label_names=("c", "d", "e", "f"))


def given(trained, n=5, size=(16, 24)):
    """Inputs of the exported program, in order."""
    if (sampler := trained.system.ability(Sampler)) is None:
        return [np.random.default_rng(1).uniform(-1, 1, (n, *size, 3)).astype("float32")]
    z = jax.tree.leaves(sampler.prior(KEY_Z, n))
    return [*map(np.asarray, z), *(np.arange(n, dtype="int32") % 4 for _ in sampler.condition)]


def wanted(trained, arrays, **options):
    """What the run itself makes of them."""

    @jax.jit
    def run(states, *arrays):
        if (sampler := trained.system.ability(Sampler)) is None:
            key = jax.random.key(0)
            players, translator = nets.bind(states, key), trained.system.ability(Translator)
            return translator.translate(players, {"image": arrays[0]}, key, **options)
        structure = jax.tree.structure(sampler.prior(KEY, 1))
        k = structure.num_leaves
        condition = dict(zip(sampler.condition, arrays[k:]))
        z = jax.tree.unflatten(structure, arrays[:k])
        players = nets.bind(states, jax.random.fold_in(KEY, 0))
        key = jax.random.fold_in(KEY_NOISE, 0)
        return sampler.generate(players, z, condition, key, **options)

    if trained.system.ability(Sampler) is None:  # one at a time
        images = [run(trained.states, arrays[0][i : i + 1])[0] for i in range(len(arrays[0]))]
    else:
        images = run(trained.states, *arrays)
    return np.clip(images, -1, 1)


ALONE = """
import json, sys
import numpy as np
sys.modules["jaxgen"] = None  # an import of it fails
for name in sys.argv[1:]:
    lines = {}
    exec("\\n".join(json.load(open(f"{name}.stablehlo.json"))["python"]), lines)
    assert np.isfinite(lines["images"]).all()
    inputs = np.load(f"{name}.npz")
    np.save(f"{name}.npy", lines["program"].call(*(inputs[k] for k in inputs)))
"""
CHOICES = {"stylegan2": {"truncation": 0.5}, "labelled": {"scale": 2.0}}
RUNS = [wgan, theano, torch, variational, styles, translated, enlarged, labelled, raster]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """By name: (the run, the program's images and the run's, its card)."""
    folder, runs = tmp_path_factory.mktemp("programs"), {}
    for trained in [run() for run in RUNS]:
        name = trained.name
        runs[name] = trained
        path = folder / f"{name}.stablehlo"
        assert trained.export(path, batch=5, **CHOICES.get(name, {})) == path
        np.savez(folder / f"{name}.npz", *given(trained))
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    python = [sys.executable, "-c", ALONE, *runs]
    subprocess.run(python, cwd=folder, env=environment, check=True)
    return {
        name: (
            np.load(folder / f"{name}.npy"),
            wanted(trained, given(trained), **CHOICES.get(name, {})),
            json.loads((folder / f"{name}.stablehlo.json").read_text()),
        )
        for name, trained in runs.items()
    }


NAMES = ["wgan", "theano", "dcgan", "vae", "stylegan2", "pix2pix", "srgan", "labelled", "pixelcnn"]


@pytest.mark.parametrize("name", NAMES)
def test_a_program_runs_without_jaxgen_and_gives_the_images_of_the_run(programs, name):
    found, images, card = programs[name]
    # A millionth of the range [-1, 1]: another program may round in another order.
    np.testing.assert_allclose(found, images, rtol=0, atol=2e-6)
    assert found.std() > 1e-4
    assert card["platforms"] == ["cpu", "cuda", "tpu"]
    assert card["output"]["range"] == "[-1, 1]"


def test_a_program_gives_the_samples_of_the_run(programs):
    images, _, _ = programs["labelled"]
    samples = labelled().sample(5, scale=2.0)  # labels in turn
    assert np.abs(as_uint8(images).astype(int) - samples).max() <= 1


def test_cards_say_what_goes_in_and_comes_out(programs):
    cards = {name: card for name, (_, _, card) in programs.items()}
    assert cards["wgan"]["inputs"] == [
        {"name": "z", "shape": ["b", 100], "dtype": "float32", "range": "N(0, 1)"}
    ]
    assert cards["wgan"]["output"]["shape"] == ["b", 8, 8, 1]
    assert cards["wgan"]["notes"] == []
    assert cards["theano"]["inputs"][0]["shape"] == [5, 100]
    assert cards["theano"]["inputs"][0]["range"] == "uniform in [-1, 1)"
    assert "whole batch" in cards["theano"]["notes"][0]
    assert cards["stylegan2"]["options"] == {"truncation": 0.5}
    assert cards["pix2pix"]["inputs"][0]["shape"] == ["b", "8*h", "8*w", 3]
    assert cards["pix2pix"]["direction"] == "a-to-b"
    assert len(cards["pix2pix"]["notes"]) == 2  # of its noise, of its statistics
    assert cards["srgan"]["output"]["shape"] == ["b", "4*h", "4*w", 3]
    assert [x["name"] for x in cards["labelled"]["inputs"]] == ["z_a", "z_b", "label"]
    assert cards["labelled"]["inputs"][2]["range"] == "0 to 3, in the order of label_names"
    assert cards["labelled"]["data"]["label_names"] == ["c", "d", "e", "f"]


def test_one_direction_of_two(tmp_path, capsys):
    networks = pix2pix.UNet(2, 3, 4, dropout=0.0, norm="instance"), PatchGAN(4, 1)
    trained = toy(cyclegan_system(*networks, (8, 8, 3), 2), (8, 8, 3), "cyclegan", PAIRS)
    path = trained.export(tmp_path / "f.stablehlo", direction="b-to-a", platforms="cpu")
    program = jax.export.deserialize(path.read_bytes())
    (images,) = given(trained, 2)
    back = nets.bind(trained.states, KEY).f(jnp.asarray(images))
    np.testing.assert_allclose(program.call(images), back, rtol=1e-6, atol=1e-6)
    assert program.platforms == ("cpu",)
    assert not capsys.readouterr().err


def test_a_program_that_edits_is_told_what(tmp_path):
    """The training data need not show what an edit comes to."""
    trained = toys.editor()
    path = trained.export(tmp_path / "f.stablehlo", platforms="cpu")
    card = json.loads((tmp_path / "f.stablehlo.json").read_text())
    assert [(x["name"], x["shape"]) for x in card["inputs"]] == [
        ("image", ["b", 4, 4, 3]),
        ("set", ["b", 2]),
    ]
    assert card["inputs"][1]["range"].endswith("NaN for one that stays")
    program = jax.export.deserialize(path.read_bytes())
    asked = np.array([[0.25, np.nan], [np.nan, -1]], np.float32)
    made = program.call(np.ones((2, 4, 4, 3), np.float32), asked)
    np.testing.assert_allclose(made[:, 0, 0], [[0.25, 1, 1], [1, -1, 1]])


@jax.custom_batching.custom_vmap
def stubborn(x):
    return x


@stubborn.def_vmap
def _(size, batched, x):
    return x * (len(range(size)) / size), True


@pytest.mark.parametrize(
    ("translate", "shape", "note"),
    [
        (
            lambda x: x * len(range(x.shape[1])) / 4,
            ["b", 4, 6, 3],
            "its images have the training's size",
        ),
        (
            stubborn,
            [2, 4, 6, 3],
            "it takes 2 images at a time, of the training's size",
        ),
    ],
)
def test_what_cannot_be_left_open_is_fixed_and_said(tmp_path, capsys, translate, shape, note):
    """Exports of a network that counts its pixels, and of one that counts its images."""
    way = Translator(
        lambda nets, inputs, key: translate(inputs["image"]),
        lambda batch: ({"image": batch["image"]}, None),
    )
    turn = Turn(("p",), lambda nets, batch, key: (jnp.zeros(()), {}))
    player = Player(nn.Dense(3), [(1, 3)], optax.sgd(0.1))
    system = System({"p": player}, (turn,), lambda nets, batch, key: {}, (way,))
    trained = toy(system, (4, 6, 3), "counting")
    path = trained.export(tmp_path / "x.stablehlo", platforms="cpu", batch=2)
    assert json.loads((tmp_path / "x.stablehlo.json").read_text())["inputs"][0]["shape"] == shape
    assert capsys.readouterr().err == f"x.stablehlo: {note}\n"
    (images,) = given(trained, 2, (4, 6))
    program = jax.export.deserialize(path.read_bytes())
    np.testing.assert_allclose(program.call(images), images, rtol=1e-6)


def test_weights_are_read_back_with_their_card(tmp_path):
    trained = styles()
    path = trained.export(tmp_path / "new" / "g.safetensors")
    found, state = read_state_dict(path), trained.states["generator"]
    leaves = jax.tree_util.tree_leaves_with_path(state.ema["params"])
    wanted = {jax.tree_util.keystr(k, simple=True, separator="/"): x for k, x in leaves}
    for name, x in wanted.items():
        np.testing.assert_array_equal(found[f"generator/params/{name}"], x, strict=True)
    noise = [name for name in found if name.startswith("generator/noise/")]
    assert noise
    assert any(name.startswith("discriminator/params/") for name in found)
    card = json.loads(path.with_name("g.safetensors.json").read_text())
    with safe_open(path, "np") as file:
        assert json.loads(file.metadata()["jaxgen"]) == card
    assert card["round"] == 7
    assert card["data"]["shape"] == [8, 8, 3]
    assert card["shapes"] == {name: list(x.shape) for name, x in found.items()}
    count = sum(x.size for x in wanted.values())
    assert card["players"]["generator"] == {"parameters": count, "averaged": True, "frozen": False}
    assert card["players"]["path"]["frozen"]


def test_weights_of_one_player_and_where_they_are_from(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    record = {"experiment": "jaxgen.experiments.wgan", "rounds": 9}
    (run / "args.json").write_text(json.dumps(record))
    sessions = [{"command": "python -m old"}, {"command": "python -m new", "commit": "abc"}]
    (run / "environment.json").write_text(json.dumps(sessions))
    trained = dataclasses.replace(wgan(), folder=run)
    path = trained.export(tmp_path / "weights", to="safetensors", player="generator")
    assert {name.split("/")[0] for name in read_state_dict(path)} == {"generator"}
    assert any(name.startswith("generator/batch_stats/") for name in read_state_dict(path))
    card = json.loads((tmp_path / "weights.json").read_text())
    assert card["experiment"] == record["experiment"]
    assert card["arguments"] == {"rounds": 9}
    assert card["provenance"] == sessions[1]


@pytest.mark.parametrize(
    ("path", "options", "line"),
    [
        ("x.npz", {}, "x.npz ends in neither .safetensors nor .stablehlo; rename it"),
        ("x.safetensors", {"player": "critics"}, "no player 'critics'.* generator or critic"),
        ("x.safetensors", {"truncation": 0.7}, "weights have no truncation"),
        ("x.stablehlo", {"player": "generator"}, "player is for weights"),
        ("x.stablehlo", {"truncation": 0.7}, "wgan takes no truncation"),
        ("x.stablehlo", {"direction": "a-to-b"}, "wgan makes no images from images"),
        ("x.stablehlo", {"platforms": ["gpu"]}, "platforms are some of cpu, cuda, rocm, tpu"),
        ("file/x.safetensors", {}, "x.safetensors cannot be written .*; name another place"),
    ],
)
def test_what_cannot_be_exported_is_one_line(tmp_path, path, options, line):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=line) as error:
        wgan().export(tmp_path / path, **options)
    assert "\n" not in str(error.value)
    assert [x.name for x in tmp_path.iterdir()] == ["file"]


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxgen.commands.start.start_jax", lambda: None)
    rng, run = np.random.default_rng(0), tmp_path / "run"
    data = arrays(
        {"image": rng.integers(0, 256, (8, 2, 2, 3), np.uint8), "label": np.arange(8) % 4}
    )
    fit(labelled_system(), data, 1, batch_size=8, run=run)

    def export(*flags):
        named = "tests.runs.test_export:labelled_system"
        return call(command, [str(run), "--system", named, *flags], "jaxgen export")

    path, _ = export("--to", "safetensors")
    assert path == run / "use" / "run_round_00000001.safetensors"
    assert {name.split("/")[0] for name in read_state_dict(path)} == {"generator"}
    path, card = export("--to", "stablehlo", "--scale", "2")
    assert path == run / "use" / "run_round_00000001_scale_2.0.stablehlo"
    card = json.loads(card.read_text())
    assert card["options"] == {"scale": 2.0}
    assert card["provenance"]["data_fingerprint"] == data.fingerprint
    with pytest.raises(UserError, match="--player"):
        export("--to", "stablehlo", "--player", "generator")
