"""Style transfer: what its losses are blind to, and a picture from the command to the file."""

import json
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from jaxgen.commands.arguments import parse
from jaxgen.commands.launch import train
from jaxgen.data.images import decode
from jaxgen.data.one import One
from jaxgen.data.source import DataInfo, Field, to_float
from jaxgen.errors import UserError
from jaxgen.experiments import gatys as experiment
from jaxgen.models.squeezenet import SqueezeNet
from jaxgen.models.vgg import vgg19
from jaxgen.nn import imagenet
from jaxgen.nn.pool import max_pool
from jaxgen.runs.load import load
from jaxgen.runs.trained import TrainedRun
from jaxgen.systems.style.gatys import example, gatys, in_colours_of
from jaxgen.train import devices
from jaxgen.train.nets import bind, init, place
from jaxgen.train.program import compile_rounds
from jaxgen.weights.assemble import Pretrained
from tests.experiments.command import metrics
from tests.quick import quick_to_compile  # noqa: F401

LAYERS = {"conv1": 1e-2, "fire3": 1e-2}


def photograph(seed, *size):
    """Colours that change smoothly, uint8 [1, H, W, 3]."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC))[None]


def signed(x):
    return jnp.float32(x) / 127.5 - 1


class Narrow(nn.Module):
    """Stands for SqueezeNet: few channels, and few layers, which are named as its own."""

    @nn.compact
    def __call__(self, x):
        conv1 = nn.relu(nn.Conv(8, (3, 3), 2, "VALID")(x))
        fire3 = nn.relu(nn.Conv(8, (3, 3))(max_pool(conv1, 3, 2, ceil=True)))
        return {"conv1": conv1, "fire3": fire3, "fire5": nn.relu(nn.Conv(8, (3, 3))(fire3))}


@pytest.fixture(scope="module")
def trained():
    module = Narrow()
    variables = module.init(jax.random.key(0), jnp.zeros((1, 40, 40, 3)))
    return Pretrained(module, variables, imagenet.caffe, "0" * 64)


CONTENT, STYLE, OTHER = photograph(1, 34, 44), photograph(2, 48, 32), photograph(3, 48, 32)


def build(trained, start, content=CONTENT, style=STYLE, **settings):
    """The system, and its loss and gradient at the image `start`."""
    batch = example(trained, content, style, "fire5", LAYERS)
    settings = {"alpha": 1.0, "beta": 1.0, **settings}
    network = trained.module, trained.prepare, trained.variables
    first = lambda: signed(start)
    system = gatys(*network, start.shape[1:], "fire5", LAYERS, start=first, **settings)
    states = init(system, jax.random.key(0))

    def loss(params):
        nets = bind(states, jax.random.key(0))
        nets.picture.params = params
        return system.turns[0].loss(nets, to_float(batch), jax.random.key(0))

    see = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, _), slope = see(states["picture"].params)
    return system, batch, float(value), slope["pixels"]


def test_the_style_itself_is_a_minimum(trained):
    loss, slope = build(trained, STYLE, content=OTHER, alpha=0.0)[2:]
    far, steep = build(trained, OTHER, content=OTHER, alpha=0.0)[2:]
    assert loss < 1e-9 * far
    assert jnp.abs(slope).max() < 1e-5 * jnp.abs(steep).max()


def test_the_content_itself_is_a_minimum(trained):
    loss, slope = build(trained, CONTENT, beta=0.0)[2:]
    far, steep = build(trained, CONTENT[:, ::-1], beta=0.0)[2:]
    assert loss < 1e-9 * far
    assert jnp.abs(slope).max() < 1e-5 * jnp.abs(steep).max()


def test_style_is_more_than_a_palette(trained):
    """Shuffled pixels have the style's colours, and not its style."""
    pixels = np.random.default_rng(0).permutation(STYLE.reshape(-1, 3)).reshape(STYLE.shape)
    shuffled = build(trained, pixels, content=OTHER, alpha=0.0)[2]
    assert shuffled > 0.1 * build(trained, OTHER, content=OTHER, alpha=0.0)[2]


