"""Noise inputs (Karras et al., 2019, https://arxiv.org/abs/1812.04948, Sec. 2)."""

from typing import Literal

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from jaxgen import draw

Noise = Literal["random", "fixed", "off"]


def add_noise(
    module: nn.Module,
    x: Float[Array, "b h w c"],
    noise: Noise,
    by_channel: bool = False,
    rate: float = 1.0,
) -> Float[Array, "b h w c"]:
    """x + strength * a map of noise, one map for all channels. The strength is `module`'s parameter
    `noise_strength`, 0 at first: one number, or one `by_channel`, times `rate`, with which it
    learns more slowly; at a rate of 0 there is no noise. The map is drawn anew in each call and for
    each example ("random"), or kept in the collection `noise` ("fixed")."""
    silent = not isinstance(rate, jax.Array) and rate == 0
    if silent and not module.is_initializing():
        return x
    shape = x.shape[-1:] if by_channel else ()
    strength = rate * module.param("noise_strength", nn.initializers.zeros, shape)
    space = x.shape[1:3]
    kept = module.variable(
        "noise", "map", lambda: jax.random.normal(module.make_rng("params"), space)
    )
    if noise == "random":
        drawn = draw.normal(module.make_rng("dropout"), len(x), (*space, 1))
        return x + (strength * drawn).astype(x.dtype)
    if noise == "fixed":
        return x + (strength * kept.value[..., None]).astype(x.dtype)
    return x
