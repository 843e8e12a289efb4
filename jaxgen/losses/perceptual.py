"""Distances between images by the features of a classifier.

LPIPS: Zhang et al., 2018, https://arxiv.org/abs/1801.03924, version 0.1 of the authors' package,
whose heads fit torchvision's weights alone. Without heads the distance is uncalibrated; on Caffe's
SqueezeNet it is called the squeezenet-distance here, and is no LPIPS.

Images are float32 [b, h, w, 1 | 3 | 4] in [-1, 1] and are not resized. Variables come from
`jaxgen.weights`, ready distances from `jaxgen.weights.distances`. For numbers that are compared,
compute under `jax.default_matmul_precision("highest")`, as those do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.models.squeezenet import TAPS, SqueezeNet
from jaxgen.models.vgg import LPIPS_TAPS, vgg16
from jaxgen.nn import imagenet

Images = Float[Array, "b h w c"]
Maps = Sequence[Float[Array, "b _ _ _"]]
Heads = Sequence[Float[Array, "_"]]


def _unit(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Feature vectors of length one. Those that are zero stay so, with a gradient of zero, where
    the root has none."""
    square = jnp.sum(x * x, -1, keepdims=True)
    alive = square > 0
    return jnp.where(alive, x / (jnp.sqrt(jnp.where(alive, square, 1.0)) + 1e-10), 0.0)


def by_layer(a: Maps, b: Maps, heads: Heads | None = None) -> Float[Array, "b layers"]:
    """The distance in each layer: the mean over positions of sum_c w_c (a_c - b_c)^2, features at
    unit length; w are the layer's head, all ones without heads (then a layer is 2 at most for
    features >= 0)."""
    found = []
    for layer, (x, y) in enumerate(zip(a, b, strict=True)):
        square = (_unit(x) - _unit(y)) ** 2
        weighted = square if heads is None else square * heads[layer]
        found.append(weighted.sum(-1).mean((1, 2)))
    return jnp.stack(found, axis=-1)


def _layers(module, prepare, names, variables: Mapping, heads, a, b):
    both = prepare(imagenet.rgb(jnp.concatenate([a, b])))
    taps = module.apply(variables, both)
    halves = [jnp.split(taps[name], 2) for name in names]
    first, second = zip(*halves, strict=True)
    return by_layer(first, second, heads)


def squeezenet_distance(variables: Mapping[str, Any], a: Images, b: Images) -> Float[Array, "b"]:
    """The uncalibrated distance on Caffe's SqueezeNet 1.1 (`weights.squeezenet.caffe`): the sum of
    seven layers, 0 for equal images and 14 at most. Not LPIPS."""
    return _layers(SqueezeNet(), imagenet.caffe, TAPS, variables, None, a, b).sum(-1)


def lpips_squeezenet(
    variables: Mapping[str, Any], heads: Heads, a: Images, b: Images
) -> Float[Array, "b"]:
    """LPIPS on torchvision's SqueezeNet 1.1 (`weights.squeezenet.torchvision`)."""
    return _layers(SqueezeNet(), imagenet.torchvision, TAPS, variables, heads, a, b).sum(-1)


def lpips_vgg(
    variables: Mapping[str, Any], heads: Heads, a: Images, b: Images
) -> Float[Array, "b"]:
    """LPIPS on torchvision's VGG-16 (`weights.vgg.torchvision16`), the form for losses and PPL."""
    return _layers(vgg16(), imagenet.torchvision, LPIPS_TAPS, variables, heads, a, b).sum(-1)