def test_lbfgs_goes_down_at_every_step(trained):
    system, batch, start, _ = build(trained, CONTENT, alpha=0.1, smooth=1e-4)
    fields = {"image": Field("image"), "painting": Field("image")}
    mesh = devices.make_mesh(jax.devices()[:1])
    states = place(init(system, jax.random.key(0)), mesh)
    index = {"index": np.zeros((12, 1, 1), np.int32)}
    play = compile_rounds(system, mesh, (1,), fields=fields)
    before = jax.device_get(states["features"].params)
    states, found = play(
        states, index, np.arange(12), jax.random.key(0), One(batch, fields).resident
    )
    losses = np.asarray(found["picture/loss"])
    np.testing.assert_allclose(losses[0], start, rtol=1e-5)
    assert (np.diff(losses) < 0).all(), losses
    assert losses[-1] < 0.5 * losses[0]
    chex.assert_trees_all_equal(before, jax.device_get(states["features"].params))


def test_a_trained_run_paints_another_photograph(trained):
    system, *_ = build(trained, CONTENT, alpha=0.1)
    fields = {"image": Field("image"), "style": Field("array")}
    states = init(system, jax.random.key(0))
    run = TrainedRun(system, states, DataInfo(CONTENT.shape[1:], fields), 1, "gatys")
    by = lambda steps: run.translate(OTHER[0], style=STYLE[0], steps=steps)
    np.testing.assert_array_equal(by(0), OTHER[0])
    painted = by(8)
    assert painted.shape == OTHER[0].shape
    start = [build(trained, x, content=OTHER, alpha=0.1)[2] for x in (OTHER, painted[None])]
    assert start[1] < 0.7 * start[0]
    with pytest.raises(UserError, match="style is needed, and has no default; give an image"):
        run.translate(OTHER[0])


def test_colours_of_the_photograph():
    yuv = np.linalg.inv([[1, 0, 1.13983], [1, -0.39465, -0.5806], [1, 2.03211, 0]]).T  # BT.601
    p, x = signed(photograph(3, 5, 6)), signed(photograph(4, 5, 6))
    found = in_colours_of(p, x) @ yuv
    np.testing.assert_allclose(found[..., 0], (x @ yuv)[..., 0], atol=1e-3)
    np.testing.assert_allclose(found[..., 1:], (p @ yuv)[..., 1:], atol=1e-3)


@pytest.fixture
def command(trained, tmp_path, monkeypatch):
    """The experiment on two small images and the narrow network."""
    monkeypatch.setattr(experiment, "network", lambda args: trained)
    monkeypatch.setattr("jaxgen.models.squeezenet.SqueezeNet", lambda average: Narrow())
    Image.fromarray(CONTENT[0]).convert("P").save(tmp_path / "content.png")
    Image.fromarray(STYLE[0]).save(tmp_path / "style.jpg")

    def run(workdir="run", *flags):
        given = ["--content", tmp_path / "content.png", "--style", tmp_path / "style.jpg"]
        given += ["--size", 44, "--style-scale", 1.1, "--save-every", 2, "--log-every", 1]
        given += ["--rounds", 4, "--workdir", tmp_path / workdir]
        given += ["--content-layer", "fire5", "--style-layers", "conv1", "fire3", *flags]
        name = experiment.__name__
        args = parse(experiment.Args, name, list(map(str, given)))
        train(name, experiment.system, args)
        return tmp_path / workdir

    return run


