"""The networks of BigGAN and BigGAN-deep (Brock, Donahue & Simonyan, 2019),
https://arxiv.org/abs/1809.11096, with the self-attention of SAGAN (Zhang et al., 2019),
https://arxiv.org/abs/1805.08318, as their code for PyTorch has them.

`generator` and `discriminator` give those of the paper for a size of images. Every convolution and
dense layer is spectrally normalised, the generator's too; its shared embedding of classes is not.
Labels are int32 [b], or float32 [b, classes], weights by which the embeddings of classes are mixed.
"""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.errors import UserError
from jaxgen.models.cgan import SpectralBlock
from jaxgen.models.size import Size, sides
from jaxgen.nn.norm import BatchNorm, ClassBatchNorm
from jaxgen.nn.pool import average_pool, max_pool
from jaxgen.nn.resample import enlarge
from jaxgen.nn.spectral import SpectralConv, SpectralDense, SpectralEmbed

Images = Float[Array, "_b _h _w _c"]
Latents = Float[Array, "_b _k"]
Label = Int[Array, "_b"] | Float[Array, "_b _n"]

CHUNK = 20  # numbers of z that a level gets of its own
# Channels in units of the width, by the number of doublings: of the generator's first map and of
# its levels; of the discriminator's levels.  Those of up to 2 doublings are ours, that of 3 is of
# the authors' code for CIFAR-10, those from 5 on are the paper's (Appendix B).
GENERATOR = {
    **{1: (4, 2), 2: (8, 4, 2), 3: (4, 4, 4, 4), 4: (16, 16, 8, 4, 2), 5: (16, 16, 8, 4, 2, 1)},
    **{6: (16, 16, 8, 8, 4, 2, 1), 7: (16, 16, 8, 8, 4, 2, 1, 1)},
}
DISCRIMINATOR = {
    **{1: (2, 4, 4), 2: (2, 4, 8, 8), 3: (4, 4, 4, 4), 4: (1, 2, 4, 8, 16)},
    **{5: (1, 2, 4, 8, 16, 16), 6: (1, 2, 4, 8, 8, 16, 16), 7: (1, 1, 2, 4, 8, 8, 16, 16)},
}

_start = nn.initializers.orthogonal()
_conv = partial(SpectralConv, kernel_init=_start)
_dense = partial(SpectralDense, kernel_init=_start)


