"""Gated PixelCNN (van den Oord et al., 2016), https://arxiv.org/abs/1606.05328, and PixelCNN++
(Salimans et al., 2017), https://arxiv.org/abs/1701.05517.

Both are called on an image, and have the methods `down` and `right`, of one row and one pixel, by
which `sample.raster` draws.  A call is `right(x, down(x))`.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxgen.nn.causal import (
    CausalConv,
    CausalConvTranspose,
    Maps,
    Memory,
    WeightNormDense,
    shift,
)
from jaxgen.nn.dropout import Dropout

Label = Int[Array, "b"] | None


class GatedLayer(nn.Module):
    """A layer of the two stacks (Fig. 2), of `kernel` columns.  A pixel's own features are not
    added to its output in the first layer, where they are another number."""

    features: int
    kernel: int = 3
    first: bool = False
    classes: int = 0

    def setup(self):
        # The input of the first layer was moved by a pixel: so much shorter is its window.
        rows = self.kernel // 2 + (not self.first)
        twice = 2 * self.features
        self.vertical = CausalConv(twice, (rows, self.kernel), "down")
        self.horizontal = CausalConv(twice, (1, rows), "right")
        self.link = nn.Dense(twice)
        self.out = nn.Dense(self.features)
        if self.classes:
            embed = lambda: nn.Embed(self.classes, twice, embedding_init=nn.initializers.zeros)
            self.vertical_class, self.horizontal_class = embed(), embed()

    def down(self, v: Maps, label: Label, memory=None) -> tuple[Maps, Maps]:
        """(The vertical stack, what the horizontal one is told of it.)"""
        v = self.vertical(v, memory)
        link = self.link(v)
        return gate(v + self._class("vertical", label)), link

    def right(self, h: Maps, link: Maps, label: Label, memory=None) -> Maps:
        g = self.horizontal(h, memory) + link + self._class("horizontal", label)
        out = self.out(gate(g))
        return out if self.first else out + h

    def _class(self, stack, label):
        if not self.classes:
            return 0
        return getattr(self, f"{stack}_class")(label)[:, None, None]


def gate(x: Maps) -> Maps:
    """tanh of the first half of the channels times the sigmoid of the second (Eq. 2)."""
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.tanh(a) * nn.sigmoid(b)


class GatedPixelCNN(nn.Module):
    """Images [b, h, w, c] and labels to `outputs` numbers of each pixel's distribution."""

    outputs: int = 1
    features: int = 64
    layers: int = 10
    first_kernel: int = 7
    classes: int = 0

    def setup(self):
        self.first = GatedLayer(self.features, self.first_kernel, True, self.classes)
        more = range(self.layers - 1)
        self.others = [GatedLayer(self.features, classes=self.classes) for _ in more]
        self.head = nn.Dense(self.features)
        self.logits = nn.Dense(self.outputs)

    def down(
        self, x: Maps, label: Label = None, memory: Memory | None = None, *, train=True
    ) -> list[Maps]:
        """Features of the rows above, for a row.  x: the image moved down, or its row above."""
        v, links = x, []
        for layer in (self.first, *self.others):
            v, link = layer.down(v, label, memory)
            links.append(link)
        return links

    def right(
        self,
        x: Maps,
        links: list[Maps],
        label: Label = None,
        memory: Memory | None = None,
        *,
        train=True,
    ) -> Maps:
        """The distribution of a pixel.  x: the image moved to the right, or the pixel on the
        left."""
        h = x
        for layer, link in zip((self.first, *self.others), links, strict=True):
            h = layer.right(h, memory.here(link) if memory else link, label, memory)
        return self.logits(nn.relu(self.head(nn.relu(h))))

    def __call__(self, x: Maps, label: Label = None, *, train: bool = True) -> Maps:
        return self.right(shift(x, "right"), self.down(shift(x, "down"), label), label)


def concat_elu(x: Maps) -> Maps:
    return nn.elu(jnp.concatenate([x, -x], axis=-1))


class GatedResnet(nn.Module):
    """PixelCNN++'s residual layer: x + a sigmoid(b), with `other` features by a convolution of one
    pixel."""

    features: int
    stream: str
    dropout: float = 0.5
    classes: int = 0

    @nn.compact
    def __call__(self, x: Maps, other: Maps | None, label: Label, memory=None, *, train: bool):
        kernel = (2, 3) if self.stream == "down" else (2, 2)
        conv = lambda n, gain, name: CausalConv(n, kernel, self.stream, gain=gain, name=name)
        y = conv(self.features, 1.0, "first")(concat_elu(x), memory)
        if other is not None:
            y += WeightNormDense(self.features, name="link")(concat_elu(other))
        y = Dropout(self.dropout)(concat_elu(y), train=train)
        y = conv(2 * self.features, 0.1, "second")(y, memory)
        if self.classes:
            start = nn.initializers.normal(0.05)
            y += nn.Embed(self.classes, 2 * self.features, embedding_init=start)(label)[
                :, None, None
            ]
        a, b = jnp.split(y, 2, axis=-1)
        return x + a * nn.sigmoid(b)


