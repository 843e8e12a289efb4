"""StyleGAN2's networks (Karras et al., 2020), configurations E and F: generator with skips,
residual discriminator.

https://arxiv.org/abs/1912.04958

Written after the authors' code. Their activations clipped at 256 belong to float16 and are left
out; labels are not read. Weights are at equalised learning rate, and the sqrt(2) that belongs to a
leaky ReLU is in the activation. `taps` are the filter's where the size changes.
"""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen import parallel
from jaxgen.errors import UserError
from jaxgen.models.size import Size, doublings
from jaxgen.nn import upfirdn
from jaxgen.nn.equalised import EqualConv, EqualDense, equal_weight
from jaxgen.nn.init import normal
from jaxgen.nn.minibatch import minibatch_stddev
from jaxgen.nn.modulated import modulated_conv
from jaxgen.nn.noise import Noise, add_noise
from jaxgen.nn.norm import PixelNorm

Taps = tuple[float, ...]
Scalar = float | Float[Array, ""]
LayerIndex = int | Int[Array, ""]


def widths(size: Size, base: int = 32768, most: int = 512) -> tuple[int, ...]:
    """Channels at 4, 8, ..., `size` pixels: `base` / pixels, at most `most`. The base of
    configuration F is 32768, that of E, and of the paper's 256 px, 16384. UserError for sizes that
    are not squares of 4, 8, 16, ... pixels."""
    levels = doublings(size, 4, "StyleGAN2") + 1
    return tuple(min(base // (4 << i), most) for i in range(levels))


def crossover(key: jax.Array, layers: int, probability: float = 0.9) -> Int[Array, ""]:
    """The layer from which on a second style is used: with `probability` one of 1, ..., layers - 1,
    else `layers`, which is nowhere. The whole batch shares it, as in the authors' code."""
    k1, k2 = jax.random.split(key)
    mixes = jax.random.bernoulli(k1, probability)
    return jnp.where(mixes, jax.random.randint(k2, (), 1, layers), layers)


class Mapping(nn.Module):
    """Latents z ~ N(0, I) to styles w; each style's running mean is kept in `averages`.

    gain: of the weights; what lacks to the sqrt(2) of a leaky ReLU is in the activation.
    """

    width: int = 512
    depth: int = 8
    lr_multiplier: float = 0.01
    momentum: float = 0.995
    gain: float = 1.0

    def setup(self):
        self.average = self.variable("averages", "w", jnp.zeros, (self.width,))
        self.norm = PixelNorm()
        dense = partial(EqualDense, self.width, self.gain, self.lr_multiplier)
        self.fc = [dense() for _ in range(self.depth)]

    def __call__(self, z: Float[Array, "b l"], *, train: bool = True) -> Float[Array, "b k"]:
        x = self.norm(z)
        for layer in self.fc:
            x = _leaky(layer(x)) / self.gain
        if train and self.is_mutable_collection("averages") and not self.is_initializing():
            batch = parallel.mean(x.astype(jnp.float32).mean(0))
            self.average.value = batch + self.momentum * (self.average.value - batch)
        return x

    def truncate(
        self, ws: Float[Array, "b n k"], psi: Scalar, layers: int | None = None
    ) -> Float[Array, "b n k"]:
        """The first `layers` styles (all by default) drawn towards their mean: psi 1 leaves them,
        psi 0 gives the mean."""
        mean = self.average.value.astype(ws.dtype)
        first = (jnp.arange(ws.shape[1]) < (ws.shape[1] if layers is None else layers))[:, None]
        return jnp.where(first, mean + jnp.asarray(psi, ws.dtype) * (ws - mean), ws)


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise of one learned strength, bias, leaky ReLU. `noise` is drawn
    anew in each call, or fixed (the collection `noise`), or off."""

    features: int
    up: bool = False
    taps: Taps = upfirdn.BINOMIAL
    noise_rate: float = 1.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], w: Float[Array, "b k"], noise: Noise
    ) -> Float[Array, "b h2 w2 d"]:
        style = EqualDense(x.shape[-1], bias=1.0, name="affine")(w)
        kernel = equal_weight(self, "kernel", (3, 3, x.shape[-1], self.features))
        x = modulated_conv(x, kernel, style, up=self.up, taps=self.taps)
        x = add_noise(self, x, noise, rate=self.noise_rate)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return _leaky(x + bias.astype(x.dtype))


class ToRGB(nn.Module):
    """Modulated 1x1 convolution, not demodulated, and a bias; linear and without noise."""

    channels: int = 3

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], w: Float[Array, "b k"]
    ) -> Float[Array, "b h w d"]:
        style = EqualDense(x.shape[-1], bias=1.0, name="affine")(w)
        kernel = equal_weight(self, "kernel", (1, 1, x.shape[-1], self.channels))
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        return modulated_conv(x, kernel, style, demodulate=False) + bias.astype(x.dtype)


class Synthesis(nn.Module):
    """Styles, one a layer, to images: each resolution adds to the image of the one before.

    A resolution's colours share their style with the next one's first convolution, so that there
    are 2 * len(widths) styles.
    """

    widths: tuple[int, ...]
    channels: int = 3
    taps: Taps = upfirdn.BINOMIAL
    noise_rate: float = 1.0

    @nn.compact
    def __call__(
        self, ws: Float[Array, "b n k"], noise: Noise = "random"
    ) -> Float[Array, "b h w c"]:
        const = self.param("const", normal(1.0), (4, 4, self.widths[0])).astype(ws.dtype)
        x = jnp.broadcast_to(const, (len(ws), *const.shape))
        layer = partial(StyledConv, taps=self.taps, noise_rate=self.noise_rate)
        image: Any = None
        for i, width in enumerate(self.widths):
            level = f"b{4 << i}"
            if i:
                x = layer(width, True, name=f"{level}_conv0")(x, ws[:, 2 * i - 1], noise)
            x = layer(width, name=f"{level}_conv1")(x, ws[:, 2 * i], noise)
            colours = ToRGB(self.channels, name=f"{level}_torgb")(x, ws[:, 2 * i + 1])
            image = colours if image is None else upfirdn.upsample(image, self.taps) + colours
        return image


class Generator(nn.Module):
    """Latents z [b, l] ~ N(0, I) to images, about in [-1, 1]: the last layer is linear.

    `styles` and `synthesise` are its halves (`nets.generator(z, method="styles")`): path lengths
    are measured between them. `noise` is drawn anew by default, or "fixed" or "off"; its strengths
    learn `noise_rate` times as fast as the other weights.
    """

    widths: tuple[int, ...]
    channels: int = 3
    style: int = 512
    depth: int = 8
    taps: Taps = upfirdn.BINOMIAL
    noise_rate: float = 1.0

    def setup(self):
        self.mapping = Mapping(self.style, self.depth)
        self.synthesis = Synthesis(self.widths, self.channels, self.taps, self.noise_rate)

    @property
    def layers(self) -> int:
        """Number of styles of an image: 2 log2(pixels) - 2."""
        return 2 * len(self.widths)

    def __call__(
        self,
        z: Float[Array, "b l"],
        other: Float[Array, "b l"] | None = None,
        at: LayerIndex = 0,
        *,
        psi: Scalar | None = None,
        truncated: int | None = None,
        noise: Noise = "random",
        train: bool = True,
    ) -> Float[Array, "b h w c"]:
        ws = self.styles(z, other, at, psi=psi, truncated=truncated, train=train)
        return self.synthesise(ws, noise=noise)

    def styles(
        self,
        z: Float[Array, "b l"],
        other: Float[Array, "b l"] | None = None,
        at: LayerIndex = 0,
        *,
        psi: Scalar | None = None,
        truncated: int | None = None,
        train: bool = True,
    ) -> Float[Array, "b n k"]:
        """A style a layer: z's, and from layer `at` on those of the latents `other` (style mixing);
        the first `truncated` (all by default) drawn to their mean by psi. The running mean is
        z's alone, and moves with `train`."""
        n = self.layers
        ws = _repeat(self.mapping(z, train=train), n)
        if other is not None:
            before = jnp.arange(n)[:, None] < at
            ws = jnp.where(before, ws, _repeat(self.mapping(other, train=False), n))
        return ws if psi is None else self.mapping.truncate(ws, psi, truncated)

    def synthesise(
        self, ws: Float[Array, "b n k"], *, noise: Noise = "random"
    ) -> Float[Array, "b h w c"]:
        return self.synthesis(ws, noise)


class Block(nn.Module):
    """Two convolutions, the second to half the size; `residual` adds a 1x1 convolution."""

    features: int
    residual: bool = True
    taps: Taps = upfirdn.BINOMIAL

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        y = _leaky(EqualConv(x.shape[-1], padding=1, name="conv0")(x))
        reach = len(self.taps)
        y = upfirdn.upfirdn(y, upfirdn.normalised(self.taps), pad=((reach + 1) // 2, reach // 2))
        y = _leaky(EqualConv(self.features, stride=2, padding=0, name="conv1")(y))
        if not self.residual:
            return y
        skip = EqualConv(self.features, 1, padding=0, use_bias=False, name="skip")
        return (y + skip(upfirdn.downsample(x, self.taps))) * math.sqrt(0.5)


class Discriminator(nn.Module):
    """Images to one score each [b]. `residual` False is the plain one of the CIFAR-10 recipe."""

    widths: tuple[int, ...]
    group: int = 4
    residual: bool = True
    taps: Taps = upfirdn.BINOMIAL

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = True) -> Float[Array, "b"]:
        side = 2 << len(self.widths)
        if x.shape[1:3] != (side, side):
            raise UserError(
                f"these networks make images of {side} x {side} pixels, not "
                f"{x.shape[1]} x {x.shape[2]}"
            )
        x = _leaky(EqualConv(self.widths[-1], 1, padding=0, name="fromrgb")(x))
        for i in reversed(range(1, len(self.widths))):
            x = Block(self.widths[i - 1], self.residual, self.taps, name=f"b{4 << i}")(x)
        x = minibatch_stddev(x, self.group)
        x = _leaky(EqualConv(self.widths[0], padding=1, name="conv")(x))
        x = _leaky(EqualConv(self.widths[0], 4, padding=0, name="fc")(x))  # the whole map
        return EqualDense(1, name="out")(x[:, 0, 0])[:, 0]


def _leaky(x):
    return nn.leaky_relu(x, 0.2) * math.sqrt(2)


def _repeat(w, n):
    return jnp.broadcast_to(w[:, None], (len(w), n, w.shape[-1]))
