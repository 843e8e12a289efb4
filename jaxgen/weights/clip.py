"""CLIP's published transformers: ViT-B/32, ViT-B/16 and ViT-L/14, or any network of their layout.

The authors' files are TorchScript; a state dict with the same names will do. The sizes are read off
the tensors' shapes. The vocabulary is another file, bpe_simple_vocab_16e6.txt.gz of the authors'
code: `data.tokens.read`. Images are resized bicubically and prepared by `models.clip.prepare`.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.errors import UserError
from jaxgen.models.clip import ImageTower, Size, TextTower, towers
from jaxgen.weights.published import Published, locate, read_state_dict

OPENAI = "https://openaipublic.azureedge.net/clip/models/"


def _published(name: str, sha256: str, megabytes: int) -> Published:
    return Published(f"{name}.pt", f"{OPENAI}{sha256}/{name}.pt", sha256, megabytes)


FILES = {
    "ViT-B/32": _published(
        "ViT-B-32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", 338
    ),
    "ViT-B/16": _published(
        "ViT-B-16", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", 335
    ),
    "ViT-L/14": _published(
        "ViT-L-14", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836", 890
    ),
}
BLOCK = {
    "norm1": "ln_1",
    "norm2": "ln_2",
    "hidden": "mlp.c_fc",
    "out": "mlp.c_proj",
    "attention/qkv": "attn.in_proj_",
    "attention/out": "attn.out_proj",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """Both towers with their variables; `scale` is the factor of the cosines, `sha256` the file's.

    `size` says how many pixels and tokens they take.
    """

    image: ImageTower
    image_variables: dict[str, Any]
    text: TextTower
    text_variables: dict[str, Any]
    scale: float
    size: Size
    sha256: str


def load(name: str = "ViT-B/32", weights: Path | None = None) -> Clip:
    """The published network of this name, downloaded unless `weights` names its file; or the one
    in the file, of whatever size it is. Raises UserError."""
    if name not in FILES:
        raise UserError(f'there is no CLIP "{name}"; there are {", ".join(FILES)}')
    path, sha256 = locate(f"CLIP {name}", [FILES[name]], weights)
    state = read_state_dict(path)
    problem = f"{path} is no CLIP of transformers"
    size = _size(state, problem)
    image, text = towers(size)
    images = jax.ShapeDtypeStruct((1, size.pixels, size.pixels, 3), jnp.float32)
    tokens = jax.ShapeDtypeStruct((1, size.context), jnp.int32)
    return Clip(
        image,
        _variables(image, images, _image_key, state, problem),
        text,
        _variables(text, tokens, _text_key, state, problem),
        float(np.exp(np.float32(state["logit_scale"]))),
        size,
        sha256,
    )


def _size(state: Mapping[str, np.ndarray], problem: str) -> Size:
    layers = lambda start: len(
        {m[1] for key in state if (m := re.match(rf"{start}transformer\.resblocks\.(\d+)\.", key))}
    )
    try:
        width, _, patch, _ = state["visual.conv1.weight"].shape
        places, _ = state["visual.positional_embedding"].shape
        vocabulary, text_width = state["token_embedding.weight"].shape
        context, _ = state["positional_embedding"].shape
        _, embedding = state["text_projection"].shape
        state["logit_scale"]
    except KeyError as error:
        raise UserError(f"{problem}: it has no {error.args[0]}") from None
    except ValueError:
        raise UserError(f"{problem}: its tensors have other shapes") from None
    return Size(
        pixels=round((places - 1) ** 0.5) * patch,
        patch=patch,
        width=width,
        layers=layers(r"visual\."),
        text_width=text_width,
        text_layers=layers(""),
        embedding=embedding,
        vocabulary=vocabulary,
        context=context,
    )


def _variables(module, example, key: Callable, state, problem) -> dict[str, Any]:
    """Every weight of the module from the tensor `key(path)`; each must be there and fit."""

    def find(path, leaf):
        names = [part.key for part in path][1:]
        name, whole = key(names), "/".join(names)
        if name not in state:
            raise UserError(f"{problem}: it has no {name}")
        array = np.asarray(state[name], np.float32)
        if names[0] == "patches":
            array = array.transpose(2, 3, 1, 0)
        elif names[-1] == "kernel" and names[0] != "projection":
            array = array.T
        if array.shape != leaf.shape:
            raise UserError(f"{problem}: {whole} is {array.shape}, not {leaf.shape}")
        return jnp.asarray(array)

    shapes = jax.eval_shape(module.init, jax.random.key(0), example)
    return jax.tree_util.tree_map_with_path(find, shapes)


def _kind(name: str) -> str:
    return "bias" if name == "bias" else "weight"


def _block_key(names) -> str:
    number, *layer, kind = names
    layer = BLOCK["/".join(layer)]
    dot = "" if layer.endswith("_") else "."
    return f"transformer.resblocks.{number.removeprefix('block')}.{layer}{dot}{_kind(kind)}"


def _image_key(names) -> str:
    known = {
        "class": "class_embedding",
        "positions": "positional_embedding",
        "patches": "conv1.weight",
        "projection": "proj",
    }
    norms = {"norm_in": "ln_pre", "norm_out": "ln_post"}
    first = names[0]
    if first in norms:
        return f"visual.{norms[first]}.{_kind(names[-1])}"
    return f"visual.{known[first]}" if first in known else f"visual.{_block_key(names)}"


def _text_key(names) -> str:
    known = {
        "tokens": "token_embedding.weight",
        "positions": "positional_embedding",
        "projection": "text_projection",
    }
    if names[0] == "norm_out":
        return f"ln_final.{_kind(names[-1])}"
    return known.get(names[0]) or _block_key(names)
