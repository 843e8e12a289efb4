"""SqueezeNet 1.1 (Iandola et al., 2016), https://arxiv.org/abs/1602.07360.

1,235,496 parameters, 722,496 without conv10. Input as `jaxgen.nn.imagenet` prepares it, for the
family that the weights are of. The pools round their sizes up, as Caffe's and torchvision's do.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.nn.conv import Conv
from jaxgen.nn.pool import average_pool, max_pool

TAPS = ("conv1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")  # those of LPIPS
SMALLEST = 17  # pixels a side that leave the last pool two to choose from


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 beside each other; each with a ReLU."""

    squeeze: int
    expand: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w {2*self.expand}"]:
        x = nn.relu(Conv(self.squeeze, 1, name="squeeze1x1")(x))
        near = nn.relu(Conv(self.expand, 1, name="expand1x1")(x))
        far = nn.relu(Conv(self.expand, 3, name="expand3x3")(x))
        return jnp.concatenate([near, far], axis=-1)


class SqueezeNet(nn.Module):
    """Images [b, h, w, 3] of at least 17 pixels a side to a dict of features by layer.

    `TAPS` are maps after the ReLU, at sizes 111, 55, 27, 13, 13, 13, 13 for 224 pixels, with 64,
    128, 256, 384, 384, 512, 512 channels; `logits` [b, classes] is the average over the map of
    relu(conv10). For use only: the dropout before conv10 is left out. `fires`: squeeze and expand
    widths of fire2 to fire9. `average` pools by the mean, as Gatys et al. do with VGG; then sizes
    are rounded down.
    """

    classes: int = 1000
    stem: int = 64
    fires: tuple[tuple[int, int], ...] = (
        *((16, 64), (16, 64), (32, 128), (32, 128)),
        *((48, 192), (48, 192), (64, 256), (64, 256)),
    )
    average: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> dict[str, Array]:
        taps = {}
        x = taps["conv1"] = nn.relu(Conv(self.stem, 3, stride=2, padding=0, name="conv1")(x))
        for number, (squeeze, expand) in enumerate(self.fires, start=2):
            if number in (2, 4, 6):
                x = average_pool(x, 3, 2) if self.average else max_pool(x, 3, 2, ceil=True)
            x = Fire(squeeze, expand, name=f"fire{number}")(x)
            if f"fire{number}" in TAPS:
                taps[f"fire{number}"] = x
        logits = nn.relu(Conv(self.classes, 1, name="conv10")(x)).mean((1, 2))
        return {**taps, "logits": logits}
