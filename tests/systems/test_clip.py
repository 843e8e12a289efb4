"""What makes CLIP itself."""

import json
import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgen.commands.evaluate import evaluate
from jaxgen.commands.launch import train
from jaxgen.errors import UserError
from jaxgen.experiments.clip import Args
from jaxgen.experiments.clip import system as build
from jaxgen.models import clip as models
from jaxgen.nn import attention
from jaxgen.runs.load import load as open_run
from jaxgen.train.nets import init
from tests.quick import quick_to_compile  # noqa: F401

ROUNDS = 300
NAME = "jaxgen.experiments.clip"
COLOURS = {"red": (255, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 255), "white": (255,) * 3}
PLACES = {"top left": (0, 0), "top right": (0, 1), "bottom left": (1, 0), "bottom right": (1, 1)}
TINY = {
    **{"size": 8, "random_crop": 0, "patch": 8, "width": 16, "layers": 1, "heads": 2},
    **{"text_width": 16, "text_layers": 1, "text_heads": 2, "embedding": 8, "context": 8},
    **{"merges": 100, "batch_size": 32, "warm_up": 20, "lr": 1e-2, "weight_decay": 0.01},
}


def count(module, example):
    shapes = jax.eval_shape(module.init, jax.random.key(0), example)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(
    ("name", "visual", "total"),
    [
        ("ViT-B/32", 87_849_216, 151_277_313),
        ("ViT-B/16", 86_192_640, 149_620_737),
        ("ViT-L/14", 303_966_208, 427_616_513),
    ],
)
def test_counts(name, visual, total):
    size = models.SIZES[name]
    image, text = models.towers(size)
    assert count(image, jnp.zeros((1, size.pixels, size.pixels, 3))) == visual
    assert visual + count(text, jnp.zeros((1, size.context), jnp.int32)) + 1 == total


def test_what_follows_the_end_of_a_text_has_no_influence():
    tower = models.TextTower(20, 6, 16, 1, 8, 2)
    text = jnp.array([[18, 3, 4, 19, 0, 0], [18, 3, 4, 19, 7, 1], [18, 3, 5, 19, 0, 0]])
    variables = jax.jit(tower.init)(jax.random.key(0), text)
    apply = jax.jit(tower.apply)
    first, same, other = apply(variables, text)
    np.testing.assert_allclose(first, same, rtol=1e-5)
    np.testing.assert_allclose(first, apply(variables, text[:1, :4])[0], rtol=1e-4)
    assert abs(first - other).max() > 1e-3
    with pytest.raises(UserError, match="texts have 6 tokens at most, not 7"):
        tower.apply(variables, jnp.zeros((1, 7), jnp.int32))


def test_patches_must_fill_the_image():
    with pytest.raises(UserError, match="10 x 8 pixels cannot be cut into patches of 4"):
        models.ImageTower(4, 8, 1, 4).init(jax.random.key(0), jnp.zeros((1, 8, 10, 3)))


