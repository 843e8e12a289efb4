"""The weights of the Inception-v3 of 2015-12-05, from any of its three ports to torch.

pytorch-fid's and torch-fidelity's files hold the same bytes under two names; StyleGAN2-ADA's
TorchScript file has the names of the TensorFlow graph and no gains (they are one).
"""

from pathlib import Path

from jaxgen.models.inception import Inception, prepare
from jaxgen.weights.assemble import Pretrained, assemble, from_torch
from jaxgen.weights.published import Published, locate, read_state_dict

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
FILES = [
    Published(
        "pt_inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        SHA256,
        91,
    ),
    Published(
        "weights-inception-2015-12-05-6726825d.pth",
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
        SHA256,
        91,
    ),
    Published(
        "inception-2015-12-05.pt",
        "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
        "inception-2015-12-05.pt",
        "",  # its publisher gives none
        91,
    ),
]

GRAPH = {  # names in the TensorFlow graph
    "Conv2d_1a_3x3": "conv",
    "Conv2d_2a_3x3": "conv_1",
    "Conv2d_2b_3x3": "conv_2",
    "Conv2d_3b_1x1": "conv_3",
    "Conv2d_4a_3x3": "conv_4",
    "Mixed_5b": "mixed",
    "Mixed_5c": "mixed_1",
    "Mixed_5d": "mixed_2",
    "Mixed_6a": "mixed_3",
    "Mixed_6b": "mixed_4",
    "Mixed_6c": "mixed_5",
    "Mixed_6d": "mixed_6",
    "Mixed_6e": "mixed_7",
    "Mixed_7a": "mixed_8",
    "Mixed_7b": "mixed_9",
    "Mixed_7c": "mixed_10",
}
CHAINS = {"A": ("5x5", "3x3dbl"), "C": ("7x7", "7x7dbl"), "B": ("3x3dbl",), "D": ("3x3", "7x7x3")}
BLOCKS = dict(zip([n for n in GRAPH if n.startswith("Mixed")], "AAABCCCCDEE", strict=True))
BLOCK_E = {
    "branch3x3_1": "tower_conv",
    "branch3x3_2a": "tower_mixed_conv",
    "branch3x3_2b": "tower_mixed_conv_1",
    "branch3x3dbl_1": "tower_1_conv",
    "branch3x3dbl_2": "tower_1_conv_1",
    "branch3x3dbl_3a": "tower_1_mixed_conv",
    "branch3x3dbl_3b": "tower_1_mixed_conv_1",
    "branch_pool": "tower_2_conv",
}


def fid2015(weights: Path | None = None, module: Inception | None = None) -> Pretrained:
    """The reference FID's network; the file is downloaded unless `weights` names it.
    Raises UserError without it, and for torchvision's `inception_v3`, which is another."""
    module = module or Inception()
    path, sha256 = locate("the Inception network of FID", FILES, weights)
    state = read_state_dict(path)
    key = _script_key if "layers.conv.weight" in state else _torch_key
    source = f"{path} is not the Inception network of 2015-12-05"
    # the smallest images that reach the last block, and quick to trace
    variables = assemble(module, 75, source, from_torch(state, key))
    return Pretrained(module, variables, prepare, sha256)


def _torch_key(names):
    _, *layers, kind = names
    if not layers:
        return "fc.weight" if kind == "kernel" else "fc.bias"
    if kind == "kernel":
        return ".".join([*layers, "conv.weight"])
    kind = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}[kind]
    return ".".join([*layers[:-1], "bn", kind])


def _script_key(names):
    _, *layers, kind = names
    if not layers:
        return "output.weight" if kind == "kernel" else "output.bias"
    if kind == "scale":
        return None
    layers = layers[:-1] if layers[-1] == "norm" else layers
    own = {"kernel": "weight", "bias": "beta"}.get(kind) or kind
    return ".".join(["layers", GRAPH[layers[0]], *_graph_layer(*layers), own])


def _graph_layer(block: str, layer: str = "") -> list[str]:
    """A block's layer in the graph: its towers are numbered, and the layers within each."""
    if not layer:
        return []
    kind = BLOCKS[block]
    if layer == "branch1x1" or (kind == "B" and layer == "branch3x3"):
        return ["conv"]
    if kind == "E":
        return [BLOCK_E[layer]]
    if layer == "branch_pool":
        return ["tower_2", "conv"]
    chain, number = layer.removeprefix("branch").rsplit("_", 1)
    tower = ("tower", "tower_1")[CHAINS[kind].index(chain)]
    return [tower, "conv" if number == "1" else f"conv_{int(number) - 1}"]
