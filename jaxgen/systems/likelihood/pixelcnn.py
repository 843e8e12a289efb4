"""Gated PixelCNN (van den Oord et al., 2016), https://arxiv.org/abs/1606.05328, and PixelCNN++
(Salimans et al., 2017), https://arxiv.org/abs/1701.05517.

An image's likelihood is the product of its pixels', each given those before it in raster order,

    log p(x | h) = sum_i log p(x_i | x_1 ... x_(i-1), h)                           (Eq. 1)

and one call of a network, whose layers never see ahead, gives all of them.  h is the image's label
(Eq. 4), if it has one.  A pixel's distribution is Bernoulli's (pixels are binarised anew whenever
they are seen), 256 probabilities, or PixelCNN++'s mixture of logistics.

An image is drawn pixel by pixel, each by the inverse distribution function of uniform noise.  The
latent is normal; its distribution function is that noise.
"""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.latents import normal
from jaxgen.sample.raster import draw_pixels
from jaxgen.systems.likelihood.pixels import Pixels
from jaxgen.train.abilities import Density, Option, Sampler, Translator
from jaxgen.train.game import Player, System, Turn


def pixelcnn(
    network: nn.Module,
    shape: tuple[int, int, int],
    optimizer: optax.GradientTransformation,
    pixels: Pixels,
    labels: bool = False,
    ema: float | None = None,
) -> System:
    """A network of `models.pixelcnn` on images of `shape` [H, W, C].

    pixels: one of `systems.likelihood.pixels` that can be inverted.
    labels: whether it is told the images' labels.
    """
    height, width, channels = shape

    def likelihood(nets, batch, key, train):
        x = pixels.preprocess((batch["image"] + 1) / 2, key)
        label = (batch["label"],) if labels else ()
        return pixels.log_likelihood(x, nets.network(2 * x - 1, *label, train=train))

    def loss(nets, batch, key):
        log_p = likelihood(nets, batch, key, train=True).mean()
        return -log_p, {"log_likelihood": log_p}

    def log_prob(nets, batch, key):
        return likelihood(nets, batch, key, train=False)

    def draw(nets, z, known, kept, label):
        """Images in [-1, 1]: those `known`, also in [-1, 1], where `kept` [h, w]."""
        net = lambda *args, method: nets.network.still(*args, train=False, method=method)
        invert = lambda u, output: 2 * pixels.invert(u, output) - 1
        u = jax.scipy.special.ndtr(z).reshape(len(z), height, width, -1)
        return draw_pixels(net, invert, u, known, kept, label)

    def generate(nets, z, condition, key):
        known, kept = jnp.zeros((len(z), *shape)), jnp.zeros((height, width), bool)
        return draw(nets, z, known, kept, condition.get("label"))

    def complete(nets, inputs, key, keep=0.5):
        image = inputs["image"]
        known = 2 * pixels.preprocess((image + 1) / 2, key) - 1
        kept = jnp.broadcast_to(jnp.arange(height)[:, None] < keep * height, (height, width))
        label = inputs["label"] if labels else None
        return draw(nets, prior(jax.random.fold_in(key, 1), len(image)), known, kept, label)

    def pair(batch):
        return {k: batch[k] for k in ("image", *condition)}, batch["image"]

    def show(nets, batch, key):
        """Samples; and images beside what their upper halves are completed to."""
        n = min(len(batch["image"]), 32)
        batch = {k: x[:n] for k, x in batch.items()}
        own = {k: batch[k] for k in condition}
        completed = complete(nets, batch, key)
        return {
            "samples": generate(nets, prior(key, n), own, key),
            "completions": jnp.concatenate([batch["image"], completed], axis=2),
        }

    condition = ("label",) if labels else ()
    keep = Option(0.5, "Share of the rows that is kept, from the top", low=0, high=1)
    prior = normal(height * width * (1 + channels))

    def first(examples):
        """What the network is made with: PixelCNN++'s scales start from the data."""
        batch = examples(64)
        return [batch[k] for k in ("image", *condition)]

    return System(
        players={"network": Player(network, first, optimizer, ema=ema)},
        turns=(Turn(("network",), loss),),
        show=show,
        abilities=(
            Sampler(prior, generate, condition=condition, differentiable=False, traversable=False),
            Density(log_prob, exact=True, of=pixels.of),
            Translator(
                complete, pair, ("image", *condition), any_size=False, options={"keep": keep}
            ),
        ),
    )
