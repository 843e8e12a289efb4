"""Published CLIP weights: the layout, and what open_clip 3.3.0 computes with random ones."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.errors import UserError
from jaxgen.weights import clip
from tests.weights.recipe import images, weights
from tests.weights.test_readers import write_safetensors

SAMPLES = Path(__file__).parent / "samples"


def state():
    made = weights(json.loads((SAMPLES / "clip.json").read_text()), 3)
    return {**made, "logit_scale": np.float32(2.5)}


def test_both_towers_like_open_clip(tmp_path):
    found = clip.load(weights=write_safetensors(tmp_path / "w.safetensors", state()))
    size = found.size
    assert (size.pixels, size.patch, size.width, size.layers) == (24, 8, 128, 2)
    assert (size.vocabulary, size.context, size.text_width, size.text_layers) == (50, 12, 64, 2)
    np.testing.assert_allclose(found.scale, np.exp(2.5), rtol=1e-6)
    wanted = np.load(SAMPLES / "clip.npz")
    with jax.default_matmul_precision("highest"):
        image = jax.jit(found.image.apply)(found.image_variables, jnp.asarray(images(24, 2)))
        text = jax.jit(found.text.apply)(found.text_variables, jnp.asarray(wanted["tokens"]))
    np.testing.assert_allclose(image, wanted["image"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(text, wanted["text"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"visual.conv1.weight": None}, "is no CLIP of transformers: it has no visual.conv1"),
        ({"ln_final.weight": None}, "it has no ln_final.weight"),
        ({"ln_final.weight": np.ones(7, np.float32)}, r"norm_out/scale is \(7,\), not \(64,\)"),
        ({"positional_embedding": np.ones(7, np.float32)}, "its tensors have other shapes"),
    ],
)
def test_another_layout_is_refused(change, line, tmp_path):
    changed = {k: x for k, x in {**state(), **change}.items() if x is not None}
    with pytest.raises(UserError, match=line):
        clip.load(weights=write_safetensors(tmp_path / "w.safetensors", changed))


def test_another_name_is_refused():
    with pytest.raises(UserError, match='there is no CLIP "RN50"; there are ViT-B/32'):
        clip.load("RN50")
