"""Invertible conditional GANs of faces: `python -m jaxgen.experiments.icgan`."""

import dataclasses
from pathlib import Path

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, Rate, Share, ShareBelowOne, Spec, Weight
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Invertible conditional GANs for image editing (Perarnau et al., 2016),
    https://arxiv.org/abs/1611.06355.

    Two stages: a conditional GAN, then the encoders that invert its generator. `translate` then
    edits an image by attributes. The defaults suit two CPU cores; the paper's numbers are in
    experiments/icgan/paper.toml.
    """

    data: Spec = "faces-edits"
    rounds: Count = 9000
    """Length of the whole training, shared out among the two stages."""
    gan_rounds: Count = 2
    """Share of the conditional GAN, in proportion to the encoders'."""
    encoder_rounds: Count = 1
    """Share of the encoders."""
    latent: Count = 32
    """Numbers of a latent z; 100 in the paper."""
    width: Count = 32
    """Channels of the generator's last hidden level and of the discriminator's first; 64 in the
    paper."""
    encoder_width: Count = 32
    """Channels of the encoders' first layer."""
    latent_units: Count = 1024
    """Hidden units of the latent's encoder; 4096 in the paper."""
    attribute_units: Count = 512
    """Hidden units of the attributes' encoder."""
    lr: Rate = 2e-4
    """Learning rate of the conditional GAN."""
    b1: ShareBelowOne = 0.5
    """Adam's first beta in the conditional GAN."""
    ema: ShareBelowOne = 0.99
    """Decay of the generator's averaged weights; 0 averages none, as in the paper."""
    wrong_by_one: bool = True
    """Attributes that do not fit an image are its own but for one, by lot; otherwise they are
    another's, as in the authors' code."""
    encoder_lr: Rate = 1e-3
    """Learning rate of the encoders; 1e-4 in the paper."""
    decay: bool = True
    """Let the encoders' rate fall to 0 at the last round; the authors' stays."""
    encoder_b1: ShareBelowOne = 0.9
    """Adam's first beta in the encoders; 0.1 in the authors' code."""
    reconstruction: Weight = 1.0
    """Weight by which the latent's encoder learns to reconstruct the data's images; 0 in the
    paper."""
    detail: Share = 1.0
    """Share of what an image's reconstruction lacks that an edit gives back where it changes
    nothing; 0 in the paper."""

    @property
    def rounds_matter(self) -> bool:
        return True  # they are shared out

    def finish(self, run) -> dict[str, Path]:
        """Draws edits.png: held-out images with each attribute in turn the other way."""
        from jaxgen.files import replacing

        path = (self.workdir or Path()) / "edits.png"
        figure = draw(run)
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=110)
        return {"edits": path}


def system(args: Args, info):
    import optax

    from jaxgen.latents import normal
    from jaxgen.models import icgan as models
    from jaxgen.systems.gan.icgan import conditional, icgan
    from jaxgen.train.stages import Stage, share_out

    if not (count := len(info.attribute_names)):
        raise UserError(f"{args.data} has no attributes; name other data")
    early, late = share_out(args.rounds, [args.gan_rounds, args.encoder_rounds])
    generator = models.Generator(info.shape[:2], info.shape[2], args.width)
    discriminator = models.Discriminator(info.shape[:2], args.width)
    encoders = (
        models.Encoder(args.latent, args.latent_units, args.encoder_width),
        models.Encoder(count, args.attribute_units, args.encoder_width),
    )
    sizes = info.shape, count, args.latent, normal(args.latent)
    of_gan = [optax.adam(args.lr, b1=args.b1) for _ in range(2)]
    gan = conditional(generator, discriminator, *sizes, of_gan, args.ema, args.wrong_by_one)
    rate = optax.linear_schedule(args.encoder_lr, 0.0, late) if args.decay else args.encoder_lr
    of_encoders = [optax.adam(rate, b1=args.encoder_b1) for _ in range(2)]
    inverse = icgan(generator, encoders, *sizes, of_encoders, args.reconstruction, args.detail)
    return [Stage("gan", gan, early), Stage("encoders", inverse, late)]


ROWS = 8  # of edits.png


def draw(run):
    """A row for each of some held-out images: it, its reconstruction, its edits."""
    import numpy as np
    from matplotlib.figure import Figure

    images = (run.data.held_out(ROWS) or run.data.examples(ROWS))["image"]
    names, codes = run.info.attribute_names, run.encode(images)
    columns = {"image": images, "reconstruction": run.decode(codes)}
    for i, name in enumerate(names):
        other = codes[:, i - len(names)] < 0
        columns[name] = [
            run.translate(image, set={name: turned})
            for image, turned in zip(images, other, strict=True)
        ]
    figure = Figure(figsize=(1.1 * len(columns), 1.1 * len(images) + 0.3), layout="constrained")
    panels = figure.subplots(len(images), len(columns), squeeze=False)
    for column, (title, pictures) in zip(panels.T, columns.items(), strict=True):
        column[0].set_title(title.replace("_", " "), fontsize=9)
        for panel, picture in zip(column, np.asarray(pictures), strict=True):
            panel.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255)
            panel.axis("off")
    return figure


if __name__ == "__main__":
    launch(system)
