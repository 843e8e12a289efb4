"""Feature networks by name: what FID, KID, precision and the like compare images by."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, Float

from jaxgen.errors import UserError
from jaxgen.models.inception import SIZE
from jaxgen.models.vgg import vgg16
from jaxgen.nn import imagenet
from jaxgen.nn.resample import tf1_bilinear
from jaxgen.weights import inception, squeezenet, vgg

NAMES = ("squeezenet", "inception", "vgg16")
SIDE = 224  # pixels, of SqueezeNet's and VGG's images


@dataclasses.dataclass(frozen=True, eq=False)
class Extractor:
    """`apply(images)`: float32 [b, h, w, 1 | 3 | 4] in [-1, 1], of any size, to `features`
    [b, dims] and, where the network classifies, `logits` [b, classes]; jitted, in full float32.

    `resize` says in words how images are brought to the network's size, `sha256` is that of the
    weights. Images are taken as they are: round them to 256 levels first where a protocol does.
    `forward(variables, images)` is the same function for use within a larger program, to which the
    weights should be an argument and not a constant.
    """

    name: str
    dims: int
    sha256: str
    resize: str
    variables: Any
    forward: Callable[[Any, Array], dict[str, Array]]

    def apply(self, images: Float[Array, "b h w c"]) -> dict[str, Array]:
        return self.forward(self.variables, images)


def extractor(name: str, weights: Path | None = None) -> Extractor:
    """The feature network of that name, one of `NAMES`.

    squeezenet: Caffe's SqueezeNet 1.1, from the package ndf; fire9 averaged over the map, 512
        features and 1,000 logits. Scores by it are not FID: name the network with them.
    inception: the network of the reference FID; 2,048 features of pool3, and as logits those that
        the Inception score is defined by: 1,008, without the last layer's bias.
    vgg16: torchvision's; the 4,096 features of the second dense layer after its ReLU, by which
        precision and recall are defined, and 1,000 logits.

    `weights` names the file, where it is not in the cache and cannot be downloaded. UserError,
    with the fix, where a package or file is missing.
    """
    match name:
        case "squeezenet":
            trained = squeezenet.caffe(weights)
            dims, resize = 512, f"bilinear with antialiasing to {SIDE}"

            def features(variables, x):
                x = jax.image.resize(x, (len(x), SIDE, SIDE, 3), "linear")
                taps = trained.taps(variables, x)
                return {"features": taps["fire9"].mean((1, 2)), "logits": taps["logits"]}
        case "inception":
            trained = inception.fid2015(weights)
            dims, resize = 2048, f"TensorFlow 1 bilinear to {SIZE}"

            def features(variables, x):
                taps = trained.taps(variables, x)
                return {"features": taps["pool3"], "logits": taps["logits_unbiased"]}
        case "vgg16":
            trained = vgg.torchvision16(weights, vgg16(top=True))
            dims, resize = 4096, f"TensorFlow 1 bilinear to {SIDE}"

            def features(variables, x):
                x = tf1_bilinear(x, SIDE, SIDE)
                taps = trained.taps(variables, x)
                return {"features": taps["fc7"], "logits": taps["logits"]}
        case _:
            raise UserError(f'no feature network "{name}"; there are {", ".join(NAMES)}')

    @jax.jit
    def forward(variables, images):
        with jax.default_matmul_precision("highest"):
            return features(variables, imagenet.rgb(images))

    return Extractor(name, dims, trained.sha256, resize, trained.variables, forward)
