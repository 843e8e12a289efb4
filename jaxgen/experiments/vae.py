"""A variational autoencoder on digits: `python -m jaxgen.experiments.vae`."""

import dataclasses
from typing import Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, Rate, Size, Weight
from jaxgen.commands.launch import launch


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Auto-encoding variational Bayes (Kingma & Welling, 2014), https://arxiv.org/abs/1312.6114.

    The defaults suit two CPU cores; the paper's
    numbers are in experiments/vae/paper.toml, the plane of two latents in manifold.toml.
    """

    size: Size = (28, 28)
    channels: Literal[1, 3, 4] = 1
    rounds: Count = 12000
    batch_size: Count = 100
    rounds_per_call: Count = 20
    log_every: Count = 400
    sample_every: Count = 4000
    save_every: Count = 4000
    latent: Count = 20
    """Dimensions of z; with 2 there is a picture of the whole plane."""
    units: Count = 500
    """Units of a hidden layer."""
    layers: Count = 1
    """Hidden layers of the encoder, and of the decoder."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Nonlinearity of the hidden units; tanh is the paper's."""
    pixels: Literal["binary", "grey", "gaussian"] = "binary"
    """Model of the pixels. binary: Bernoulli decoder of black and white pixels, drawn anew whenever
    an image is seen. grey: of grey levels, which is no likelihood. gaussian: Gaussian decoder of
    grey levels."""
    optimizer: Literal["adam", "adagrad"] = "adam"
    """The optimizer; adagrad is the paper's."""
    lr: Rate = 1e-3
    """Learning rate; the paper's are 0.01, 0.02 and 0.1."""
    start: Literal["glorot", "paper"] = "glorot"
    """Start of the weights; the paper draws them, and the biases, from N(0, 0.01)."""
    weight_decay: Weight = 0.0
    """Weight decay of the decoder; 1 over the number of training images is the paper's prior."""
    importance_samples: Count = 500
    """Samples of z for the bounds that `python -m jaxgen evaluate` reports."""


def system(args: Args, info):
    import optax
    from flax import linen as nn

    from jaxgen.models import vae as models
    from jaxgen.systems.likelihood import pixels
    from jaxgen.systems.likelihood.vae import vae

    layers = {
        "hidden": (args.units,) * args.layers,
        "activation": {"tanh": nn.tanh, "relu": nn.relu}[args.activation],
        **(models.paper_start if args.start == "paper" else {}),
    }
    kinds = {"binary": pixels.binary, "grey": pixels.grey, "gaussian": pixels.gaussian}
    gaussian = args.pixels == "gaussian"
    decoder = models.GaussianDecoder if gaussian else models.BernoulliDecoder
    if args.optimizer == "adam":
        optimizer = optax.adam(args.lr)
    else:
        optimizer = optax.adagrad(args.lr, initial_accumulator_value=0.0)
    return vae(
        models.Encoder(args.latent, **layers),
        decoder(info.shape, **layers),
        info.shape,
        args.latent,
        optimizer,
        kinds[args.pixels],
        args.weight_decay,
        args.importance_samples,
    )


if __name__ == "__main__":
    launch(system)
