"""RealNVP (Dinh et al., 2017), https://arxiv.org/abs/1605.08803, as the authors' code has it.

Every module is invertible: `module(x)` gives (y, log |det dy/dx| [b]) and `module(y, reverse=True)`
the x of it, and its log-determinant.  With `train` batch normalisation takes the global batch's
moments, else running averages; only with these is it inverted.
"""

from math import sqrt

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxgen.nn import init
from jaxgen.nn.conv import conv
from jaxgen.nn.norm import BatchNorm

Maps = Float[Array, "_b _h _w _c"]
EPSILON = 1e-4


class WeightNormConv(nn.Module):
    """A convolution whose kernels have norm 1, or a learned `magnitude`.  It has a bias, too, where
    it has a magnitude, and elsewhere only with `use_bias`; a batch norm follows there."""

    features: int
    kernel: int
    magnitude: bool = False
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        spread = sqrt(2 / x.shape[-1])
        kernel = self.param("kernel", init.uniform(spread), shape)
        kernel = kernel * lax.rsqrt((kernel**2).sum((0, 1, 2)))
        if self.magnitude:
            size = spread * sqrt(x.shape[-1] * self.kernel**2 / 12)
            start = nn.initializers.constant(size)
            kernel = kernel * self.param("magnitude", start, (self.features,))
        y = conv(x.astype(kernel.dtype), kernel, padding="SAME")  # the flow itself stays in float32
        if self.magnitude or self.use_bias:
            y += self.param("bias", nn.initializers.zeros, (self.features,))
        return y


class Norm(nn.Module):
    """Batch normalisation with a bias and no gain."""

    @nn.compact
    def __call__(self, x: Maps, *, train: bool) -> Maps:
        x = BatchNorm(epsilon=EPSILON, affine=False)(x, train=train)
        return x + self.param("bias", nn.initializers.zeros, (x.shape[-1],))


class ResNet(nn.Module):
    """Residual blocks whose outputs, each by a convolution of one pixel, are summed up."""

    features: int
    outputs: int
    blocks: int

    @nn.compact
    def __call__(self, x: Maps, *, train: bool) -> Maps:
        n = self.features
        x = WeightNormConv(n, 3, use_bias=True, name="first")(x)
        y = WeightNormConv(n, 1, magnitude=True, name="skip_first")(x)
        for k in range(self.blocks):
            z = nn.relu(Norm(name=f"norm_{k}_in")(x, train=train))
            z = WeightNormConv(n, 3, name=f"block_{k}_in")(z)
            z = nn.relu(Norm(name=f"norm_{k}_out")(z, train=train))
            x += WeightNormConv(n, 3, magnitude=True, name=f"block_{k}_out")(z)
            y += WeightNormConv(n, 1, magnitude=True, name=f"skip_{k}")(x)
        y = nn.relu(Norm(name="norm_last")(y, train=train))
        return WeightNormConv(self.outputs, 1, magnitude=True, name="last")(y)


class FlowNorm(BatchNorm):
    """The mean and the variance [c] by which a flow's changed half is normalised (Sec. 3.7)."""

    @nn.compact
    def __call__(self, x: Maps, *, train: bool) -> tuple[Float[Array, "c"], Float[Array, "c"]]:
        mean, var = self.statistics(x, train)
        return mean, var + EPSILON


