"""Spectral normalisation (Miyato et al., 2018, Alg. 1), https://arxiv.org/abs/1802.05957."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxgen.nn.conv import Conv, conv
from jaxgen.nn.init import Initializer


def power_iteration(
    w: Float[Array, "out in"], u: Float[Array, "out"], steps: int = 1
) -> tuple[Float[Array, "out"], Float[Array, "in"], Float[Array, ""]]:
    """(u, v, sigma) after v = l2(w' u), u = l2(w v), `steps` times; sigma = u' w v estimates the
    largest singular value. u and v are constants of differentiation: d sigma / d w = u v'."""
    fixed = lax.stop_gradient(w)
    v = _unit(fixed.T @ u)
    for _ in range(steps - 1):
        v = _unit(fixed.T @ _unit(fixed @ v))
    u = _unit(fixed @ v)
    return u, v, u @ w @ v


def _unit(x):
    return x / (jnp.linalg.norm(x) + 1e-12)


class SpectralNorm(nn.Module):
    """kernel [..., out] / sigma of it as a matrix [out, ...]. u is kept in `spectral`.

    Each call with `train` takes one power step and stores its u if that collection is mutable: a
    critic called on data and on samples steps twice, as in the papers' code. Without `train` it
    takes the step but stores nothing (BigGAN's code; torch's takes none: the same once u has
    converged).
    clamped: only a sigma above 1 is brought down to 1 (Du & Mordatch, 2019).
    """

    clamped: bool = False

    @nn.compact
    def __call__(self, kernel: Float[Array, "*in out"], *, train: bool = True) -> jax.Array:
        w = kernel.reshape(-1, kernel.shape[-1]).T.astype(jnp.float32)
        u = self.variable(
            "spectral", "u", lambda: jax.random.normal(self.make_rng("params"), w.shape[:1])
        )
        stepped, _, sigma = power_iteration(w, lax.stop_gradient(u.value))
        if train and self.is_mutable_collection("spectral") and not self.is_initializing():
            u.value = stepped
        if self.clamped:
            sigma = jnp.maximum(sigma + 1e-6, 1.0)
        return (kernel / sigma).astype(kernel.dtype)


class SpectralConv(Conv):
    """`Conv` with its kernel spectrally normalised; the bias is not."""

    clamped: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *space i"], *, train: bool = True
    ) -> Float[Array, "b *out o"]:
        shape = (self.kernel,) * (x.ndim - 2) + (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        norm = SpectralNorm(self.clamped, name="spectral")
        kernel = norm(kernel, train=train).astype(x.dtype)
        y = conv(x, kernel, self.stride, self.padding)
        if self.use_bias:
            y += self.param("bias", self.bias_init, (self.features,)).astype(x.dtype)
        return y


class SpectralDense(nn.Module):
    """A dense layer with its kernel spectrally normalised; the bias is not."""

    features: int
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, "*b i"], *, train: bool = True) -> Float[Array, "*b o"]:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        y = x @ SpectralNorm(name="spectral")(kernel, train=train).astype(x.dtype)
        if self.use_bias:
            y += self.param("bias", self.bias_init, (self.features,)).astype(x.dtype)
        return y


class SpectralEmbed(nn.Module):
    """Rows of a table [classes, features], the whole table spectrally normalised; u [classes]."""

    classes: int
    features: int
    embedding_init: Initializer = nn.initializers.normal(1.0)

    @nn.compact
    def __call__(self, label, *, train: bool = True) -> Float[Array, "*b features"]:
        table = self.param("embedding", self.embedding_init, (self.classes, self.features))
        return SpectralNorm(name="spectral")(table.T, train=train).T[label]
