"""VGG-16 and VGG-19 (Simonyan & Zisserman, 2015), https://arxiv.org/abs/1409.1556.

138,357,544 and 143,667,240 parameters, 14,714,688 and 20,024,384 of them in the convolutions.
Two families of weights are about: the authors' (Caffe; input `jaxgen.nn.imagenet.caffe`), for which
the weights of papers' losses are meant, and torchvision's (`imagenet.torchvision`), whose
activations are about ten times smaller.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxgen.nn.conv import Conv
from jaxgen.nn.pool import average_pool, max_pool

LPIPS_TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")  # of VGG-16


class Vgg(nn.Module):
    """Images [b, h, w, 3] of at least 32 pixels a side to a dict of features by name.

    `relu1_1` ... `relu5_3` (VGG-19: `relu5_4`) are maps after the ReLU; with `top` there are also
    `fc6` and `fc7` [b, 4096], after the ReLU, and `logits` [b, classes]; the weights of `fc6` fix
    the size of the images, 224 for those that are published. `average` pools by the mean, as Gatys
    et al. do. For use only: no dropout.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    top: bool = False
    hidden: int = 4096
    classes: int = 1000
    average: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> dict[str, Array]:
        pool = average_pool if self.average else max_pool
        taps = {}
        for i, (depth, width) in enumerate(zip(self.depths, self.widths, strict=True), start=1):
            for j in range(1, depth + 1):
                x = nn.relu(Conv(width, 3, padding=1, name=f"conv{i}_{j}")(x))
                taps[f"relu{i}_{j}"] = x
            if i < len(self.depths) or self.top:
                x = pool(x, 2, 2)
        if self.top:
            # Dense layers, written as the convolutions over a whole map that they are.
            side = x.shape[1]
            x = taps["fc6"] = nn.relu(Conv(self.hidden, side, padding=0, name="fc6")(x)[:, 0, 0])
            x = taps["fc7"] = nn.relu(nn.Dense(self.hidden, name="fc7")(x))
            taps["logits"] = nn.Dense(self.classes, name="fc8")(x)
        return taps


def vgg16(**settings) -> Vgg:
    """Thirteen convolutions (configuration D)."""
    return Vgg((2, 2, 3, 3, 3), **settings)


def vgg19(**settings) -> Vgg:
    """Sixteen convolutions (configuration E)."""
    return Vgg((2, 2, 4, 4, 4), **settings)
