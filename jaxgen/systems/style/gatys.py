"""Image style transfer using convolutional neural networks (Gatys, Ecker & Bethge, CVPR 2016),
https://www.cv-foundation.org/openaccess/content_cvpr_2016/papers/Gatys_Image_Style_Transfer_CVPR_2016_paper.pdf
(https://arxiv.org/abs/1508.06576 is its first form).

The pixels x are what is learned, by L-BFGS, so that a classifier's features of them are those of a
photograph p, and correlate as those of a painting a:

    L_total(p, a, x) = alpha L_content(p, x) + beta sum_l w_l E_l(a, x)              (Eq. 7)

Deviations.  L_content is the mean of the squares, not half their sum, and each Gram matrix is
divided by its own image's number of positions, so that neither weight depends on the images' sizes
(as in Gatys' PyTorch code); a weight on the roughness of x, 0 in the paper, is that of
neural-style.  The paper's VGG-19 had its filters rescaled to a mean activation of 1; that network's
alpha / beta hold for no other.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgen.losses import style as losses
from jaxgen.nn.canvas import Canvas, filled
from jaxgen.train.game import Player, System, Turn, to_float
from jaxgen.weights.assemble import Trained


def see(features, x):
    """The maps that `features` (a network and its weights) has of images x; in full float32, for
    the line search compares losses that differ in their last digits."""
    with jax.default_matmul_precision("highest"):
        return features(x)


def targets(trained: Trained, content, style, content_layer: str, style_layers) -> dict[str, Any]:
    """What a picture is made after, as the one batch that `gatys` learns from.

    content, style: uint8 [1, H, W, 3], of sizes of their own.
    """

    @jax.jit
    def compute(variables, images):
        maps = lambda x: see(lambda x: trained.taps(variables, x), x)
        p, a = map(maps, to_float(images))
        grams = {layer: losses.gram(a[layer]) for layer in style_layers}
        return {"content": p[content_layer], "style": grams}

    return {"image": content, **compute(trained.variables, (content, style))}


def gatys(
    trained: Trained,
    shape: tuple[int, int, int],
    content_layer: str,
    style_layers: Mapping[str, float],
    *,
    alpha: float,
    beta: float,
    smooth: float = 0.0,
    optimizer: optax.GradientTransformation | None = None,
    start: jax.Array | None = None,
    keep_colours: bool = False,
) -> System:
    """A picture of `shape` [H, W, 3], learned from the batch of `targets`.

    trained: the network whose features count, with its weights, which hold still.
    style_layers: w_l, by layer.
    smooth: weight of the squared differences of neighbours, a pixel, in levels of 0 .. 255.
    optimizer: of the pixels in [-1, 1]; L-BFGS by default.
    start: the first picture [1, H, W, 3] in [-1, 1]; noise by default.
    keep_colours: show the picture's brightness in the photograph's colours (neural-style's
      `-original_colors`).
    """

    def loss(nets, batch, key):
        x = nets.picture()
        pixels = trained.prepare(x)
        maps = see(nets.features, pixels)
        content = losses.content(maps[content_layer], batch["content"]).mean()
        style = jnp.zeros(())
        for layer, weight in style_layers.items():
            grams = losses.gram(maps[layer])
            style += weight * losses.style(grams, batch["style"][layer]).mean()
        rough = losses.roughness(pixels).mean() / (shape[0] * shape[1])
        total = alpha * content + beta * style + smooth * rough
        return total, {"content": content, "style": style, "roughness": rough}

    def show(nets, batch, key):
        x = jnp.clip(nets.picture(), -1, 1)
        return {"picture": in_colours_of(batch["image"], x) if keep_colours else x}

    return System(
        players={
            "picture": Player(
                Canvas(shape),
                [],
                optimizer or optax.lbfgs(),
                variables=None if start is None else filled(start),
            ),
            "features": Player(trained.module, [(1, *shape)], variables=trained.variables),
        },
        turns=(Turn(("picture",), loss),),
        show=show,
    )


def in_colours_of(photograph: jax.Array, x: jax.Array) -> jax.Array:
    """Y of x with U and V of the photograph: a grey that is added to all three of RGB moves Y
    alone.  Images [b, h, w, 3]."""
    luma = jnp.asarray((0.299, 0.587, 0.114))
    return photograph + ((x - photograph) @ luma)[..., None]
