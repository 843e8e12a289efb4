"""The multilayer perceptrons of Kingma & Welling (2014, App. C), https://arxiv.org/abs/1312.6114.

Images are in [0, 1] here, as the paper's likelihoods have them. One hidden layer of 500 tanh units
is the paper's for digits (200 for Frey faces); 400 ReLU units and 20 latents are PyTorch's example;
hidden (200, 200) and 50 latents IWAE's with one stochastic layer.
"""

from collections.abc import Callable
from functools import partial
from math import log, prod

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.nn import init
from jaxgen.nn.init import Initializer

LEVEL = 1 / 256  # of grey

Activation = Callable[[jax.Array], jax.Array]
Latents = Float[Array, "b k"]
Images = Float[Array, "b h w c"]

# All weights and biases; the paper's N(0, 0.01), read as a standard deviation.
paper_start = {"kernel_init": init.normal(0.01), "bias_init": init.normal(0.01)}


class Encoder(nn.Module):
    """Images in [0, 1] to the mean and the log variance of q(z | x), both [b, latent]."""

    latent: int = 20
    hidden: tuple[int, ...] = (500,)
    activation: Activation = nn.tanh
    kernel_init: Initializer = nn.initializers.glorot_uniform()
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Images, *, train: bool = True) -> tuple[Latents, Latents]:
        dense = partial(nn.Dense, kernel_init=self.kernel_init, bias_init=self.bias_init)
        h = x.reshape(len(x), -1)
        for units in self.hidden:
            h = self.activation(dense(units)(h))
        return dense(self.latent, name="mean")(h), dense(self.latent, name="log_variance")(h)


class BernoulliDecoder(nn.Module):
    """Latents [b, k] to the logits of p(x = 1 | z), [b, *shape]."""

    shape: tuple[int, int, int] = (28, 28, 1)
    hidden: tuple[int, ...] = (500,)
    activation: Activation = nn.tanh
    kernel_init: Initializer = nn.initializers.glorot_uniform()
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, z: Latents, *, train: bool = True) -> Images:
        dense = partial(nn.Dense, kernel_init=self.kernel_init, bias_init=self.bias_init)
        for units in self.hidden:
            z = self.activation(dense(units)(z))
        return dense(prod(self.shape), name="logits")(z).reshape(-1, *self.shape)


class GaussianDecoder(nn.Module):
    """Latents [b, k] to the mean, in (0, 1), and the log variance of p(x | z), both [b, *shape].

    The variance of a grey level is added to the paper's: where a pixel hardly changes, a single
    image that differs there would cost thousands of nats.
    """

    shape: tuple[int, int, int] = (28, 28, 1)
    hidden: tuple[int, ...] = (200,)
    activation: Activation = nn.tanh
    kernel_init: Initializer = nn.initializers.glorot_uniform()
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, z: Latents, *, train: bool = True) -> tuple[Images, Images]:
        dense = partial(nn.Dense, kernel_init=self.kernel_init, bias_init=self.bias_init)
        for units in self.hidden:
            z = self.activation(dense(units)(z))
        mean = nn.sigmoid(dense(prod(self.shape), name="mean")(z))
        log_variance = dense(prod(self.shape), name="log_variance")(z)
        log_variance = jnp.logaddexp(log_variance, 2 * log(LEVEL))
        return mean.reshape(-1, *self.shape), log_variance.reshape(-1, *self.shape)
