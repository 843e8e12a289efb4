"""A deep autoencoder of digits: `python -m jaxgen.experiments.autoencoder`."""

import dataclasses
from typing import Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, Rate, Size, size_text
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Reducing the dimensionality of data with neural networks (Hinton & Salakhutdinov, 2006),
    https://doi.org/10.1126/science.1127647.

    Four restricted Boltzmann machines, then the autoencoder that they become. The defaults suit
    two CPU cores.
    """

    size: Size = (28, 28)
    channels: Literal[1, 3, 4] = 1
    rounds: Count = 6000
    """Length of the whole training, shared out among the machines and the fine-tuning."""
    batch_size: Count = 100
    rounds_per_call: Count = 20
    log_every: Count = 100
    sample_every: Count = 1000
    save_every: Count = 1000
    net: Literal["deep", "conv"] = "deep"
    """Network: dense layers of logistic units, or convolutions with ReLU."""
    latent: Count = 30
    """Numbers of a code; with 2 there is a picture of their plane."""
    pretraining: bool = True
    """Start the dense layers as restricted Boltzmann machines."""
    machine_rounds: Count = 450
    """Share of each machine, in proportion to the fine-tuning's; 10 epochs in the authors' code."""
    tune_rounds: Count = 4200
    """Share of the fine-tuning."""
    lr: Rate = 1e-3
    """Learning rate of the fine-tuning, by Adam."""

    @property
    def rounds_matter(self) -> bool:
        return True  # they are shared out

    def check(self) -> None:
        super().check()
        if self.net == "conv" and any(side % 4 for side in self.size):
            raise UserError(f"--net conv needs sides that 4 divides, not {size_text(self.size)}")


def system(args: Args, info):
    import optax

    from jaxgen.models import autoencoder as models
    from jaxgen.systems.likelihood.autoencoder import autoencoder, machine, rbm_optimizer, unroll
    from jaxgen.train.stages import Stage, share_out

    adam = optax.adam(args.lr)
    if args.net == "conv":
        nets = models.ConvEncoder(args.latent), models.ConvDecoder(info.shape)
        return autoencoder(*nets, info.shape, args.latent, adam)
    hidden = (1000, 500, 250)
    nets = models.Encoder((*hidden, args.latent)), models.Decoder(info.shape, hidden[::-1])
    tuned = autoencoder(*nets, info.shape, args.latent, adam)
    if not args.pretraining:
        return tuned
    machines = [*(models.RBM(n) for n in hidden), models.RBM(args.latent, linear=True)]
    rounds = share_out(args.rounds, [args.machine_rounds] * 4 + [args.tune_rounds])
    stages = [
        Stage(
            f"rbm{i}",
            machine(
                machines[:i],
                own,
                info.shape,
                rbm_optimizer(1e-3 if own.linear else 0.1, late=n // 2),
            ),
            n,
        )
        for i, (own, n) in enumerate(zip(machines, rounds, strict=False))
    ]
    return [*stages, Stage("autoencoder", tuned, rounds[-1], carry=unroll)]


if __name__ == "__main__":
    launch(system)
