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

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.data.source import to_float
from jaxgen.losses import style as losses
from jaxgen.nn.canvas import Canvas, filled
from jaxgen.train.abilities import Option, Translator
from jaxgen.train.game import Player, System, Turn
from jaxgen.weights.assemble import Pretrained


def see(features, x):
    """The maps that `features` (a network and its weights) has of images x; in full float32, for
    the line search compares losses that differ in their last digits."""
    with jax.default_matmul_precision("highest"):
        return features(x)


def targets(features, content, style, content_layer: str, style_layers) -> dict[str, Any]:
    """What a picture is painted after: maps of the content [1, h, w, c] and Gram matrices of the
    style [1, c, c], by layer.

    features: images -> maps by layer.  content, style: [1, H, W, 3] in [-1, 1], each of its size.
    """
    p, a = see(features, content), see(features, style)
    grams = {layer: losses.gram(a[layer]) for layer in style_layers}
    return {"content": p[content_layer], "style": grams}


def example(pretrained: Pretrained, content, style, content_layer: str, style_layers):
    """The one example that `gatys` learns from, of images uint8 [1, H, W, 3]."""
    taps = lambda variables: lambda x: pretrained.taps(variables, x)
    compute = jax.jit(
        lambda variables, *images: targets(
            taps(variables), *map(to_float, images), content_layer, style_layers
        )
    )
    made = compute(pretrained.variables, content, style)
    return {"image": content, "painting": style, **made}


def gatys(
    module: nn.Module,
    prepare: Callable[[jax.Array], jax.Array],
    variables: Any,
    shape: tuple[int, int, int],
    content_layer: str,
    style_layers: Mapping[str, float],
    *,
    alpha: float,
    beta: float,
    smooth: float = 0.0,
    optimizer: optax.GradientTransformation | None = None,
    steps: int = 200,
    start: Callable[[], jax.Array] | None = None,
    keep_colours: bool = False,
) -> System:
    """A picture of `shape` [H, W, 3], learned from the one batch of `example`.

    module, prepare, variables: the network whose features count, what it wants of images in
      [-1, 1], and its weights (or a function that loads them), which hold still.
    style_layers: w_l, by layer.
    smooth: weight of the squared differences of neighbours, a pixel, in levels of 0 .. 255.
    optimizer: of the pixels in [-1, 1]; L-BFGS by default.
    steps: of the optimizer, where a trained run paints another photograph.
    start: gives the first picture [1, H, W, 3] in [-1, 1]; faint noise on grey by default.
    keep_colours: show the picture's brightness in the photograph's colours (neural-style's
      `-original_colors`).
    """
    optimizer = optimizer or optax.lbfgs()

    def objective(x, features, batch):
        """L_total of a picture x [1, h, w, 3], and its parts."""
        pixels = prepare(x)
        maps = see(features, pixels)
        content = losses.content(maps[content_layer], batch["content"]).mean()
        style = jnp.zeros(())
        for layer, weight in style_layers.items():
            grams = losses.gram(maps[layer])
            style += weight * losses.style(grams, batch["style"][layer]).mean()
        rough = losses.roughness(pixels).mean() / (x.shape[1] * x.shape[2])
        total = alpha * content + beta * style + smooth * rough
        return total, {"content": content, "style": style, "roughness": rough}

    def loss(nets, batch, key):
        return objective(nets.picture(), nets.features, batch)

    def finished(x, photograph):
        x = jnp.clip(x, -1, 1)
        return in_colours_of(photograph, x) if keep_colours else x

    def show(nets, batch, key):
        return {"picture": finished(nets.picture(), batch["image"])}

    def paint(nets, inputs, key, steps=steps):
        """Another photograph, or another painting: the same optimization, from the photograph."""
        features = lambda x: nets.features.still(x)
        seen = lambda x: features(prepare(x))
        batch = targets(seen, inputs["image"], inputs["style"], content_layer, style_layers)
        value = lambda x: objective(x, features, batch)[0]
        tx = optax.with_extra_args_support(optimizer)

        def step(_, carry):
            x, state = carry
            loss, grad = jax.value_and_grad(value)(x)
            updates, state = tx.update(grad, state, x, value=loss, grad=grad, value_fn=value)
            return optax.apply_updates(x, updates), state

        x = inputs["image"]
        x, _ = jax.lax.fori_loop(0, steps, step, (x, tx.init(x)))
        return finished(x, inputs["image"])

    def pair(batch):
        return {"image": batch["image"], "style": batch["painting"]}, batch["image"]

    return System(
        players={
            "picture": Player(
                Canvas(shape), [], optimizer, variables=start and (lambda: filled(start()))
            ),
            "features": Player(module, [(1, *shape)], variables=variables),
        },
        turns=(Turn(("picture",), loss),),
        show=show,
        abilities=(
            Translator(
                paint,
                pair,
                inputs=("image", "style"),
                options={"steps": Option(steps, "Steps of the optimizer", low=0)},
            ),
        ),
    )


def in_colours_of(photograph: jax.Array, x: jax.Array) -> jax.Array:
    """Y of x with U and V of the photograph: a grey that is added to all three of RGB moves Y
    alone.  Images [b, h, w, 3]."""
    luma = jnp.asarray((0.299, 0.587, 0.114))
    return photograph + ((x - photograph) @ luma)[..., None]