class Coupling(nn.Module):
    """One half of x stays, and says how the other is moved, scaled and normalised (Eq. 9).

    half: "even" or "odd" pixels of a checkerboard (by row + column) are changed, or the "first" or
      "second" half of the channels.
    """

    half: str
    features: int
    blocks: int

    @nn.compact
    def __call__(self, x: Maps, *, reverse: bool = False, train: bool = True):
        kept, x, changes = self._split(x)
        c = x.shape[-1]
        seen = Norm(name="norm_in")(kept, train=train)
        seen = seen if self._channels else 2 * seen
        seen = [seen, -seen]
        if not self._channels:
            seen.append(jnp.broadcast_to(1 - changes, (*x.shape[:3], 1)))
        numbers = nn.relu(jnp.concatenate(seen, axis=-1))
        numbers = ResNet(self.features, 2 * c, self.blocks, name="resnet")(numbers, train=train)
        shift, log_scale = jnp.split(numbers, 2, axis=-1)
        start = nn.initializers.constant(1.0 if self._channels else 0.0)
        log_scale = self.param("scale", start, ()) * jnp.tanh(log_scale) * changes
        shift *= changes

        y = x if reverse else (x + shift) * jnp.exp(log_scale)
        mean, var = FlowNorm(name="norm_out")(y * changes, train=train and not reverse)
        log_det = log_scale - 0.5 * jnp.log(var) * changes
        if reverse:
            y = y * jnp.exp(0.5 * jnp.log(var) * changes) + mean * changes
            y = y * jnp.exp(-log_scale) - shift
            log_det = -log_det
        else:
            y = (y - mean * changes) * jnp.exp(-0.5 * jnp.log(var) * changes)
        return self._join(kept, y), log_det.sum((1, 2, 3))

    @property
    def _channels(self) -> bool:
        return self.half in ("first", "second")

    def _split(self, x):
        """(what stays, what is changed, where [h, w, 1] that is)."""
        if self._channels:
            a, b = jnp.split(x, 2, axis=-1)
            return (a, b, 1.0) if self.half == "second" else (b, a, 1.0)
        rows, columns = jnp.arange(x.shape[1])[:, None], jnp.arange(x.shape[2])
        changes = jnp.float32((rows + columns) % 2 == (self.half == "odd"))[..., None]
        return x * (1 - changes), x, changes

    def _join(self, kept, y):
        if not self._channels:
            return y
        return jnp.concatenate([kept, y] if self.half == "second" else [y, kept], axis=-1)


class Scale(nn.Module):
    """Couplings at one resolution; then half of the numbers goes to a coarser scale, and the other
    half is done (Sec. 3.6)."""

    features: int
    blocks: int
    scales: int

    def setup(self):
        halves = ["odd", "even", "odd"] + ["even"] * (self.scales == 1)
        self.checkerboard = [Coupling(half, self.features, self.blocks) for half in halves]
        if self.scales > 1:
            wide, halves = 2 * self.features, ("second", "first", "second")
            self.channels = [Coupling(half, wide, self.blocks) for half in halves]
            self.coarser = Scale(wide, self.blocks, self.scales - 1)

    def __call__(self, x: Maps, *, reverse: bool = False, train: bool = True):
        log_det = jnp.zeros(len(x))
        options = {"reverse": reverse, "train": train}

        def through(couplings, x):
            total = jnp.zeros(len(x))
            for coupling in couplings[::-1] if reverse else couplings:
                x, change = coupling(x, **options)
                total += change
            return x, total

        def couple(x):
            x, change = through(self.checkerboard, x)
            return x, change

        def couple_channels(x):
            y, change = through(self.channels, squeeze(x))
            return unsqueeze(y), change

        def couple_coarser(x):
            coarse, done = jnp.split(squeeze_in_order(x), 2, axis=-1)
            coarse, change = self.coarser(coarse, **options)
            return unsqueeze_in_order(jnp.concatenate([coarse, done], axis=-1)), change

        steps = [couple] + ([couple_channels, couple_coarser] if self.scales > 1 else [])
        for step in steps[::-1] if reverse else steps:
            x, change = step(x)
            log_det += change
        return x, log_det


class RealNVP(nn.Module):
    """Images [b, h, w, c], as logits, to latents of the same shape, and back.  The sides are
    multiples of 2^(scales - 1)."""

    features: int = 32
    blocks: int = 2
    scales: int = 4

    @nn.compact
    def __call__(self, x: Maps, *, reverse: bool = False, train: bool = True):
        return Scale(self.features, self.blocks, self.scales)(x, reverse=reverse, train=train)


def squeeze(x: Maps) -> Maps:
    """2 x 2 pixels to channels: channel 4 c + 2 dy + dx."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(b, h // 2, w // 2, 4 * c)


def unsqueeze(x: Maps) -> Maps:
    """The inverse of `squeeze`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, c // 4, 2, 2)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(b, 2 * h, 2 * w, c // 4)


ORDER = ((0, 0), (1, 1), (0, 1), (1, 0))  # (dy, dx): either half is a checkerboard


def squeeze_in_order(x: Maps) -> Maps:
    """2 x 2 pixels to channels, all channels of a pixel beside each other, in `ORDER`."""
    return jnp.concatenate([x[:, dy::2, dx::2] for dy, dx in ORDER], axis=-1)


def unsqueeze_in_order(x: Maps) -> Maps:
    """The inverse of `squeeze_in_order`."""
    b, h, w, c = x.shape
    a, d, r, l = jnp.split(x, 4, axis=-1)  # noqa: E741
    rows = [jnp.stack(pair, axis=3) for pair in ((a, r), (l, d))]  # of even rows, of odd ones
    return jnp.stack(rows, axis=2).reshape(b, 2 * h, 2 * w, c // 4)
