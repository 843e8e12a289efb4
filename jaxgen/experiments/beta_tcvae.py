"""beta-TCVAE, beta-VAE and VAE on sprites: `python -m jaxgen.experiments.beta_tcvae`."""

import dataclasses
from typing import Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, Rate, Spec, Weight
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Isolating sources of disentanglement (Chen et al., 2018), https://arxiv.org/abs/1802.04942.

    Three seeds are trained side by side. The defaults suit two CPU cores; the paper's numbers are
    in experiments/beta_tcvae/paper.toml.
    """

    data: Spec = "sprites"
    channels: Literal[1, 3, 4] = 1
    rounds: Count = 4000
    batch_size: Count = 512
    rounds_per_call: Count = 20
    log_every: Count = 100
    sample_every: Count = 1000
    save_every: Count = 1000
    seeds: Count = 3
    objective: Literal["vae", "beta-vae", "beta-tcvae"] = "beta-tcvae"
    """What is raised. vae: the lower bound. beta-vae: its KL term weighs --beta. beta-tcvae: of the
    KL term's three parts the total correlation weighs --beta."""
    beta: Weight = 6.0
    """Weight of the total correlation, or of beta-vae's KL term."""
    estimator: Literal["mws", "mss"] = "mws"
    """Estimator of the distribution of all codes from a minibatch: weighted (mws) or stratified
    (mss) sampling."""
    latent: Count = 10
    """Dimensions of z."""
    net: Literal["mlp", "conv"] = "mlp"
    """The networks. mlp: the paper's for dSprites. conv: its authors' for faces."""
    units: Count = 256
    """Units of each hidden layer of the mlp: two in the encoder, three in the decoder; 1200 in the
    paper."""
    pixels: Literal["binary", "grey"] = "binary"
    """Model of the pixels. binary: of black and white ones, drawn anew whenever an image is seen.
    grey: of grey levels, which is no likelihood."""
    lr: Rate = 1e-3
    """Learning rate of Adam."""
    importance_samples: Count = 500
    """Samples of z for the bounds that `python -m jaxgen evaluate` reports."""

    def check(self) -> None:
        super().check()
        if self.estimator == "mss" and self.batch_size < 2 * self.accumulate:
            parts = f" in each of {self.accumulate} parts" if self.accumulate > 1 else ""
            raise UserError(f"--estimator mss takes a --batch-size of 2 or more{parts}")


def system(args: Args, info):
    import optax
    from flax import linen as nn

    from jaxgen.models import beta_tcvae as conv
    from jaxgen.models import vae as mlp
    from jaxgen.systems.likelihood import pixels
    from jaxgen.systems.likelihood.beta_tcvae import beta_tcvae

    if args.estimator == "mss" and not info.examples:
        raise UserError(
            f"--estimator mss needs the number of images, which {args.data} does not tell; use mws"
        )
    if args.estimator == "mss" and info.examples < args.batch_size:
        raise UserError(
            f"--estimator mss takes a --batch-size of at most {info.examples:,}, all images"
        )
    if args.net == "conv":
        encoder, decoder = conv.ConvEncoder(args.latent), conv.ConvDecoder(info.shape)
    else:
        encoder = mlp.Encoder(args.latent, (args.units,) * 2, nn.relu)
        decoder = mlp.BernoulliDecoder(info.shape, (args.units,) * 3, nn.tanh)
    return beta_tcvae(
        encoder,
        decoder,
        info.shape,
        args.latent,
        optax.adam(args.lr),
        info.examples,
        args.objective,
        args.beta,
        args.estimator,
        {"binary": pixels.binary, "grey": pixels.grey}[args.pixels],
        args.importance_samples,
    )


if __name__ == "__main__":
    launch(system)
