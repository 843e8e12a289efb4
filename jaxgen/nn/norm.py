"""Normalisation layers: batch (over the global batch), layer, instance, pixel.

In the training program a device holds a share of the batch; batch statistics are those of the
whole, so that the number of devices does not matter.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxgen import parallel
from jaxgen.nn.init import Initializer


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(var + epsilon) * scale + bias, moments over all axes but the last.

    With `train` the moments are the global batch's, and running averages of them are kept in
    `batch_stats` (new = momentum * old + (1 - momentum) * batch; the biased variance, where torch
    keeps the unbiased one) if that collection is mutable. Without `train` the running averages
    are used. `running=False` keeps none and always uses the batch's (the Theano DCGAN).
    """

    momentum: float = 0.9  # torch says 0.1 for the same thing
    epsilon: float = 1e-5
    running: bool = True
    scale_init: Initializer = nn.initializers.ones
    bias_init: Initializer = nn.initializers.zeros
    affine: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *rest c"], *, train: bool = True
    ) -> Float[Array, "b *rest c"]:
        channels = x.shape[-1:]
        mean, var = self.statistics(x, train)
        gain = lax.rsqrt(var + self.epsilon)
        if self.affine:
            gain *= self.param("scale", self.scale_init, channels)
        y = (x - mean) * gain
        if self.affine:
            y += self.param("bias", self.bias_init, channels)
        return y.astype(x.dtype)

    def statistics(self, x, train: bool):
        """The mean and the variance [c] that x is normalised by; the running ones move."""
        if not self.running:
            return self.moments(x)
        average = self.variable("batch_stats", "mean", jnp.zeros, x.shape[-1:])
        spread = self.variable("batch_stats", "var", jnp.ones, x.shape[-1:])
        if not train:
            return average.value, spread.value
        mean, var = self.moments(x)
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            average.value = self.momentum * average.value + (1 - self.momentum) * mean
            spread.value = self.momentum * spread.value + (1 - self.momentum) * var
        return mean, var

    def moments(self, x):
        """The batch's mean and biased variance [c]; `runs.tiling` intercepts it."""
        return _moments(x)


def _moments(x):
    """Mean and biased variance [c] over the global batch, in one exchange between devices: those of
    every share, then of all (Chan, Golub & LeVeque, 1979, Eq. 2.1).

    Squares are of the distance to the first example's mean, so that a mean far from 0 costs no
    digits; with b examples that mean is at most sqrt(b) deviations from the batch's.
    """
    x = x.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    near = lax.stop_gradient(x[:1].mean(axes))  # the moments do not depend on it
    off = x - near
    mean, square = off.mean(axes), (off * off).mean(axes)
    mean, var = near + mean, jnp.maximum(square - mean * mean, 0.0)
    if parallel.size() == 1:  # in the usual form, in which XLA sees what two turns have in common
        return mean, var
    means, variances = parallel.shares(jnp.stack([mean, var])).swapaxes(0, 1)
    mean = means.mean(0)
    return mean, (variances + jnp.square(means - mean)).mean(0)


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(var + epsilon) * scale + bias, moments over all axes of an example and
    gain and bias by channel: the norm of WGAN-GP's critics, where examples must not mix."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "b *rest c"]) -> Float[Array, "b *rest c"]:
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        axes = tuple(range(1, x.ndim))
        wide = x.astype(jnp.float32)
        wide -= wide.mean(axes, keepdims=True)
        var = (wide * wide).mean(axes, keepdims=True)
        return (wide * lax.rsqrt(var + self.epsilon) * scale + bias).astype(x.dtype)


class InstanceNorm(nn.Module):
    """(x - mean) / sqrt(var + epsilon), moments over space of each channel of each example; with
    `affine` times a gain plus a bias by channel. The defaults are torch's (Flax has both learned,
    and 1e-6). The same in training and in use."""

    epsilon: float = 1e-5
    affine: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b *space c"]) -> Float[Array, "b *space c"]:
        mean, var = self.moments(x.astype(jnp.float32))
        y = (x - mean) * lax.rsqrt(var + self.epsilon)
        if self.affine:
            y *= self.param("scale", nn.initializers.ones, x.shape[-1:])
            y += self.param("bias", nn.initializers.zeros, x.shape[-1:])
        return y.astype(x.dtype)

    def moments(self, x):
        """Mean and variance [b, 1, ..., c] over space; `runs.tiling` intercepts it."""
        space = tuple(range(1, x.ndim - 1))
        mean = x.mean(space, keepdims=True)
        var = jnp.square(x - mean).mean(space, keepdims=True)
        return mean, var


class ClassBatchNorm(nn.Module):
    """`BatchNorm` with a gain and a bias for each class (Dumoulin et al., 2017; cBN)."""

    classes: int
    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *rest c"], label: Int[Array, "b"], *, train: bool = True
    ) -> Float[Array, "b *rest c"]:
        shape = (self.classes, x.shape[-1])
        scale = self.param("scale", nn.initializers.ones, shape)[label]
        bias = self.param("bias", nn.initializers.zeros, shape)[label]
        wide = (len(x), *(1,) * (x.ndim - 2), x.shape[-1])
        x = BatchNorm(self.momentum, self.epsilon, affine=False)(x, train=train)
        return x * scale.reshape(wide).astype(x.dtype) + bias.reshape(wide).astype(x.dtype)


class PixelNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon), the mean over the last axis: the features of every pixel, or
    every latent, get root mean square 1 (Karras et al., 2018, https://arxiv.org/abs/1710.10196,
    Sec. 4.2)."""

    epsilon: float = 1e-8

    @nn.compact
    def __call__(self, x: Float[Array, "b *rest c"]) -> Float[Array, "b *rest c"]:
        wide = x.astype(jnp.float32)
        square = (wide * wide).mean(-1, keepdims=True)
        return (wide * lax.rsqrt(square + self.epsilon)).astype(x.dtype)
