"""Random codes of autoencoders and of VAEs: `python -m jaxgen.experiments.codes`."""

import dataclasses

from jaxgen.commands.flags import Count, Rate
from jaxgen.commands.study import Study, finish, launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Study):
    """Random codes of an autoencoder and of a VAE (Kingma & Welling, 2014),
    https://arxiv.org/abs/1312.6114.

    For each size of the code both are trained on digits (mnist5k): the same layers and the same
    likelihood, the VAE with noise on its code and the KL divergence from N(0, I). Codes are drawn
    from the Gaussian that has the mean and the covariance of all codes, and decoded. A classifier,
    which is trained on the digits first, says how sure it is of what they show. Numbers and figure
    are in the run folder.
    """

    latents: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    """Sizes of the code."""
    units: Count = 500
    """Units (ReLU) of each of the two hidden layers, of encoder and decoder."""
    lr: Rate = 1e-3
    """Learning rate of both, by Adam."""

    def check(self):
        if not self.latents or min(self.latents) < 1:
            raise UserError("--latents are sizes of 1 or more, such as 2 8 32")


DRAWN = 1000  # codes
SHOWN = 10  # of them
COLOURS = {"autoencoder": "#D55E00", "vae": "#0072B2"}
TITLES = {"autoencoder": "autoencoder", "vae": "VAE"}
LABELS = {"reconstructed": "codes of digits", "random": "random codes", "prior": "codes of N(0, I)"}


def study(args: Args, run) -> None:
    import numpy as np
    from jax.nn import softmax

    from jaxgen.data.pipeline import load
    from jaxgen.evaluate.classifier import SmallClassifier, classifier
    from jaxgen.train.fit import fit
    from jaxgen.train.metric_logger import round_to
    from jaxgen.train.nets import local

    data = load("mnist5k", size=28, channels=1)
    train, held = data.take(range(len(data))), data.held_out(500)
    assert held is not None
    judge = run.stage("0-classifier")
    predict = classifier(train, SmallClassifier(10), seed=args.seed, run=judge)

    def confidence(images):
        """The mean probability of the likeliest class."""
        return round_to(float(softmax(predict(images)).max(axis=1).mean()))

    rng = np.random.default_rng(args.seed)
    table, pictures = [], {}
    for i, (latent, name, system) in enumerate(systems(args), start=1):
        stage = run.stage(f"{i}-{name}-{latent}")
        states = fit(system, data, args.rounds, run=stage, **args.schedule)
        encode, decode = coder(system, local(states))
        drawn = decode(gaussian(encode(train["image"]), DRAWN, rng))
        again = decode(encode(held["image"]))
        error = ((np.float32(again) - held["image"]) ** 2).sum(axis=(1, 2, 3)).mean() / 255**2
        entry = {"latent": latent, "net": name, "random": confidence(drawn)}
        if name == "vae":
            entry["prior"] = confidence(decode(rng.normal(size=(DRAWN, latent))))
        entry |= {"reconstructed": confidence(again), "squared_error": round_to(float(error))}
        table.append(entry)
        pictures[name, latent] = drawn[:SHOWN]
        print("  ".join(f"{k} {x}" for k, x in entry.items()))
    right = predict(held["image"]).argmax(axis=1) == held["label"]
    numbers = {
        "classifier_accuracy": float(right.mean()),
        "digits": confidence(held["image"]),
        "codes": table,
    }
    finish(run.folder, numbers, draw(numbers, pictures))


def systems(args: Args):
    """(size of the code, name, system) of each training."""
    import optax
    from flax import linen as nn

    from jaxgen.models import autoencoder as plain
    from jaxgen.models import vae as random
    from jaxgen.systems.likelihood.autoencoder import autoencoder
    from jaxgen.systems.likelihood.pixels import grey
    from jaxgen.systems.likelihood.vae import vae

    shape, adam, hidden = (28, 28, 1), optax.adam(args.lr), (args.units,) * 2
    layers = hidden, nn.relu, nn.initializers.lecun_normal()  # as those of `plain` start
    for latent in args.latents:
        nets = plain.Encoder((*hidden, latent), nn.relu), plain.Decoder(shape, hidden, nn.relu)
        yield latent, "autoencoder", autoencoder(*nets, shape, latent, adam)
        nets = random.Encoder(latent, *layers), random.BernoulliDecoder(shape, *layers)
        yield latent, "vae", vae(*nets, shape, latent, adam, grey)


def gaussian(codes, n: int, rng):
    """`n` codes, drawn from the Gaussian that has the moments of `codes` [m, k]."""
    import numpy as np

    covariance = np.atleast_2d(np.cov(codes.T))
    return rng.multivariate_normal(codes.mean(axis=0), covariance, n)


def coder(system, states):
    """Images uint8 to codes, and codes to images uint8."""
    import jax
    import numpy as np

    from jaxgen.data.source import to_float
    from jaxgen.pictures import as_uint8
    from jaxgen.train.abilities import Autoencoder
    from jaxgen.train.nets import bind

    ability, nets = system.ability(Autoencoder), bind(states, jax.random.key(0))
    encode = jax.jit(lambda images: ability.encode(nets, to_float(images)))
    decode = jax.jit(lambda codes: ability.decode(nets, codes))
    return lambda x: np.asarray(encode(x)), lambda z: as_uint8(decode(np.float32(z)))


def draw(numbers, pictures):
    """How sure the classifier is, over the size of the code; and images of random codes."""
    from matplotlib.figure import Figure

    from jaxgen.pictures import grid

    latents = sorted({latent for _, latent in pictures})
    figure = Figure(figsize=(13, 5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.6])  # pyright: ignore
    axes = left.subplots()
    for name, colour in COLOURS.items():
        own = sorted((e for e in numbers["codes"] if e["net"] == name), key=lambda e: e["latent"])
        x = [entry["latent"] for entry in own]
        for what, style in {"reconstructed": ":", "random": "-o", "prior": "--^"}.items():
            if what in own[0]:
                label = f"{TITLES[name]}, {LABELS[what]}"
                axes.plot(x, [entry[what] for entry in own], style, color=colour, label=label)
    axes.axhline(numbers["digits"], color="#777777", lw=0.8, label="held-out digits")
    axes.set_xscale("log", base=2)
    axes.set(xlabel="numbers of a code", xticks=latents, xticklabels=latents)
    axes.set_title("mean probability of the likeliest class")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.legend(frameon=False, fontsize=8)
    rows = right.subplots(len(latents), 2, squeeze=False)
    for row, latent in zip(rows, latents, strict=True):
        for axes, name in zip(row, COLOURS, strict=True):
            axes.imshow(grid(pictures[name, latent], columns=SHOWN), cmap="gray")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(latent)
    for axes, name in zip(rows[0], COLOURS, strict=True):
        axes.set_title(f"random codes of the {TITLES[name]}")
    return figure


if __name__ == "__main__":
    launch(study)
