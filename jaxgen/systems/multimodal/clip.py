"""CLIP (Radford et al., 2021), https://arxiv.org/abs/2103.00020.

An image tower and a text tower learn one space, in which an image is nearest to its own caption.
With unit vectors x_i, y_i of the B pairs of a batch and a learned t, both towers lower (Fig. 3)

    L = 1/2 mean_i [-log softmax_j(exp(t) x_i . y_j)_i  -  log softmax_j(exp(t) y_i . x_j)_i],

over the pairs of all devices.  exp(t) begins at 1 / 0.07 and is kept from growing beyond 100.

A trained one classifies images by the names of classes, none of which it was trained for (Sec.
3.1), finds texts for images and images for texts, and has features for a linear probe (Sec. 3.2).

Deviations.  The towers start alike, by the rule that the released code has for the text alone;
only its transformers are here, not its residual networks.  t is a player of its own.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.losses import contrastive
from jaxgen.models.clip import Temperature, prepare
from jaxgen.nn import imagenet
from jaxgen.train.abilities import Embedder
from jaxgen.train.game import Player, System, Turn
from jaxgen.train.optim import clip_weights

MAX_SCALE = 100.0
LEGENDS = {
    "nearest": "Each row: a caption's own image, then the images nearest to the caption",
    "cosines": "Cosine of each image (row) with each caption (column): black is -1, white is 1",
}


def adamw(lr: Callable | float, weight_decay: float, b2: float) -> optax.GradientTransformation:
    """AdamW that decays neither gains nor biases (Sec. 2.5)."""
    matrices = lambda params: jax.tree.map(lambda x: x.ndim > 1, params)
    return optax.adamw(lr, b2=b2, eps=1e-6, weight_decay=weight_decay, mask=matrices)


def clip(
    image: nn.Module,
    text: nn.Module,
    shape: tuple[int, int, int],
    context: int,
    optimizer: optax.GradientTransformation,
    prompts: tuple[str, ...] = ("a photo of a {}.",),
) -> System:
    """Towers of `models.clip` for images of `shape` [H, W, C] and texts of `context` tokens.

    prompts: what is said of a class to be recognised; {} stands for its name.
    """

    def see(nets, batch, **options):
        return nets.image(prepare(imagenet.rgb(batch["image"])), **options)

    def read(nets, batch):
        return nets.text(batch["text"])

    def loss(nets, batch, key):
        scale = nets.temperature()
        value, found = contrastive.symmetric(see(nets, batch), read(nets, batch), scale)
        return value, {"found": found, "scale": scale}

    def show(nets, batch, key):
        """Strips of a caption's own image and the ones nearest to the caption; and the cosines of
        all images (rows) and captions, from -1 (black) to 1 (white)."""
        images, n = batch["image"], len(batch["image"])
        x, y = contrastive.unit(see(nets, batch)), contrastive.unit(read(nets, batch))
        rows = math.isqrt(n)
        nearest = jnp.argsort(-(y[:rows] @ x.T), axis=1)[:, : rows - 1]
        chosen = jnp.concatenate([jnp.arange(rows)[:, None], nearest], axis=1)
        cosines = jnp.repeat(jnp.repeat(x @ y.T, 4, axis=0), 4, axis=1)
        height, width, channels = shape
        strips = images[chosen].swapaxes(1, 2).reshape(rows, height, rows * width, channels)
        return {"nearest": strips, "cosines": cosines[None, :, :, None]}

    held = optax.chain(optimizer, clip_weights(math.log(MAX_SCALE)))
    return System(
        players={
            "image": Player(image, [(2, *shape[:2], 3)], optimizer),
            "text": Player(text, [jnp.zeros((2, context), jnp.int32)], optimizer),
            "temperature": Player(Temperature(), [], held),
        },
        turns=(Turn(("image", "text", "temperature"), loss, name="towers"),),
        show=show,
        legends=LEGENDS,
        abilities=(
            Embedder(
                features=lambda nets, batch: see(nets, batch, features=True),
                image=see,
                text=read,
                scale=lambda nets: nets.temperature(),
                prompts=prompts,
            ),
        ),
    )
