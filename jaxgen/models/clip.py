"""The towers of CLIP (Radford et al., 2021) for images and for text, https://arxiv.org/abs/2103.00020.

Both end in vectors of one space, not yet of length 1. The published sizes are in `SIZES`.
"""

import dataclasses
import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.errors import UserError
from jaxgen.nn import init
from jaxgen.nn.attention import Block, causal, quick_gelu
from jaxgen.nn.conv import Conv

EPSILON = 1e-5
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclasses.dataclass(frozen=True)
class Size:
    """Sizes of the two towers of one CLIP."""

    pixels: int
    patch: int
    width: int
    layers: int
    text_width: int
    text_layers: int
    embedding: int
    vocabulary: int = 49_408
    context: int = 77


SIZES = {
    "ViT-B/32": Size(224, 32, 768, 12, 512, 12, 512),
    "ViT-B/16": Size(224, 16, 768, 12, 512, 12, 512),
    "ViT-L/14": Size(224, 14, 1024, 24, 768, 12, 768),
}


def prepare(x: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """RGB in [-1, 1] minus the mean of CLIP's training images, over their standard deviation."""
    mean, std = jnp.asarray(MEAN, x.dtype), jnp.asarray(STD, x.dtype)
    return (x - (2 * mean - 1)) / (2 * std)


def _block(width: int, layers: int, heads: int, name: str) -> Block:
    """The depth of the tower scales down what its blocks add."""
    return Block(
        heads,
        quick_gelu,
        kernel_init=init.normal(width**-0.5),
        hidden_init=init.normal((2 * width) ** -0.5),
        out_init=init.normal((2 * width * layers) ** -0.5),
        epsilon=EPSILON,
        name=name,
    )


class ImageTower(nn.Module):
    """A vision transformer: images as `prepare` makes them to the embedding at a class token.

    heads: width / 64 by default, as published. `features=True` gives what lies before the last
    projection [b, width], which a linear probe reads (Sec. 3.2).
    """

    patch: int = 32
    width: int = 768
    layers: int = 12
    embedding: int = 512
    heads: int | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], *, features: bool = False
    ) -> Float[Array, "b e"]:
        if x.shape[1] % self.patch or x.shape[2] % self.patch:
            raise UserError(
                f"images of {x.shape[2]} x {x.shape[1]} pixels cannot be cut into patches of "
                f"{self.patch}; use a size that is a multiple"
            )
        start = init.normal(self.width**-0.5)
        x = Conv(self.width, self.patch, self.patch, 0, use_bias=False, name="patches")(x)
        x = x.reshape(len(x), -1, self.width)
        token = self.param("class", start, (self.width,)).astype(x.dtype)
        x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, self.width)), x], axis=1)
        x += self.param("positions", start, x.shape[1:]).astype(x.dtype)
        x = nn.LayerNorm(EPSILON, name="norm_in")(x)
        heads = self.heads or max(1, self.width // 64)
        for i in range(self.layers):
            x = _block(self.width, self.layers, heads, f"block{i}")(x)
        x = nn.LayerNorm(EPSILON, name="norm_out")(x[:, 0])
        project = nn.Dense(self.embedding, use_bias=False, kernel_init=start, name="projection")
        y = project(x)
        return x if features else y


class TextTower(nn.Module):
    """A causal transformer: tokens [b, n] to the embedding at the end token, the largest number.

    What follows the end token has no influence. Fewer tokens than `context` will do.
    """

    vocabulary: int = 49_408
    context: int = 77
    width: int = 512
    layers: int = 12
    embedding: int = 512
    heads: int | None = None

    @nn.compact
    def __call__(self, tokens: Int[Array, "b n"]) -> Float[Array, "b e"]:
        n = tokens.shape[1]
        if n > self.context:
            raise UserError(f"texts have {self.context} tokens at most, not {n}")
        table = self.param("tokens", init.normal(0.02), (self.vocabulary, self.width))
        positions = self.param("positions", init.normal(0.01), (self.context, self.width))
        x = table[tokens] + positions[:n]
        heads = self.heads or max(1, self.width // 64)
        for i in range(self.layers):
            x = _block(self.width, self.layers, heads, f"block{i}")(x, causal(n))
        x = nn.LayerNorm(EPSILON, name="norm_out")(x)
        x = x[jnp.arange(len(x)), tokens.argmax(axis=1)]
        start = init.normal(self.width**-0.5)
        return nn.Dense(self.embedding, use_bias=False, kernel_init=start, name="projection")(x)


class Temperature(nn.Module):
    """A learned factor of all cosines, exp(t) <= 100; t starts at log(1 / 0.07) (Sec. 2.5)."""

    @nn.compact
    def __call__(self) -> Float[Array, ""]:
        t = self.param("log", nn.initializers.constant(math.log(1 / 0.07)), ())
        return jnp.exp(t)


def towers(size: Size) -> tuple[ImageTower, TextTower]:
    """The towers of a published size."""
    return (
        ImageTower(size.patch, size.width, size.layers, size.embedding),
        TextTower(size.vocabulary, size.context, size.text_width, size.text_layers, size.embedding),
    )
