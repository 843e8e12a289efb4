"""A VAE beside a GAN: `python -m jaxgen.experiments.vae_vs_gan`."""

import dataclasses

from jaxgen.commands.flags import Count, Rate
from jaxgen.commands.study import Study, finish, launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Study):
    """A VAE (Kingma & Welling, 2014), https://arxiv.org/abs/1312.6114, beside a GAN (Goodfellow et
    al., 2014), https://arxiv.org/abs/1406.2661, of the same size.

    Both learn from the same digits (mnist5k) in as many rounds, and make images by the same layers.
    For several numbers of training images the table has: how much of the held-out digits their
    samples cover and how many samples lie among them (SqueezeNet's features), how sharp samples are
    beside digits, the VAE's objective on held-out digits, which a GAN does not have, and
    seconds. Numbers and figure are in the run folder.
    """

    images: tuple[int, ...] = (100, 700, 4500)
    """Numbers of training images."""
    latent: Count = 20
    """Latents of the VAE; the GAN has its paper's 100."""
    units: Count = 1200
    """Units (ReLU) of each of the two hidden layers of decoder and generator."""
    lr: Rate = 4e-4
    """Learning rate of all, by Adam; with beta_1 = 0.5 for the GAN."""

    def check(self):
        if not self.images or min(self.images) < self.batch_size or max(self.images) > 4500:
            raise UserError("--images are from --batch-size to 4500, such as 100 700 4500")


JUDGED, SHOWN = 1000, 10  # samples
COLOURS = {"vae": "#0072B2", "gan": "#D55E00"}
TITLES = {"vae": "VAE", "gan": "GAN"}
PANELS = {
    "coverage": "held-out digits that samples cover",
    "density": "density of digits around samples",
    "sharpness": "sharpness beside digits",
}


def study(args: Args, run) -> None:
    import numpy as np

    import jaxgen as jg
    from jaxgen.data.pipeline import load
    from jaxgen.runs.trained import TrainedRun
    from jaxgen.train.fit import fit
    from jaxgen.train.metric_logger import round_to
    from jaxgen.train.nets import local

    data = load("mnist5k", size=28, channels=1)
    digits, held = data.take(range(len(data)))["image"], data.held_out(500)
    assert held is not None
    judged = jg.arrays({"image": held["image"]})
    chosen = lambda n: digits[np.arange(n) * len(digits) // n]  # of all classes, which are sorted
    table, pictures = [], {}
    for i, (n, name, system) in enumerate(
        (n, name, system) for n in args.images for name, system in systems(args).items()
    ):
        stage = run.stage(f"{i}-{name}-{n}")
        own = jg.arrays({"image": chosen(n)})
        states = fit(system, own, args.rounds, run=stage, **args.schedule)
        trained = TrainedRun(system, local(states), own.info, args.rounds, name)
        found = trained.evaluate("coverage", "density", data=judged, samples=JUDGED)
        samples = trained.sample(JUDGED, batch=JUDGED, seed=args.seed)
        entry = {"images": n, "net": name} | {k: round_to(float(x)) for k, x in found.items()}
        entry["sharpness"] = round_to(float(sharpness(samples) / sharpness(held["image"])))
        if name == "vae":
            entry["elbo"] = round_to(float(trained.evaluate("elbo", data=judged)["elbo"]))
        entry["seconds"] = stage.last()["seconds"]  # of its training, also where it was continued
        table.append(entry)
        pictures[name, n] = samples[:SHOWN]
        print("  ".join(f"{k} {x}" for k, x in entry.items()))
    numbers = {"systems": table}
    finish(run.folder, numbers, draw(numbers, pictures))


def systems(args: Args):
    """The two systems by name."""
    import optax
    from flax import linen as nn

    from jaxgen.models import mlp
    from jaxgen.models.vae import BernoulliDecoder, Encoder
    from jaxgen.systems.gan.gan import gan
    from jaxgen.systems.likelihood.pixels import grey
    from jaxgen.systems.likelihood.vae import vae

    shape, hidden = (28, 28, 1), (args.units,) * 2
    layers = hidden, nn.relu, nn.initializers.lecun_normal()
    coder = Encoder(args.latent, *layers), BernoulliDecoder(shape, *layers)
    pair = mlp.Generator(shape, hidden), mlp.Discriminator(40)
    optimizers = [optax.adam(args.lr, b1=0.5)] * 2
    return {
        "vae": vae(*coder, shape, args.latent, optax.adam(args.lr), grey),
        "gan": gan(*pair, shape, *optimizers),
    }


def sharpness(images):
    """The mean variance, over the images [n, h, w, c], of their Laplacian: small where edges are
    blurred."""
    import numpy as np

    x = np.asarray(images, np.float32) / 255
    near = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
    return (near - 4 * x[:, 1:-1, 1:-1]).var(axis=(1, 2, 3)).mean()


def draw(numbers, pictures):
    """Curves over the number of training images, and samples."""
    from matplotlib.figure import Figure

    from jaxgen.pictures import grid

    counts = sorted({n for _, n in pictures})
    figure = Figure(figsize=(12, 7), layout="constrained")
    above, below = figure.subfigures(2, 1)  # pyright: ignore
    for axes, (what, title) in zip(above.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for name, colour in COLOURS.items():
            own = sorted((e for e in numbers["systems"] if e["net"] == name), key=_images)
            y = [next(x for k, x in entry.items() if k.startswith(what)) for entry in own]
            axes.plot(list(map(_images, own)), y, "-o", color=colour, label=TITLES[name])
        axes.set_xscale("log")
        axes.set(title=title, xlabel="training images", ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
        axes.legend(frameon=False)
    rows = below.subplots(len(counts), 2, squeeze=False)
    for row, n in zip(rows, counts, strict=True):
        for axes, name in zip(row, COLOURS, strict=True):
            axes.imshow(grid(pictures[name, n], columns=SHOWN), cmap="gray")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(f"{n:,}")
    for axes, name in zip(rows[0], COLOURS, strict=True):
        axes.set_title(f"samples of the {TITLES[name]}")
    return figure


def _images(entry):
    return entry["images"]


if __name__ == "__main__":
    launch(study)