def test_picture_from_a_command(command, tmp_path, capsys):
    folder = command("run", "--start", "noise")
    assert decode(folder / "picture.png").shape == (34, 44, 3)
    assert f"picture      {folder / 'picture.png'}" in capsys.readouterr().out
    assert (folder / "report.html").is_file()
    assert (folder / "samples/round_00000004.png").is_file()
    lines = metrics(folder)
    assert [line["round"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["picture/loss"] < lines[0]["picture/loss"]

    # It can be opened, without the published weights, and paints another photograph.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "network", None)
        opened = load(folder)
    painted = opened.translate(OTHER[0], style=STYLE[0], steps=2)
    assert painted.shape == OTHER[0].shape
    assert (painted != OTHER[0]).any()

    # Exact resume: as if killed after the checkpoint of round 2.
    shutil.copytree(folder, tmp_path / "again")
    shutil.rmtree(tmp_path / "again/checkpoints/4")
    shutil.copy(tmp_path / "content.png", tmp_path / "moved.png")  # one image under two names
    again = command("again", "--start", "noise", "--content", tmp_path / "moved.png")
    assert "going on from round 2" in capsys.readouterr().err
    assert metrics(again) == lines
    last = "samples/round_00000004.png"
    assert (again / last).read_bytes() == (folder / last).read_bytes()
    assert (again / "picture.png").read_bytes() == (folder / last).read_bytes()

    # Another seed is another noise, another image another run.
    with pytest.raises(UserError, match="seed was 0 and is now 1"):
        command("run", "--start", "noise", "--seed", 1)
    Image.fromarray(STYLE[0, ::-1]).save(tmp_path / "style.jpg")
    with pytest.raises(UserError, match="other data"):
        command("run", "--start", "noise")


def test_adam_and_colours(command):
    folder = command("run", "--optimizer", "adam", "--keep-colours", "--smooth", 0.1)
    loss = [line["picture/loss"] for line in metrics(folder)]
    assert loss[-1] < loss[0]
    assert json.loads((folder / "args.json").read_text())["keep_colours"] is True


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--content", "no.png"], "no.png: there is no such file"),
        (["--content", "text.png"], "text.png is not a readable image"),
        (["--size", "30"], "--size larger"),
        (
            ["--style-layers", "fire4"],
            "--style-layers: squeezenet has conv1, fire3, .*, and no fire4",
        ),
        (["--content-layer", "relu9_1", "--features", "vgg19"], "vgg19 has relu1_1, .* no relu9_1"),
        (["--content-weight", "-1"], "--content-weight is at least 0, not -1"),
        (["--style-scale", "0"], "--style-scale is more than 0, not 0"),
        (["--size", "-1"], "--size is at least 0, not -1"),
    ],
)
def test_mistakes(command, flags, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=line):
        command("run", *flags)
    assert not (tmp_path / "run").exists()


def test_weights_that_are_missing_or_of_another_scale(tmp_path, monkeypatch):
    args = experiment.Args(features="vgg19", weights=tmp_path / "vgg.pth")
    with pytest.raises(UserError, match="do not exist"):
        experiment.network(args)
    other = Pretrained(None, {}, imagenet.caffe, "dcbb9e9d" + "0" * 56)
    monkeypatch.setattr("jaxgen.weights.vgg.caffe19", lambda *_: other)
    with pytest.raises(UserError, match="is torchvision's VGG-19"):
        experiment.network(args)


def test_shipped_images_and_sizes():
    pytest.importorskip("skimage")
    content, style = experiment.content_and_style(experiment.Args(size=64, style_scale=1.5))
    assert content.shape == (1, 64, 64, 3)
    assert style.shape == (1, 96, 96, 3)
    assert experiment.content_and_style(experiment.Args(size=0))[0].shape == (1, 512, 512, 3)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("network", [SqueezeNet, vgg19])
def test_the_least_size_is_enough(network, average):
    image = jnp.zeros((1, experiment.LEAST, experiment.LEAST, 3))
    see = lambda x: network(average=average).init_with_output(jax.random.key(0), x)[0]
    maps = jax.eval_shape(see, image)
    name = "squeezenet" if network is SqueezeNet else "vgg19"
    assert set(experiment.WEIGHTS[name]) == set(maps) - {"logits"}
    assert all(x.size for x in maps.values())
