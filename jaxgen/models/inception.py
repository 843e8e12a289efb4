"""The Inception-v3 of 2015-12-05, by which IS, FID and KID are defined.

Szegedy et al., 2016, https://arxiv.org/abs/1512.00567; Heusel et al., 2017 (FID). It is not
torchvision's: 1,008 logits, no auxiliary head, average pools that leave the padding out, and in
the last block a max pool. 23,850,960 parameters, 21,785,568 without the last layer. Layers have
the names of slim and torchvision.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.nn.conv import conv
from jaxgen.nn.norm import BatchNorm
from jaxgen.nn.pool import average_pool, max_pool
from jaxgen.nn.resample import tf1_bilinear

SIZE = 299


def prepare(x: Float[Array, "b h w 3"]) -> Float[Array, "b 299 299 3"]:
    """RGB in [-1, 1] to what the reference feeds: 299 pixels by TensorFlow 1's bilinear filter,
    then (v - 128) / 128 of v in 0 .. 255, so [-1, .992]."""
    return (tf1_bilinear((x + 1) * 127.5, SIZE, SIZE) - 128) / 128


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation by stored statistics (epsilon 1e-3), ReLU."""

    features: int
    window: tuple[int, int]
    stride: int = 1
    padding: int | str = "SAME"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j d"]:
        shape = (*self.window, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        x = conv(x, kernel, self.stride, self.padding)
        return nn.relu(BatchNorm(epsilon=1e-3, name="norm")(x, train=False))


class Block(nn.Module):
    """One of the eleven mixed blocks; `share` divides all widths."""

    share: int

    def layer(self, x, name, features, window=(1, 1), stride=1):
        padding = "SAME" if stride == 1 else 0
        return ConvNorm(features // self.share, window, stride, padding, name=name)(x)

    def chain(self, x, name, *layers):
        """Layers `name`_1, `name`_2, ..., each (features, window, stride)."""
        for i, layer in enumerate(layers, start=1):
            x = self.layer(x, f"{name}_{i}", *layer)
        return x


def _mean(x):
    return average_pool(x, 3, 1, 1, count_padding=False)


class BlockA(Block):
    pooled: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        parts = [
            self.layer(x, "branch1x1", 64),
            self.chain(x, "branch5x5", (48,), (64, (5, 5))),
            self.chain(x, "branch3x3dbl", (64,), (96, (3, 3)), (96, (3, 3))),
            self.layer(_mean(x), "branch_pool", self.pooled),
        ]
        return jnp.concatenate(parts, axis=-1)


class BlockB(Block):
    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j d"]:
        parts = [
            self.layer(x, "branch3x3", 384, (3, 3), 2),
            self.chain(x, "branch3x3dbl", (64,), (96, (3, 3)), (96, (3, 3), 2)),
            max_pool(x, 3, 2),
        ]
        return jnp.concatenate(parts, axis=-1)


class BlockC(Block):
    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        n, row, column = self.width, (1, 7), (7, 1)
        double = ((n,), (n, column), (n, row), (n, column), (192, row))
        parts = [
            self.layer(x, "branch1x1", 192),
            self.chain(x, "branch7x7", (n,), (n, row), (192, column)),
            self.chain(x, "branch7x7dbl", *double),
            self.layer(_mean(x), "branch_pool", 192),
        ]
        return jnp.concatenate(parts, axis=-1)


class BlockD(Block):
    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j d"]:
        wide = ((192,), (192, (1, 7)), (192, (7, 1)), (192, (3, 3), 2))
        parts = [
            self.chain(x, "branch3x3", (192,), (320, (3, 3), 2)),
            self.chain(x, "branch7x7x3", *wide),
            max_pool(x, 3, 2),
        ]
        return jnp.concatenate(parts, axis=-1)


class BlockE(Block):
    """`largest`: the pool is a max pool, as in the last block of the 2015 network alone."""

    largest: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        pooled = max_pool(x, 3, 1, 1) if self.largest else _mean(x)
        one = self.layer(x, "branch3x3_1", 384)
        two = self.chain(x, "branch3x3dbl", (448,), (384, (3, 3)))
        parts = [
            self.layer(x, "branch1x1", 320),
            self.layer(one, "branch3x3_2a", 384, (1, 3)),
            self.layer(one, "branch3x3_2b", 384, (3, 1)),
            self.layer(two, "branch3x3dbl_3a", 384, (1, 3)),
            self.layer(two, "branch3x3dbl_3b", 384, (3, 1)),
            self.layer(pooled, "branch_pool", 192),
        ]
        return jnp.concatenate(parts, axis=-1)


class Inception(nn.Module):
    """Prepared images [b, 299, 299, 3] (at least 75 pixels) to a dict of features by name.

    `pool1` [b, 73, 73, 64], `pool2` [b, 35, 35, 192] and `mixed_6e` [b, 17, 17, 768] are maps;
    `pool3` [b, 2048] is what FID and KID take; `logits` [b, classes] and, for the Inception score,
    `logits_unbiased`, the same without the last layer's bias. `share` divides all widths (tests).
    """

    classes: int = 1008
    share: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> dict[str, Array]:
        share, taps = self.share, {}

        def layer(x, name, features, window=3, stride=1, padding: int | str = 0):
            square = (window, window)
            return ConvNorm(features // share, square, stride, padding, name=name)(x)

        x = layer(x, "Conv2d_1a_3x3", 32, stride=2)
        x = layer(x, "Conv2d_2a_3x3", 32)
        x = layer(x, "Conv2d_2b_3x3", 64, padding="SAME")
        x = taps["pool1"] = max_pool(x, 3, 2)
        x = layer(x, "Conv2d_3b_1x1", 80, window=1)
        x = layer(x, "Conv2d_4a_3x3", 192)
        x = taps["pool2"] = max_pool(x, 3, 2)
        x = BlockA(share, 32, name="Mixed_5b")(x)
        x = BlockA(share, 64, name="Mixed_5c")(x)
        x = BlockA(share, 64, name="Mixed_5d")(x)
        x = BlockB(share, name="Mixed_6a")(x)
        x = BlockC(share, 128, name="Mixed_6b")(x)
        x = BlockC(share, 160, name="Mixed_6c")(x)
        x = BlockC(share, 160, name="Mixed_6d")(x)
        x = taps["mixed_6e"] = BlockC(share, 192, name="Mixed_6e")(x)
        x = BlockD(share, name="Mixed_7a")(x)
        x = BlockE(share, False, name="Mixed_7b")(x)
        x = BlockE(share, True, name="Mixed_7c")(x)
        x = taps["pool3"] = x.mean((1, 2))
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.classes))
        bias = self.param("bias", nn.initializers.zeros, (self.classes,))
        taps["logits_unbiased"] = x @ kernel
        taps["logits"] = taps["logits_unbiased"] + bias
        return taps
