"""StyleGAN's networks (Karras et al., 2019), configuration F, https://arxiv.org/abs/1812.04948.

Written after the authors' code. A mapping turns latents into styles; the synthesis starts from a
learned constant, and a style and noise enter it after each convolution:

    convolution, noise, bias, leaky ReLU, AdaIN(x, y) = (1 + y_s) (x - mean(x)) / std(x) + y_b

with y = (y_s, y_b) an affine function of the layer's style. The networks are those of one
resolution, and grow as `models.progan` says: at `fade` 0 they are the smaller ones, enlarged. Where
the size changes images are blurred by the filter of `taps`. Weights are at equalised learning rate
with the gain sqrt(2) before a leaky ReLU; images are linear. Labels are not read.
"""

import math
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.models import progan, stylegan2
from jaxgen.models.progan import blend, features, sides
from jaxgen.models.size import Size
from jaxgen.models.stylegan2 import Mapping, Scalar, Taps
from jaxgen.nn import upfirdn
from jaxgen.nn.conv import conv
from jaxgen.nn.equalised import EqualConv, EqualDense, equal_weight
from jaxgen.nn.fused import conv_enlarged, conv_shrunk
from jaxgen.nn.noise import Noise, add_noise
from jaxgen.nn.norm import InstanceNorm
from jaxgen.nn.resample import enlarge

GAIN = math.sqrt(2)
TAPS = (1.0, 2.0, 1.0)
_leaky = partial(nn.leaky_relu, negative_slope=0.2)


def widths(size: Size, base: int = 8192, most: int = 512) -> tuple[int, ...]:
    """Channels at 4, 8, ..., `size` pixels: 2 `base` / pixels, at most `most`. UserError for sizes
    that are not squares of 4, 8, 16, ... pixels."""
    return tuple(features(side, base, most) for side in sides(size))


def blur(x: Float[Array, "b h w c"], taps: Taps = TAPS) -> Float[Array, "b h w c"]:
    """Images filtered along both axes, with zeros around them; the number of taps is odd."""
    reach = len(taps) // 2
    return upfirdn.upfirdn(x, upfirdn.normalised(taps), pad=(reach, reach))


class Styled(nn.Module):
    """What follows a convolution: noise, one strength a channel; bias; leaky ReLU; AdaIN."""

    noise_rate: float = 1.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], w: Float[Array, "b k"], noise: Noise
    ) -> Float[Array, "b h w c"]:
        channels = x.shape[-1]
        x = add_noise(self, x, noise, by_channel=True, rate=self.noise_rate)
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        x = InstanceNorm(epsilon=1e-8)(_leaky(x + bias.astype(x.dtype)))
        style = EqualDense(2 * channels, name="affine")(w)[:, None, None]
        return x * (1 + style[..., :channels]) + style[..., channels:]


class StyledConv(nn.Module):
    """A 3x3 convolution and what follows it; with `up` to twice the size, and blurred."""

    features: int
    up: bool = False
    taps: Taps = TAPS
    noise_rate: float = 1.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], w: Float[Array, "b k"], noise: Noise
    ) -> Float[Array, "b h2 w2 d"]:
        kernel = equal_weight(self, "kernel", (3, 3, x.shape[-1], self.features), GAIN)
        kernel = kernel.astype(x.dtype)
        x = blur(conv_enlarged(x, kernel), self.taps) if self.up else conv(x, kernel, padding=1)
        return Styled(self.noise_rate, name="styled")(x, w, noise)


class Synthesis(nn.Module):
    """Styles, two a level, to images."""

    widths: tuple[int, ...]
    channels: int = 3
    taps: Taps = TAPS
    noise_rate: float = 1.0

    @nn.compact
    def __call__(
        self,
        ws: Float[Array, "b n k"],
        noise: Noise | tuple[Noise, ...] = "random",
        fade: Scalar = 1.0,
    ) -> Float[Array, "b h w c"]:
        def colours(x, level):
            return EqualConv(self.channels, kernel=1, name=f"b{4 << level}_torgb")(x)

        noise = (noise,) * ws.shape[1] if isinstance(noise, str) else noise
        const = self.param("const", nn.initializers.ones, (4, 4, self.widths[0])).astype(ws.dtype)
        x = jnp.broadcast_to(const, (len(ws), *const.shape))
        layer = partial(StyledConv, taps=self.taps, noise_rate=self.noise_rate)
        x = Styled(self.noise_rate, name="b4_const")(x, ws[:, 0], noise[0])
        x = layer(self.widths[0], name="b4_conv1")(x, ws[:, 1], noise[1])
        last = len(self.widths) - 1
        old = None
        for i, width in list(enumerate(self.widths))[1:]:
            if i == last:
                old = enlarge(colours(x, i - 1))
            x = layer(width, True, name=f"b{4 << i}_conv0")(x, ws[:, 2 * i], noise[2 * i])
            x = layer(width, name=f"b{4 << i}_conv1")(x, ws[:, 2 * i + 1], noise[2 * i + 1])
        new = colours(x, last)
        return new if old is None else blend(old, new, fade)


class Generator(stylegan2.Generator):
    """Latents z [b, l] ~ N(0, I) to images, about in [-1, 1]: the last layer is linear.

    `styles` and `synthesise` are its halves (`nets.generator(z, method="styles")`). `noise` is
    drawn anew by default, or "fixed" or "off", in all layers or, a tuple, in each.
    """

    taps: Taps = TAPS

    def setup(self):
        self.mapping = Mapping(self.style, self.depth, gain=GAIN)
        self.synthesis = Synthesis(self.widths, self.channels, self.taps, self.noise_rate)

    def synthesise(
        self,
        ws: Float[Array, "b n k"],
        *,
        noise: Noise | tuple[Noise, ...] = "random",
        fade: Scalar = 1.0,
    ) -> Float[Array, "b h w c"]:
        return self.synthesis(ws, noise, fade)


class Discriminator(progan.Critic):
    """Progressive GAN's critic, which blurs images before it makes them smaller."""

    taps: Taps = TAPS

    def down(self, x, channels, name):
        return Shrinking(channels, self.taps, name=name)(x)


class Shrinking(nn.Module):
    """Blur, 3x3 convolution, mean over squares of pixels, bias, leaky ReLU."""

    features: int
    taps: Taps = TAPS

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        kernel = equal_weight(self, "kernel", (3, 3, x.shape[-1], self.features), GAIN)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x = conv_shrunk(blur(x, self.taps), kernel.astype(x.dtype))
        return _leaky(x + bias.astype(x.dtype))
