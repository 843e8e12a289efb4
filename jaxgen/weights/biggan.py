"""BigGAN's weights in the layouts of its codes for PyTorch.

BigGAN-PyTorch, of the paper's first author, saves `G_ema.pth`, `G.pth` and `D.pth`, of BigGAN or of
BigGAN-deep.  pytorch-pretrained-BigGAN has the generators of BigGAN-deep that were published on
TF-Hub, in files such as `biggan-deep-128-pytorch_model.bin`; their tensors are given the former's
names and order first.  Sizes, widths and attention are read off the tensors.  Generators without a
shared embedding are not read.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.errors import UserError
from jaxgen.models.biggan import Discriminator, Generator
from jaxgen.weights.assemble import Pretrained, fill, from_torch
from jaxgen.weights.published import digest, read_state_dict

State = Mapping[str, np.ndarray]
# The words of a variable's name here, and in BigGAN-PyTorch.
WORDS = {
    **{"kernel": "weight", "scale": "gain", "u": "u0", "mean": "stored_mean", "var": "stored_var"},
    **{f"norm{i}": f"bn{i}" for i in range(1, 5)},
}
GENERATOR = {"embedding": "shared.weight", "first": "linear", "last": "output_layer.2"}
GENERATOR |= {"norm": "output_layer.0"}
DISCRIMINATOR = {"first": "input_conv", "score": "linear"}
BLOCK = {"first": "conv1", "second": "conv2", "shortcut": "conv_sc", "embedding": "weight"}
# The words of pytorch-pretrained-BigGAN, and of BigGAN-PyTorch.
HUB = {
    **{"weight_orig": "weight", "weight_u": "u0", "scale": "gain", "offset": "bias"},
    **{"running_means": "stored_mean", "running_vars": "stored_var", "gen_z": "linear"},
    **{"conv_to_rgb": "output_layer.2", "snconv1x1_o_conv": "o"},
    **{f"snconv1x1_{name}": name for name in ("theta", "phi", "g")},
    **{f"{kind}_{i}": f"{kind}{i + 1}" for kind in ("bn", "conv") for i in range(4)},
}


def generator(path: Path, truncation: float = 1.0) -> Pretrained:
    """The generator of a .pth, .bin or .safetensors file.  UserError.

    truncation: TF-Hub's generators keep statistics for latents of 51 truncations from 0 to 1; those
      of this one are taken, or what lies between those of its neighbours.
    """
    state, source = read_state_dict(path), f"{path} is not a generator of BigGAN"
    hub = "embeddings.weight" in state
    try:
        state = _as_author(state, truncation) if hub else state
        deep = "blocks.0.0.conv4.weight" in state
        first = len(state["blocks.0.0.bn1.stored_mean"])
        classes, embedding = state["shared.weight"].shape
        rows, seen = state["linear.weight"].shape
        last = len(state["output_layer.2.weight"])
        wide = state["blocks.0.0.bn1.gain.weight"].shape[1]
        final = "1.conv4" if deep else "0.conv2"
        widths = [len(state[f"blocks.{i}.{final}.weight"]) for i in range(_levels(state))]
    except KeyError as error:
        raise UserError(f"{source} with a shared embedding: it has no {error.args[0]}") from None
    side = round((rows / first) ** 0.5)
    module = Generator(
        size=side << len(widths),
        channels=3 if hub else last,
        widths=(first, *widths),
        classes=classes,
        attention=_attention(state, deep),
        embedding=embedding,
        hierarchical=wide > embedding,
        deep=deep,
        last=last,
        epsilon=1e-4 if hub else 1e-5,
    )

    def turned(names, array):
        """The dense layer's output is a map, of which torch has the channels first."""
        if names[1] != "first" or array.shape[-1] != rows:
            return array
        array = array.reshape(*array.shape[:-1], first, side, side)
        return np.moveaxis(array, -3, -1).reshape(*array.shape[:-3], rows)

    latent = seen - embedding if deep else seen * module.chunks
    places = ("_first", "", "_attention") if deep else ("", "_attention")
    variables = _variables(module, (1, latent), state, source, GENERATOR, places, turned)
    return Pretrained(module, variables, lambda z: z, digest(path), (latent,))


