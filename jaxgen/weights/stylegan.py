"""StyleGAN's weights in the layout of NVIDIA's code for TensorFlow.

Their published files, such as karras2019stylegan-ffhq-1024x1024.pkl, are pickles that run NVIDIA's
code when they are opened by Python. Here only the arrays are read, and nothing runs. A .safetensors
or .pth file of the variables by name is read as well: `G_mapping/Dense0/weight`,
`G_synthesis/4x4/Const/const` and so on, those of a discriminator bare or with the prefix `D/`.
Sizes and widths are read off the arrays. Networks with labels are not read.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.errors import UserError
from jaxgen.models.stylegan import TAPS, Discriminator, Generator
from jaxgen.weights.assemble import Pretrained, fill
from jaxgen.weights.pickles import read_arrays
from jaxgen.weights.published import digest, read_state_dict

NETWORK, DICT = "dnnlib.tflib.network.Network", "dnnlib.util.EasyDict"
# Arguments of the authors' functions that would make other networks.
EXPECTED = {
    "use_styles": True,
    "use_noise": True,
    "use_instance_norm": True,
    "use_pixel_norm": False,
    "use_wscale": True,
    "normalize_latents": True,
    "nonlinearity": "lrelu",
    "mapping_nonlinearity": "lrelu",
    "mapping_lrmul": 0.01,
}
KINDS = {
    "kernel": "weight",
    "bias": "bias",
    "noise_strength": "Noise/weight",
    "affine/kernel": "StyleMod/weight",
    "affine/bias": "StyleMod/bias",
}


def generator(path: Path) -> Pretrained:
    """The generator of a published file, the averaged one, with its mean style and its fixed noise;
    where a file of names has no mean style it is 0. UserError."""
    state, about = _network(path, 2)
    source = f"{path} is not a generator of StyleGAN"
    if any("LabelConcat" in name for name in state):
        raise UserError(f"{path} holds a network with labels; only those without are read")
    _expect(about, source)
    names = [f"G_synthesis/{s}" for s in ("4x4/Conv/weight", "ToRGB_lod0/weight")]
    first, colours, dense = _need(state, source, *names, "G_mapping/Dense0/weight")
    levels = _levels(state, source, r"G_synthesis/(\d+)x\1/Conv1/weight")
    above = [state[f"G_synthesis/{side}x{side}/Conv1/weight"].shape[-1] for side in levels[1:]]
    module = Generator(
        widths=(first.shape[-1], *above),
        channels=colours.shape[-1],
        style=dense.shape[1],
        depth=sum(re.fullmatch(r"G_mapping/Dense\d+/weight", name) is not None for name in state),
        taps=tuple(map(float, about.get("blur_filter") or TAPS)),
    )
    # Fused with an enlargement, a kernel is that of the transposed convolution: turned.
    fused = about.get("fused_scale", "auto")
    turned = [side for side in levels if fused is True or (fused == "auto" and side >= 128)]

    def find(names, shape):
        collection, part, *rest = names
        if collection == "averages":
            return state.get("dlatent_avg", np.zeros(shape))
        if part == "mapping":
            return state[f"G_mapping/{rest[0].replace('fc_', 'Dense')}/{KINDS[rest[1]]}"]
        if rest == ["const"]:
            return state["G_synthesis/4x4/Const/const"][0].transpose(1, 2, 0)
        level, layer = re.fullmatch(r"b(\d+)_(\w+)", rest[0]).groups()
        side = int(level)
        place = 2 * levels.index(side) + (layer == "conv1")
        if collection == "noise":
            return state[f"G_synthesis/noise{place}"][0, 0]
        kind = KINDS["/".join(name for name in rest[1:] if name != "styled")]
        if layer == "torgb":
            return state[f"G_synthesis/ToRGB_lod{len(levels) - 1 - levels.index(side)}/{kind}"]
        theirs = {"const": "Const", "conv0": "Conv0_up", "conv1": "Conv1" if place > 1 else "Conv"}
        array = state[f"G_synthesis/{side}x{side}/{theirs[layer]}/{kind}"]
        return (
            array[::-1, ::-1] if layer == "conv0" and kind == "weight" and side in turned else array
        )

    latent = dense.shape[0]
    variables = fill(module, (1, latent), source, find)
    return Pretrained(module, variables, lambda z: z, digest(path), (latent,))


def discriminator(path: Path, group: int = 4) -> Pretrained:
    """The discriminator of a published file; `group` images share a minibatch standard deviation,
    of which a file does not tell. UserError."""
    state, about = _network(path, 1)
    state = {k.removeprefix("D/"): x for k, x in state.items() if not k.startswith("G_")}
    source = f"{path} is not a discriminator of StyleGAN"
    _expect(about, source)
    colours, last = _need(state, source, "FromRGB_lod0/weight", "4x4/Dense1/weight")
    if last.shape[1] != 1:
        raise UserError(f"{path} holds a network with labels; only those without are read")
    levels = _levels(state, source, r"(\d+)x\1/Conv0/weight")
    channels, wide, size = *colours.shape[2:], levels[-1]
    width = max(x.shape[-1] for x in state.values() if x.ndim == 4)
    taps = tuple(map(float, about.get("blur_filter") or TAPS))
    # A level that has fewer channels than the widest one tells how they fall.
    module = Discriminator(wide * size // 2, width, group, taps)

    def find(names, shape):
        layer, kind = names[1], KINDS[names[2]]
        if layer.startswith("from_rgb_"):
            side = int(layer.removeprefix("from_rgb_"))
            return state[f"FromRGB_lod{len(levels) - 1 - levels.index(side)}/{kind}"]
        if layer == "dense_4" and kind == "weight":  # of maps that lie channel by channel
            weight = state["4x4/Dense0/weight"]
            place = np.arange(len(weight) // 16 * 16).reshape(-1, 16)
            return weight[place.T.ravel()]
        fixed = {"conv_4": "4x4/Conv", "dense_4": "4x4/Dense0", "score": "4x4/Dense1"}
        if layer in fixed:
            return state[f"{fixed[layer]}/{kind}"]
        side, place = re.fullmatch(r"conv_(\d+)_(\d)", layer).groups()
        return state[f"{side}x{side}/{('Conv0', 'Conv1_down')[int(place)]}/{kind}"]

    image = (size, size, channels)
    variables = fill(module, (1, *image), source, find)
    return Pretrained(module, variables, lambda x: x, digest(path), image)


def _network(path: Path, which: int) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
    """Variables by name and arguments of one of the three networks (G, D, averaged G) of a
    published file, or all variables of a file of names."""
    if path.suffix != ".pkl":
        return read_state_dict(path), {}
    three = read_arrays(path, records=(NETWORK,), dicts=(DICT,))
    if not (isinstance(three, list) and len(three) == 3 and all(map(_is_network, three))):
        raise UserError(f"{path} does not hold the three networks of StyleGAN's published files")
    network = three[which]
    state, about = dict(network["variables"]), dict(network["static_kwargs"])
    for name, part in network.get("components", {}).items():
        state |= {f"G_{name}/{k}": x for k, x in part["variables"]}
        about |= part["static_kwargs"]
    return {name: np.asarray(x) for name, x in state.items()}, about


def _is_network(x):
    return isinstance(x, dict) and {"variables", "static_kwargs"} <= x.keys()


def _expect(about, source):
    for name, value in EXPECTED.items():
        if about.get(name, value) != value:
            raise UserError(f"{source}, or of another configuration: its {name} is {about[name]}")


def _need(state, source, *names):
    for name in names:
        if name not in state:
            raise UserError(f"{source}: it has no {name}")
    return [state[name] for name in names]


def _levels(state, source, pattern) -> list[int]:
    """4, 8, ... pixels, up to the largest that the names tell of."""
    found = [int(match[1]) for name in state if (match := re.fullmatch(pattern, name))]
    levels = [4 << i for i in range(max(found, default=4).bit_length() - 2)]
    if len(levels) < 2 or {*found} != {*levels[1:]}:
        raise UserError(f"{source}: its resolutions are {sorted(found)}, not 8, 16, 32, ...")
    return levels
