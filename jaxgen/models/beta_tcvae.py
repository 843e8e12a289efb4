"""The convolutional networks of beta-TCVAE (Chen et al., 2018), https://arxiv.org/abs/1802.04942.

Its authors' code has them for faces of 64 pixels; here the sides are any multiples of 16.  The
perceptrons that it has for dSprites are those of `models.vae`, with two layers of 1200 ReLU units
and three of 1200 tanh units.  Images are in [0, 1].
"""

from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from jaxgen.errors import UserError
from jaxgen.nn.conv import Conv, ConvTranspose
from jaxgen.nn.norm import BatchNorm

Images = Float[Array, "b h w c"]
Latents = Float[Array, "b k"]

_down = partial(Conv, kernel=4, stride=2, padding=1)
_up = ConvTranspose  # 4x4, doubles


def _small(height: int, width: int) -> tuple[int, int]:
    """The sides of the smallest level."""
    if height % 16 or width % 16 or not height * width:
        near = " x ".join(str(max(16, round(side / 16) * 16)) for side in (height, width))
        raise UserError(
            f"the convolutional networks halve images four times, which {height} x {width} do not "
            f"allow; use {near}"
        )
    return height // 16, width // 16


class ConvEncoder(nn.Module):
    """Images to the mean and the log variance of q(z | x), both [b, latent]."""

    latent: int = 10

    @nn.compact
    def __call__(self, x: Images, *, train: bool = True) -> tuple[Latents, Latents]:
        whole = partial(Conv, kernel=_small(*x.shape[1:3]), padding=0)
        for layer in (_down(32), _down(32), _down(64), _down(64), whole(512)):
            x = nn.relu(BatchNorm()(layer(x), train=train))
        h = x.reshape(len(x), -1)
        return nn.Dense(self.latent, name="mean")(h), nn.Dense(self.latent, name="log_variance")(h)


class ConvDecoder(nn.Module):
    """Latents to the logits of p(x = 1 | z), [b, *shape]."""

    shape: tuple[int, int, int] = (64, 64, 1)

    @nn.compact
    def __call__(self, z: Latents, *, train: bool = True) -> Images:
        x = z[:, None, None, :]
        point = Conv(512, kernel=1, padding=0)
        whole = ConvTranspose(64, kernel=_small(*self.shape[:2]), stride=1, padding=0)
        for layer in (point, whole, _up(64), _up(32), _up(32)):
            x = nn.relu(BatchNorm()(layer(x), train=train))
        return _up(self.shape[2])(x)