def discriminator(path: Path) -> Pretrained:
    """The discriminator of a .pth or .safetensors file, for images of any size.  UserError."""
    state, source = read_state_dict(path), f"{path} is not a discriminator of BigGAN"
    deep = "input_conv.weight" in state
    try:
        final = "1.conv4" if deep else "0.conv2"
        widths = [len(state[f"blocks.{i}.{final}.weight"]) for i in range(_levels(state))]
        stem = [len(state["input_conv.weight"])] if deep else []
        classes = len(state["embed.weight"])
        channels = state["input_conv.weight" if deep else "blocks.0.0.conv1.weight"].shape[1]
    except KeyError as error:
        raise UserError(f"{source}: it has no {error.args[0]}") from None
    shortcuts = sum(name.endswith("0.conv_sc.weight") for name in state)
    downs = min(shortcuts, len(widths) - 1)
    if deep:  # whose levels are all halved, but for those of 32 pixels
        downs = 2 if len(widths) == 3 else len(widths)
    module = Discriminator((*stem, *widths), downs, classes, _attention(state, deep), deep)
    shape = (1, 4 << downs, 4 << downs, channels)
    places = ("", "_second", "_attention") if deep else ("", "_attention")
    variables = _variables(module, shape, state, source, DISCRIMINATOR, places)
    return Pretrained(module, variables, lambda x: x, digest(path))


def _levels(state: State) -> int:
    found = [int(m[1]) for name in state if (m := re.match(r"blocks\.(\d+)\.", name))]
    return max(found, default=-1) + 1


def _attention(state: State, deep: bool) -> tuple[int, ...]:
    return tuple(i for i in range(_levels(state)) if f"blocks.{i}.{1 + deep}.gamma" in state)


def _variables(module, shape, state, source, tops, places, turned=lambda names, array: array):
    """places: what is added to a level's name for the parts of its block, in their order."""
    used = set()

    def name(names):
        words = _words(names, tops, places)
        used.add(".".join(words))
        return ".".join(words)

    read = from_torch(state, name)

    def find(names, shape):
        array = turned(names, read(names, shape))
        flat = names[-1] in ("u", "gamma") and array.size == np.prod(shape)  # [1, n] and [1] there
        return array.reshape(shape) if flat else array

    label = jax.ShapeDtypeStruct((1,), jnp.int32)
    inputs = jax.ShapeDtypeStruct(shape, jnp.float32), label
    variables = fill(module, inputs, source, find)
    for other in state:  # of another architecture, which would compute something else
        if other not in used and not re.search(r"(^|\.)(sv\d+|num_batches_tracked)$", other):
            raise UserError(f"{source}, or of another architecture: it has {other}")
    return variables


def _words(names, tops, places) -> list[str]:
    """The name in BigGAN-PyTorch of a variable here, such as params/level0/norm1/gain/kernel."""
    _, part, *rest = names
    rest = [name for name in rest if name != "spectral"]
    if match := re.fullmatch(r"level(\d+)(\w*)", part):
        where = ["blocks", match[1], str(places.index(match[2]))]
        rest = rest[:1] + [name for name in rest[1:] if name != "norm"]  # which has the statistics
    else:
        where = [tops.get(part, part)]
    return [*where, *(WORDS.get(BLOCK.get(name, name), BLOCK.get(name, name)) for name in rest)]


def _as_author(state: State, truncation: float) -> dict[str, np.ndarray]:
    """A generator of pytorch-pretrained-BigGAN in the names and the order of BigGAN-PyTorch."""
    state = {name.removeprefix("generator."): x for name, x in state.items()}
    table = state.pop("embeddings.weight")
    first = state["layers.0.bn_0.running_means"].shape[1]
    blocks, at = 0, {}
    for i in range(len({name.split(".")[1] for name in state if name.startswith("layers.")})):
        alone = f"layers.{i}.gamma" in state  # attention, a layer of its own
        level, place = (blocks // 2 - 1, 2) if alone else (blocks // 2, blocks % 2)
        at[str(i)] = f"blocks.{level}.{place}"
        blocks += not alone
    found = {"shared.weight": table.T}
    for name, x in state.items():
        part, *rest = name.split(".")
        words = [part, *rest]
        if part == "layers":
            words = [at[rest[0]], *rest[1:]]
        elif part == "bn":
            words = ["output_layer.0", "gain" if rest == ["weight"] else rest[0]]
        if words[-1].startswith("running"):
            x = _interpolated(x, truncation)
        elif words[0] == "gen_z" and words[-1] != "weight_v":
            x = np.moveaxis(x.reshape(-1, first, *x.shape[1:]), 1, 0).reshape(x.shape)
        if words[-1] == "weight_orig" and words[-2] in ("gen_z", "scale", "offset"):
            x = np.roll(x, len(table), axis=1)  # the embedding first, then the latents
        if words[-1] != "weight_v":
            found[".".join(HUB.get(word, word) for word in words)] = x
    return found


def _interpolated(kept: np.ndarray, truncation: float) -> np.ndarray:
    """Statistics [n, c] for n truncations from 0 to 1, at this one."""
    at = np.clip(truncation, 0, 1) * (len(kept) - 1)
    low, high = int(np.floor(at)), int(np.ceil(at))
    return kept[low] + (kept[high] - kept[low]) * np.float32(at - low)
