"""Equalised learning rate (Karras et al., 2018, https://arxiv.org/abs/1710.10196, Sec. 4.1).

Weights are stored as N(0, 1) and scaled by He's constant, gain / sqrt(fan_in), each time that they
are used. An optimizer like Adam, whose steps have the size of the learning rate, then moves every
layer at the same relative speed; scaling the initial weights instead is not the same.
"""

import math

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from jaxgen.nn.conv import Padding, conv
from jaxgen.nn.init import normal


def equal_weight(
    module: nn.Module, name: str, shape: tuple[int, ...], gain=1.0, lr_multiplier=1.0
) -> jax.Array:
    """`module`'s parameter `name` of shape [*window, in, out], as it is used: w * gain *
    lr_multiplier / sqrt(fan_in), with w ~ N(0, 1 / lr_multiplier^2) stored."""
    stored = module.param(name, normal(1 / lr_multiplier), shape)
    return stored * (gain * lr_multiplier / math.sqrt(math.prod(shape[:-1])))


class EqualDense(nn.Module):
    """x @ w + b. gain: sqrt(2) before a ReLU (StyleGAN2 has it in the activation instead).
    lr_multiplier: learns slower by that much, the bias too (StyleGAN's mapping: 0.01)."""

    features: int
    gain: float = 1.0
    lr_multiplier: float = 1.0
    use_bias: bool = True
    bias: float = 0.0  # to start with, as stored

    @nn.compact
    def __call__(self, x: Float[Array, "... i"]) -> Float[Array, "... o"]:
        shape = (x.shape[-1], self.features)
        kernel = equal_weight(self, "kernel", shape, self.gain, self.lr_multiplier)
        y = x @ kernel.astype(x.dtype)
        if self.use_bias:
            stored = self.param("bias", nn.initializers.constant(self.bias), (self.features,))
            y += (stored * self.lr_multiplier).astype(x.dtype)
        return y


class EqualConv(nn.Module):
    """`nn.conv.conv` likewise: `kernel` window on every axis, `features` channels out."""

    features: int
    kernel: int = 3
    stride: int = 1
    padding: Padding = "SAME"
    gain: float = 1.0
    lr_multiplier: float = 1.0
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b *space i"]) -> Float[Array, "b *out o"]:
        shape = (self.kernel,) * (x.ndim - 2) + (x.shape[-1], self.features)
        kernel = equal_weight(self, "kernel", shape, self.gain, self.lr_multiplier)
        y = conv(x, kernel.astype(x.dtype), self.stride, self.padding)
        if self.use_bias:
            stored = self.param("bias", nn.initializers.zeros, (self.features,))
            y += (stored * self.lr_multiplier).astype(x.dtype)
        return y
