"""`match`: a person's images and texts, by a run that reads both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgen.commands.launch import load_data, train
from jaxgen.commands.match import likelihoods, match
from jaxgen.commands.restore import open_run
from jaxgen.errors import UserError
from jaxgen.train.game import look, to_float
from tests.quick import quick_to_compile  # noqa: F401


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from jaxgen.experiments.clip import Args, system

    folder = tmp_path_factory.mktemp("match") / "clip"
    args = Args(
        **{"workdir": folder, "data": "photos", "size": 8, "random_crop": 10, "patch": 4},
        **{"batch_size": 8, "rounds": 2, "width": 8, "layers": 1, "heads": 2, "text_width": 8},
        **{"text_layers": 1, "text_heads": 2, "embedding": 4, "context": 8, "merges": 20},
        **{"warm_up": 1, "log_every": 1, "save_every": 2},
    )
    train("jaxgen.experiments.clip", system, args)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for i in range(3):
        pixels = rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


def test_chances_are_softmaxes_of_scaled_cosines(run, files):
    trained, texts = open_run(run), ("a cat", "two dogs", "the moon", "a cup")
    tokenize = trained.tokenize
    found = likelihoods(trained, files, texts, "image", batch=2)
    nets, embed = look(trained.system, trained.states, jax.random.key(0)), trained.system.embed
    pixels = np.stack([np.asarray(Image.open(file))[1:9, 1:9] for file in files])
    x = np.asarray(embed.image(nets, {"image": to_float(jnp.asarray(pixels))}))
    y = np.asarray(embed.text(nets, {"text": jnp.stack([tokenize(text) for text in texts])}))
    cosines = np.array(
        [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in y] for a in x], np.float64
    )
    odds = np.exp(cosines / 0.07)  # its temperature has hardly moved
    np.testing.assert_allclose(found, odds / odds.sum(1, keepdims=True), rtol=2e-2)
    other = likelihoods(trained, files, texts, "text")
    np.testing.assert_allclose(other, (odds / odds.sum(0)).T, rtol=2e-2)


def test_the_table(run, files):
    lines = match(run, tuple(files), texts=("a cat", "two dogs"), top=5).splitlines()
    assert lines[::3] == [str(file) for file in files]
    shares = [[float(line.split("%")[0]) for line in lines[i + 1 : i + 3]] for i in (0, 3, 6)]
    assert all(a >= b and abs(a + b - 100) < 0.2 for a, b in shares)
    lines = match(run, (files[0].parent,), texts=("a cat",), by="text", top=2).splitlines()
    assert lines[0] == "a cat"
    assert len(lines) == 3
    assert lines[1].endswith(".png")


def test_by_default_the_texts_are_the_training_captions(run, files):
    (_, first, *_) = match(run, (files[0],), top=1).splitlines()
    captions = load_data(open_run(run).args).all_captions(99)
    assert first.split("%  ")[1] in captions


def test_mistakes(run, files, tmp_path):
    with pytest.raises(UserError, match="name an image file"):
        match(run, ())
    with pytest.raises(UserError, match="--top is at least 1"):
        match(run, tuple(files), top=0)
    with pytest.raises(UserError, match="there is no"):
        match(run, (tmp_path / "none.png",))