def test_attention_by_hand():
    q, k, v = jax.random.normal(jax.random.key(0), (3, 1, 4, 1, 2))
    found = attention.attend(q, k, v, attention.causal(4))[0, :, 0]
    np.testing.assert_allclose(found[0], v[0, 0, 0], rtol=1e-5)  # the first sees itself alone
    weights = np.exp(k[0, :3, 0] @ q[0, 2, 0] / 2**0.5)
    np.testing.assert_allclose(found[2], weights @ v[0, :3, 0] / weights.sum(), rtol=1e-5)
    with pytest.raises(ValueError, match="9 channels cannot be split over 2 heads"):
        attention.SelfAttention(2).init(jax.random.key(0), jnp.zeros((1, 3, 9)))


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Noisy squares with captions: red top left, ...; the colour is the label."""
    root, random = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    for split, n in (("train", 12), ("test", 1)):
        (root / split).mkdir()
        lines = []
        for (colour, rgb), (place, (row, column)) in [
            (c, p) for c in COLOURS.items() for p in PLACES.items() for _ in range(n)
        ]:
            pixels = random.integers(80, 130, (8, 8, 3))
            pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = rgb
            name = f"{len(lines)}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(root / split / name)
            lines.append({"file_name": name, "caption": f"{colour} {place}"})
        (root / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root


@pytest.fixture(scope="module")
def run(squares, tmp_path_factory):
    """A run to its end, then moved to where another command finds it."""
    folder = tmp_path_factory.mktemp("run")
    train(NAME, build, Args(**TINY, data=f"folder:{squares}", rounds=ROUNDS, workdir=folder / "a"))
    return (folder / "a").rename(folder / "b")


def test_it_learns_and_is_scored(run):
    table = evaluate(run)
    scores = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
    found = {record["metric"]: record for record in scores}
    for way in "image-to-text", "text-to-image":
        assert found[way]["value"] >= 10 * found[way]["baselines"]["chance"], table
        assert found[way]["baselines"]["chance"] == 1 / 16
        assert found[way]["samples"] == 16
    assert "zero-shot" not in found  # these images have no labels
    with pytest.raises(UserError, match="zero-shot: folder:.* has no labels; leave"):
        evaluate(run, metrics=("zero-shot",))


def test_a_class_is_recognised_by_its_name(run, squares, tmp_path):
    """None of the classes' names was a caption: colours alone, in folders by colour."""
    paths = sorted((squares / "test").glob("*.png"), key=lambda p: int(p.stem))
    for split in "train", "test":
        for path, colour in zip(paths, [c for c in COLOURS for _ in PLACES]):
            target = tmp_path / split / colour / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    names = ("zero-shot", "linear-probe")
    evaluate(run, metrics=names, reference=f"folder:{tmp_path}", out=tmp_path / "scores")
    zero, _ = map(json.loads, (tmp_path / "scores").read_text().splitlines())
    assert zero["baselines"] == {"chance": 0.25, "the commonest class": 0.25}
    assert zero["value"] >= 0.5


def test_the_run_keeps_its_vocabulary(run):
    trained = open_run(run)
    assert trained.args.workdir == run
    data = trained.args.load_data("test")
    learned = Args(**TINY, workdir=None).tokenizer(lambda: data.all_captions(10_000))
    assert data.tokenize.merges
    assert trained.info.vocabulary.merges == data.tokenize.merges
    assert {pair[1] for pair in learned.merges} <= {pair[1] for pair in data.tokenize.merges}
    assert data[0]["text"].tolist() == data.tokenize(data[0]["caption"]).tolist()


def test_a_run_without_its_vocabulary_is_refused(run, tmp_path):
    shutil.copytree(run, tmp_path / "c")
    (tmp_path / "c" / "data.json").unlink()
    with pytest.raises(UserError, match="c has lost its data.json"):
        open_run(tmp_path / "c")


def test_the_temperature_is_kept_from_100(run):
    system = open_run(run).system
    states = init(system, jax.random.key(0))
    tx, params = system.players["temperature"].optimizer, states["temperature"].params
    np.testing.assert_allclose(jnp.exp(params["log"]), 1 / 0.07, rtol=1e-5)
    params = {"log": jnp.float32(math.log(99.99))}
    state = tx.init(params)
    for _ in range(5):  # pushed upwards
        updates, state = tx.update({"log": jnp.float32(-1.0)}, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    np.testing.assert_allclose(jnp.exp(params["log"]), 100, rtol=1e-4)


def test_data_without_captions_is_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    data, needs = f"folder:{tmp_path}", f"{NAME.split('.')[-1]} learns from image and text, but"
    with pytest.raises(UserError, match=needs):
        train(NAME, build, Args(**TINY, data=data, workdir=tmp_path / "run"))


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"size": 42}, "--size 42 is not a multiple of --patch 8; use 40"),
        ({"width": 130}, "--width 130 is not a multiple of --heads 4"),
        ({"text_width": 130}, "--text-width 130 is not a multiple of --text-heads 4"),
        ({"warm_up": 9, "rounds": 9}, "--warm-up is below --rounds (9), not 9"),
        ({"prompts": ("a photo",)}, "--prompts are texts with {} for the name"),
    ],
)
def test_wrong_flags(flags, line):
    with pytest.raises(UserError) as error:
        Args(**flags).check()
    assert str(error.value).startswith(line)
