"""A variational autoencoder on digits: `python -m jaxgen.experiments.vae`."""

import dataclasses
from typing import Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Auto-encoding variational Bayes (Kingma & Welling, 2014), https://arxiv.org/abs/1312.6114.

    The defaults are the recipe experiments/vae/quick.toml, sized for two CPU cores; the paper's
    numbers are in experiments/vae/paper.toml, the plane of two latents in manifold.toml.
    """

    size: int = 28
    channels: Literal[1, 3, 4] = 1
    rounds: int = 12000
    batch_size: int = 100
    rounds_per_call: int = 20
    log_every: int = 400
    sample_every: int = 4000
    save_every: int = 4000
    latent: int = 20
    """Numbers in z; with 2 there is a picture of the whole plane."""
    units: int = 500
    """Of a hidden layer."""
    layers: int = 1
    """Hidden layers of the encoder, and of the decoder."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Of the hidden units; tanh is the paper's."""
    pixels: Literal["binary", "grey", "gaussian"] = "binary"
    """binary: Bernoulli decoder of black and white pixels, drawn anew whenever an image is seen.
    grey: of grey levels, which is no likelihood. gaussian: Gaussian decoder of grey levels."""
    optimizer: Literal["adam", "adagrad"] = "adam"
    """adagrad is the paper's."""
    lr: float = 1e-3
    """The learning rate; the paper's are 0.01, 0.02 and 0.1."""
    start: Literal["glorot", "paper"] = "glorot"
    """Of the weights; the paper draws them, and the biases, from N(0, 0.01)."""
    weight_decay: float = 0.0
    """Of the decoder; 1 over the number of training images is the paper's prior."""
    importance_samples: int = 500
    """Of the bounds that `python -m jaxgen evaluate` reports."""

    def check(self) -> None:
        super().check()
        if self.weight_decay < 0:
            raise UserError(f"--weight-decay is 0 or more, not {self.weight_decay:g}")


def system(args: Args, data):
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
        decoder(data.shape, **layers),
        data.shape,
        args.latent,
        optimizer,
        kinds[args.pixels],
        args.weight_decay,
        args.importance_samples,
    )


if __name__ == "__main__":
    launch(system)
