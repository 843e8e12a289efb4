"""VGG-16's and VGG-19's weights: the authors' (Caffe) or torchvision's.

Layouts: torchvision's; that of jcjohnson/pytorch-vgg, the authors' weights for torch; that of the
TorchScript file of StyleGAN2-ADA (VGG-16, torchvision's weights). A module may leave out the top or
have another; `size` is that of the images for which its dense layers are.
"""

from collections.abc import Sequence
from pathlib import Path

from jaxgen.models.vgg import Vgg, vgg16, vgg19
from jaxgen.nn import imagenet
from jaxgen.weights.assemble import Pretrained, assemble, from_torch
from jaxgen.weights.published import Published, locate, read_state_dict

TORCH = "https://download.pytorch.org/models/"
CAFFE = "https://web.eecs.umich.edu/~justincj/models/"
NVLABS = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
VGG16 = [
    Published(
        "vgg16-397923af.pth",
        TORCH + "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        528,
    ),
    Published(
        "vgg16.pt",
        NVLABS + "vgg16.pt",
        "b437eb095feaeb0b83eb3fa11200ebca4548ee39a07fb944a417ddc516cc07c3",
        528,
    ),
]
VGG19 = [Published("vgg19-dcbb9e9d.pth", TORCH + "vgg19-dcbb9e9d.pth", "dcbb9e9d", 548)]
CAFFE16 = [Published("vgg16-00b39a1b.pth", CAFFE + "vgg16-00b39a1b.pth", "00b39a1b", 528)]
CAFFE19 = [Published("vgg19-d01eb7cb.pth", CAFFE + "vgg19-d01eb7cb.pth", "d01eb7cb", 548)]


def torchvision16(
    weights: Path | None = None, module: Vgg | None = None, size: int = 224
) -> Pretrained:
    """torchvision's VGG-16; the file is downloaded unless `weights` names it. UserError."""
    return _load(
        "torchvision's VGG-16", VGG16, weights, module or vgg16(), imagenet.torchvision, size
    )


def torchvision19(
    weights: Path | None = None, module: Vgg | None = None, size: int = 224
) -> Pretrained:
    """torchvision's VGG-19; the file is downloaded unless `weights` names it. UserError."""
    return _load(
        "torchvision's VGG-19", VGG19, weights, module or vgg19(), imagenet.torchvision, size
    )


def caffe16(weights: Path | None = None, module: Vgg | None = None, size: int = 224) -> Pretrained:
    """The authors' VGG-16; the file is downloaded unless `weights` names it. UserError."""
    return _load("the authors' VGG-16", CAFFE16, weights, module or vgg16(), imagenet.caffe, size)


def caffe19(weights: Path | None = None, module: Vgg | None = None, size: int = 224) -> Pretrained:
    """The authors' VGG-19; the file is downloaded unless `weights` names it. UserError."""
    return _load("the authors' VGG-19", CAFFE19, weights, module or vgg19(), imagenet.caffe, size)


def _load(purpose, files: Sequence[Published], weights, module: Vgg, prepare, size) -> Pretrained:
    path, sha256 = locate(purpose, files, weights)
    state = read_state_dict(path)
    key = _script(module) if "layers.conv1.weight" in state else _torch(module, state)
    variables = assemble(module, size, f"{path} is not {purpose}", from_torch(state, key))
    return Pretrained(module, variables, prepare, sha256)


def _kind(name):
    return "weight" if name == "kernel" else name


def _torch(module, state):
    # `features` counts convolutions, ReLUs and pools; jcjohnson's classifier has its dropouts
    # before the dense layers, torchvision's after them
    first = 0 if "classifier.0.weight" in state else 1
    layers = {"fc6": f"classifier.{first}", "fc7": f"classifier.{first + 3}", "fc8": "classifier.6"}
    index = 0
    for i, depth in enumerate(module.depths, start=1):
        for j in range(1, depth + 1):
            layers[f"conv{i}_{j}"] = f"features.{index}"
            index += 2
        index += 1
    return lambda names: f"{layers[names[1]]}.{_kind(names[2])}"


def _script(module):
    layers = {"fc6": "fc1", "fc7": "fc2", "fc8": "fc3"}
    convolutions = [(i, j) for i, n in enumerate(module.depths, 1) for j in range(1, n + 1)]
    layers |= {f"conv{i}_{j}": f"conv{k}" for k, (i, j) in enumerate(convolutions, start=1)}
    return lambda names: f"layers.{layers[names[1]]}.{_kind(names[2])}"
