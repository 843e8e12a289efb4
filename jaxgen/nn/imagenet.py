"""Pixels in the form that networks trained on ImageNet want."""

import jax.numpy as jnp
from jaxtyping import Array, Float

Images = Float[Array, "b h w c"]
Rgb = Float[Array, "b h w 3"]

CAFFE_MEAN = (103.939, 116.779, 123.68)  # of blue, green, red
TORCH_MEAN, TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def rgb(x: Images) -> Rgb:
    """Images in [-1, 1], grey (1), RGB (3) or RGBA (4, laid on white), to RGB in [-1, 1]."""
    match x.shape[-1]:
        case 1:
            return jnp.repeat(x, 3, axis=-1)
        case 3:
            return x
        case 4:
            alpha = (x[..., 3:] + 1) / 2
            return x[..., :3] * alpha + (1 - alpha)
    raise ValueError(f"images have 1, 3 or 4 channels, not {x.shape[-1]}")


def caffe(x: Rgb) -> Rgb:
    """RGB in [-1, 1] to BGR in 0 .. 255 minus the mean pixel: Caffe's and Keras' SqueezeNet and
    VGG, whose activations depend on this scale."""
    return (x[..., ::-1] + 1) * 127.5 - jnp.asarray(CAFFE_MEAN, x.dtype)


def torchvision(x: Rgb) -> Rgb:
    """RGB in [-1, 1] to RGB minus mean over standard deviation: torchvision's networks. The same
    as LPIPS' scaling layer, (x - (-.030, -.088, -.188)) / (.458, .448, .450)."""
    mean, std = jnp.asarray(TORCH_MEAN, x.dtype), jnp.asarray(TORCH_STD, x.dtype)
    return (x - (2 * mean - 1)) / (2 * std)