class Attention(nn.Module):
    """x + gamma * o(attention of all pixels to those of a map half as wide), gamma 0 at first, so
    that it begins as the identity (SAGAN, Eq. 3). Queries are not scaled."""

    @nn.compact
    def __call__(self, x: Images, *, train: bool = True) -> Images:
        b, h, w, c = x.shape
        one = partial(_conv, kernel=1, use_bias=False)
        look = lambda n, name: one(max(n, 1), name=name)(x, train=train)
        pooled = lambda x: max_pool(x, 2, 2).reshape(b, -1, x.shape[-1])
        query = look(c // 8, "theta").reshape(b, h * w, -1)
        key, value = pooled(look(c // 8, "phi")), pooled(look(c // 2, "g"))
        scores = jnp.einsum("bqd,bkd->bqk", query, key).astype(jnp.float32)
        seen = jnp.einsum("bqk,bkd->bqd", jax.nn.softmax(scores).astype(x.dtype), value)
        seen = one(c, name="o")(seen.reshape(b, h, w, -1), train=train)
        return x + self.param("gamma", nn.initializers.zeros, ()).astype(x.dtype) * seen


class ConditionNorm(nn.Module):
    """`BatchNorm` with gains 1 + W c and biases V c that are linear in a condition c [b, k]."""

    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Images, c: Latents, *, train: bool = True) -> Images:
        linear = lambda name: _dense(x.shape[-1], use_bias=False, name=name)(c, train=train)
        gain, bias = 1 + linear("gain")[:, None, None], linear("bias")[:, None, None]
        x = BatchNorm(self.momentum, self.epsilon, affine=False, name="norm")(x, train=train)
        return x * gain + bias


class UpBlock(nn.Module):
    """shortcut(x) + conv(relu(norm(conv(relu(norm(x)))))), doubled before the first convolution."""

    features: int
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: Images, c, *, train: bool = True) -> Images:
        active = lambda x, name: nn.relu(self.norm(name=name)(x, c, train=train))
        y = _conv(self.features, name="conv1")(enlarge(active(x, "norm1")), train=train)
        y = _conv(self.features, name="conv2")(active(y, "norm2"), train=train)
        # a 1x1 convolution commutes with doubling
        return enlarge(_conv(self.features, kernel=1, name="shortcut")(x, train=train)) + y


class DeepUpBlock(nn.Module):
    """A bottleneck of a quarter of the channels with four convolutions; x itself, without the
    channels that are too many, is its shortcut."""

    features: int
    up: bool
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: Images, c, *, train: bool = True) -> Images:
        active = lambda x, name: nn.relu(self.norm(name=name)(x, c, train=train))
        larger = enlarge if self.up else lambda x: x
        inside = max(x.shape[-1] // 4, 1)
        y = _conv(inside, kernel=1, name="conv1")(active(x, "norm1"), train=train)
        y = _conv(inside, name="conv2")(larger(active(y, "norm2")), train=train)
        y = _conv(inside, name="conv3")(active(y, "norm3"), train=train)
        y = _conv(self.features, kernel=1, name="conv4")(active(y, "norm4"), train=train)
        return larger(x[..., : self.features]) + y


class DeepDownBlock(nn.Module):
    """A bottleneck of a quarter of the channels, halved before its last convolution; its shortcut
    is x and, where channels lack, a 1x1 convolution of it."""

    features: int
    down: bool

    @nn.compact
    def __call__(self, x: Images, *, train: bool = True) -> Images:
        smaller = lambda x: average_pool(x, 2, 2) if self.down else x
        inside = max(self.features // 4, 1)
        y = _conv(inside, kernel=1, name="conv1")(nn.relu(x), train=train)
        y = _conv(inside, name="conv2")(nn.relu(y), train=train)
        y = _conv(inside, name="conv3")(nn.relu(y), train=train)
        y = _conv(self.features, kernel=1, name="conv4")(smaller(nn.relu(y)), train=train)
        x = smaller(x)
        if lack := self.features - x.shape[-1]:
            more = _conv(lack, kernel=1, name="shortcut")(x, train=train)
            x = jnp.concatenate([x, more], axis=-1)
        return x + y


class Generator(nn.Module):
    """Latents z [b, k] ~ N(0, I) and labels to images in (-1, 1).

    widths: channels of the first map, and of each level that is twice as large.
    attention: the levels, from 0, that end with one.
    embedding: numbers of the embedding of a class that all norms share; with 0 each norm has gains
      and biases by class.
    hierarchical: z is cut into len(widths) equal chunks, of which the first makes the first map and
      each level is given one; else all of it makes the first map.  With `deep`, which has two
      bottleneck blocks a level, all levels are given all of it.
    last: features of the last convolution, of which the first ones are the image's; those of the
      image by default (all of TF-Hub's networks have widths[-1]).
    """

    size: Size = 128
    channels: int = 3
    widths: Sequence[int] = (1536, 1536, 768, 384, 192, 96)
    classes: int = 1000
    attention: Sequence[int] = (3,)
    embedding: int = 128
    hierarchical: bool = True
    deep: bool = False
    last: int | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5

    @property
    def chunks(self) -> int:
        """Into how many equal parts z is cut."""
        return len(self.widths) if self.hierarchical and not self.deep else 1

    @nn.compact
    def __call__(self, z: Latents, label: Label, *, train: bool = True) -> Images:
        first, *levels = self.widths
        about = {"momentum": self.momentum, "epsilon": self.epsilon}
        if z.shape[1] % self.chunks:
            raise UserError(f"{z.shape[1]} latents cannot be cut into {self.chunks} equal chunks")
        z, *chunks = jnp.split(z, self.chunks, axis=1)
        if self.embedding:
            table = self.param("embedding", _start, (self.classes, self.embedding))
            y = (table[label] if label.ndim == 1 else label @ table).astype(z.dtype)
            norm = partial(ConditionNorm, **about)
        else:
            y, norm = label, partial(ClassBatchNorm, self.classes, **about)
        if self.hierarchical and self.deep:
            y = z = jnp.concatenate([y, z], axis=1)
        conditions = [jnp.concatenate([y, chunk], axis=1) for chunk in chunks]
        conditions = conditions or [y] * len(levels)
        height, width = (n >> len(levels) for n in sides(self.size))
        x = _dense(height * width * first, name="first")(z, train=train)
        x = x.reshape(len(z), height, width, first)
        for i, (features, c) in enumerate(zip(levels, conditions, strict=True)):
            if self.deep:
                before = DeepUpBlock(x.shape[-1], False, norm, name=f"level{i}_first")
                x = before(x, c, train=train)
                x = DeepUpBlock(features, True, norm, name=f"level{i}")(x, c, train=train)
            else:
                x = UpBlock(features, norm, name=f"level{i}")(x, c, train=train)
            if i in self.attention:
                x = Attention(name=f"level{i}_attention")(x, train=train)
        x = nn.relu(BatchNorm(**about, name="norm")(x, train=train))
        x = _conv(self.last or self.channels, name="last")(x, train=train)
        return jnp.tanh(x[..., : self.channels])


class Discriminator(nn.Module):
    """Images in [-1, 1] and labels to scores [b], psi(h) + <V y, h>, of features h summed over all
    pixels (Miyato & Koyama, 2018).

    widths: channels of the levels, of which the first `downs` are halved; with `deep`, which has
      two blocks a level, before them those of a first convolution.
    attention: the levels, from 0, that end with one.
    """

    widths: Sequence[int] = (96, 192, 384, 768, 1536, 1536)
    downs: int = 5
    classes: int = 1000
    attention: Sequence[int] = (0,)
    deep: bool = False

    @nn.compact
    def __call__(self, x: Images, label: Int[Array, "_b"], *, train: bool = True):
        levels = list(self.widths)
        if self.deep:
            x = _conv(levels.pop(0), name="first")(x, train=train)
        for i, features in enumerate(levels):
            name, down = f"level{i}", i < self.downs
            if self.deep:
                x = DeepDownBlock(features, down, name=name)(x, train=train)
                x = DeepDownBlock(features, False, name=f"{name}_second")(x, train=train)
            else:
                wide = {"wide": True, "kernel_init": _start, "shortcut_init": _start}
                x = SpectralBlock(features, down, leads=i > 0, **wide, name=name)(x, train=train)
            if i in self.attention:
                x = Attention(name=f"{name}_attention")(x, train=train)
        h = nn.relu(x).sum((1, 2))
        v = SpectralEmbed(self.classes, h.shape[-1], _start, name="embed")(label, train=train)
        return _dense(1, name="score")(h, train=train)[:, 0] + (v * h).sum(1)


def generator(size: Size, width: int, attention: int = 64, **about) -> Generator:
    """The generator of images of that size, `width` channels wide at 128 pixels, with attention
    where a map is `attention` pixels high (0: nowhere); `about` are its other fields.  UserError
    for a size that is no small map doubled, and where no map is as high."""
    n, heights = _doublings(size), _heights(size)
    if attention and attention not in heights:
        known = ", ".join(map(str, heights))
        raise UserError(f"attention is at 0 (nowhere) or at {known} pixels, not at {attention}")
    widths = tuple(width * k for k in GENERATOR[n])
    at = tuple(i for i in range(n) if heights[i] == attention)
    return Generator(size, widths=widths, attention=at, **about)


def discriminator(
    size: Size, width: int, attention: int = 64, *, classes: int = 1000, deep: bool = False
) -> Discriminator:
    """The discriminator of images of that size; see `generator`.  Its largest map is half as high
    as the images."""
    height, n = sides(size)[0], _doublings(size)
    downs = 2 if n == 3 else n
    levels = range(len(DISCRIMINATOR[n]) - deep)
    at = [i for i in levels if height >> min(i + 1, downs) == attention][:1]
    widths = tuple(width * k for k in DISCRIMINATOR[n])
    return Discriminator(widths, downs, classes, tuple(at), deep)


def usual_attention(size: Size) -> int:
    """Height of the generator's last map but one, or of its only one."""
    return _heights(size)[-2:][0]


def _heights(size):
    """Those of the generator's maps, each twice that of the one before."""
    height, n = sides(size)[0], _doublings(size)
    return [height >> (n - 1 - i) for i in range(n)]


def _doublings(size: Size) -> int:
    """How often a map of 4 to 7 pixels on its smaller side is doubled, or one with an odd side."""
    (height, width), n = sides(size), 0
    while min(height, width) > 7 and not (height % 2 or width % 2):
        height, width, n = height // 2, width // 2, n + 1
    if n not in GENERATOR:
        raise UserError(
            f"BigGAN makes images of a small map that is doubled 1 to 7 times, such as 28, 32, 64 "
            f"or 128 pixels, not {' x '.join(map(str, sides(size)))}"
        )
    return n
