"""A deep autoencoder of digits: `python -m jaxgen.experiments.autoencoder`."""

import dataclasses
from pathlib import Path
from typing import Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, Rate, Size, size_text
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Reducing the dimensionality of data with neural networks (Hinton & Salakhutdinov, 2006),
    https://doi.org/10.1126/science.1127647.

    A restricted Boltzmann machine for each layer, then the autoencoder that they become. The
    defaults suit two CPU cores.
    """

    size: Size = (28, 28)
    channels: Literal[1, 3, 4] = 1
    rounds: Count = 4000
    """Length of the whole training, shared out among the machines and the fine-tuning."""
    batch_size: Count = 100
    rounds_per_call: Count = 20
    log_every: Count = 100
    sample_every: Count = 1000
    save_every: Count = 1000
    net: Literal["deep", "conv"] = "deep"
    """Networks. deep: dense layers of logistic units. conv: convolutions with ReLU, which have no
    pre-training."""
    units: tuple[int, ...] = (1000, 500, 250)
    """Units of the encoder's dense layers before the code; the decoder's are the same."""
    latent: Count = 30
    """Numbers of a code; with 2 there are pictures of their plane."""
    pretraining: bool = True
    """Start the dense layers as restricted Boltzmann machines."""
    machine_rounds: Count = 450
    """Share of each machine, in proportion to the fine-tuning's; 10 epochs of digits are the
    authors' code's."""
    tune_rounds: Count = 2200
    """Share of the fine-tuning."""
    lr: Rate = 1e-3
    """Learning rate of the fine-tuning, by Adam."""

    @property
    def rounds_matter(self) -> bool:
        return True  # they are shared out

    def check(self) -> None:
        super().check()
        if not self.units or min(self.units) < 1:
            raise UserError("--units are numbers of 1 or more, such as 1000 500 250")
        if self.net == "conv" and any(side % 4 for side in self.size):
            near = size_text(tuple(side - side % 4 or 4 for side in self.size))
            raise UserError(
                f"--net conv needs sides that 4 divides, such as --size {near}, not "
                f"{size_text(self.size)}"
            )

    def finish(self, run) -> dict[str, Path]:
        """Draws codes.png, where codes have two numbers."""
        if self.latent != 2:
            return {}
        from jaxgen.files import replacing

        path = (self.workdir or Path()) / "codes.png"
        figure = draw(run)
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=110)
        return {"codes": path}


def system(args: Args, info):
    import optax

    from jaxgen.models import autoencoder as models
    from jaxgen.systems.likelihood.autoencoder import autoencoder, machine, unroll
    from jaxgen.train import optim
    from jaxgen.train.stages import Stage, share_out

    if args.net == "conv":
        nets = models.ConvEncoder(args.latent), models.ConvDecoder(info.shape)
    else:
        nets = (
            models.Encoder((*args.units, args.latent)),
            models.Decoder(info.shape, args.units[::-1]),
        )
    tuned = autoencoder(*nets, info.shape, args.latent, optax.adam(args.lr))
    if args.net == "conv" or not args.pretraining:
        return tuned
    machines = [*map(models.RBM, args.units), models.RBM(args.latent, linear=True)]
    shares = [args.machine_rounds] * len(machines) + [args.tune_rounds]
    *rounds, last = share_out(args.rounds, shares)
    stages = []
    for i, (own, n) in enumerate(zip(machines, rounds, strict=True)):
        optimizer = optim.rbm(1e-3 if own.linear else 0.1, late=n // 2)
        stages.append(Stage(f"rbm{i}", machine(machines[:i], own, info.shape, optimizer), n))
    return [*stages, Stage("autoencoder", tuned, last, carry=unroll)]


KNOWN = 5000  # training images, at most, that components and neighbours are taken from


def draw(run):
    """The codes of held-out images beside their first two principal components (Fig. 3), coloured
    by class, and how well the classes can be read off them by nearest neighbours."""
    import numpy as np
    from matplotlib.figure import Figure

    from jaxgen.metrics.probe import nearest_neighbours

    train = run.data.examples(min(KNOWN, len(run.data)))
    held = run.data.held_out(KNOWN) or train
    flat = [np.float32(x["image"]).reshape(len(x["image"]), -1) for x in (train, held)]
    mean = flat[0].mean(axis=0)
    axes = np.linalg.svd(flat[0] - mean, full_matrices=False)[2][:2]
    axes = np.pad(axes, ((0, 2 - len(axes)), (0, 0))).T  # one image has a single axis
    planes = {
        "autoencoder": [run.encode(x["image"]) for x in (train, held)],
        "two principal components": [(x - mean) @ axes for x in flat],
    }
    names = run.data.info.label_names
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    for panel, (title, (known, codes)) in zip(figure.subplots(1, 2), planes.items(), strict=True):
        if names and held is not train:
            guess = nearest_neighbours(known, train["label"], codes)
            share = np.mean(guess == held["label"])
            title += f": {share:.0%} by nearest neighbours"
        for label in range(max(1, len(names))):
            own = codes[held["label"] == label] if names else codes
            style = {"color": f"C{label}", "ms": 8, "mew": 0, "alpha": 0.8}
            panel.plot(*own.T, ".", label=names[label] if names else None, **style)
        panel.set(title=title, xticks=[], yticks=[])
    if 0 < len(names) <= 20:
        figure.legend(*panel.get_legend_handles_labels(), loc="outside right", frameon=False)
    return figure


if __name__ == "__main__":
    launch(system)