class PixelCNNpp(nn.Module):
    """Images [b, h, w, c] in [-1, 1] and labels to the parameters of a mixture of logistics,
    [b, h, w, mixtures (1 + 2 c + c (c - 1) / 2)].  The sides are multiples of 4.

    Two streams go to a quarter of the image's sides and back, with links across (Fig. 2).
    """

    mixtures: int = 10
    channels: int = 3
    features: int = 160
    layers: int = 5
    dropout: float = 0.5
    classes: int = 0

    def setup(self):
        conv = lambda kernel, stream, stride=1: CausalConv(
            self.features, kernel, stream, stride, gain=1.0
        )
        res = lambda stream: GatedResnet(self.features, stream, self.dropout, self.classes)
        self.above, self.row_above = conv((2, 3), "down"), conv((1, 3), "down")
        self.left = conv((2, 1), "right")
        down, up = (self.layers,) * 3, (self.layers, self.layers + 1, self.layers + 1)
        self.down_shrink = [[res("down") for _ in range(n)] for n in down]
        self.right_shrink = [[res("right") for _ in range(n)] for n in down]
        self.down_grow = [[res("down") for _ in range(n)] for n in up]
        self.right_grow = [[res("right") for _ in range(n)] for n in up]
        self.down_half = [conv((2, 3), "down", 2) for _ in range(2)]
        self.right_half = [conv((2, 2), "right", 2) for _ in range(2)]
        self.down_twice = [CausalConvTranspose(self.features, "down") for _ in range(2)]
        self.right_twice = [CausalConvTranspose(self.features, "right") for _ in range(2)]
        numbers = 1 + 2 * self.channels + self.channels * (self.channels - 1) // 2
        self.head = WeightNormDense(self.mixtures * numbers)

    def down(self, x: Maps, label: Label = None, memory: Memory | None = None, *, train=True):
        """Features of the rows above, for a row.  x: the image moved down, or its row above."""
        inside = (memory.row if memory else jnp.arange(x.shape[1])[:, None, None]) > 0
        at = lambda level: memory and memory.at(level)
        x = _with_ones(x, inside)
        told, u = [jnp.where(inside, self.row_above(x, memory), 0)], []
        for level, layers in enumerate(self.down_shrink):
            if level:
                u.append(self.down_half[level - 1](u[-1], at(level - 1)))
            else:
                u.append(jnp.where(inside, self.above(x, memory), 0))
            for layer in layers:
                u.append(layer(u[-1], None, label, at(level), train=train))
                told.append(u[-1])
        y = u.pop()
        for n, layers in enumerate(self.down_grow):
            level = 2 - n
            if n:
                y = self.down_twice[n - 1](y, at(level + 1))
            for layer in layers:
                y = layer(y, u.pop(), label, at(level), train=train)
                told.append(y)
        return told

    def right(
        self,
        x: Maps,
        told: list[Maps],
        label: Label = None,
        memory: Memory | None = None,
        *,
        train=True,
    ) -> Maps:
        """The distribution of a pixel.  x: the image moved to the right, or the pixel on the
        left."""
        inside = (memory.column if memory else jnp.arange(x.shape[2])[:, None]) > 0
        at = lambda level: memory and memory.at(level)
        rows = iter(told)
        link = lambda level: memory.at(level).here(next(rows)) if memory else next(rows)
        ul = [link(0) + jnp.where(inside, self.left(_with_ones(x, inside), memory), 0)]
        for level, layers in enumerate(self.right_shrink):
            if level:
                ul.append(self.right_half[level - 1](ul[-1], at(level - 1)))
            for layer in layers:
                ul.append(layer(ul[-1], link(level), label, at(level), train=train))
        y = ul.pop()
        for n, layers in enumerate(self.right_grow):
            level = 2 - n
            if n:
                y = self.right_twice[n - 1](y, at(level + 1))
            for layer in layers:
                other = jnp.concatenate([link(level), ul.pop()], axis=-1)
                y = layer(y, other, label, at(level), train=train)
        return self.head(nn.elu(y))

    def __call__(self, x: Maps, label: Label = None, *, train: bool = True) -> Maps:
        told = self.down(shift(x, "down"), label, train=train)
        return self.right(shift(x, "right"), told, label, train=train)


def _with_ones(x, inside):
    """A channel that tells the image (1) from what lies around it (0)."""
    ones = jnp.broadcast_to(inside, (*x.shape[:3], 1)).astype(x.dtype)
    return jnp.concatenate([x, ones], axis=-1)
