"""Samples of a GAN as training data: `python -m jaxgen.experiments.gan_augmentation`."""

import dataclasses

from jaxgen.commands.flags import Count
from jaxgen.commands.study import Study, finish, launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Study):
    """Do samples of a GAN make a better recogniser? GAN-train and GAN-test (Shmelkov et al., 2018),
    https://arxiv.org/abs/1807.09499.

    Of digits (mnist5k) some of each class are kept, several times, others each time. A conditional
    GAN (the system `cgan`) learns these, and classifiers, all as long, learn: these digits alone;
    the digits, turned and moved; samples of the GAN; the one and the other in equal parts. The
    table has the share of held-out digits that they read correctly, mean and deviation. Numbers and
    figure are in the run folder.
    """

    rounds: Count = 3000
    """Length of each GAN's training."""
    batch_size: Count = 64
    images: tuple[int, ...] = (10, 50, 450)
    """Numbers of digits of each class."""
    repeats: Count = 3
    """Choices of digits, each with a GAN and classifiers of its own."""
    size: Count = 16
    """Side of the digits in pixels: 8, 16, 32, ..."""
    minibatches: Count = 1000
    """Length of each classifier's training, in batches of 128."""

    def check(self):
        if not self.images or min(self.images) < 1 or max(self.images) > 450:
            raise UserError("--images are from 1 to 450, such as 10 50 450")
        if 10 * min(self.images) < self.batch_size:
            few = -(-self.batch_size // 10)
            raise UserError(f"--images are {few} or more, or --batch-size is smaller")
        if self.size < 8 or self.size & (self.size - 1):
            raise UserError(f"--size is 8, 16, 32, ... pixels, not {self.size}")


SETS = {
    "real": "digits",
    "classic": "digits, turned and moved",
    "generated": "samples of the GAN",
    "real + generated": "digits and samples",
    "classic + generated": "moved digits and samples",
    "shuffled": "samples, labels shuffled",
}
COLOURS = ("#000000", "#0072B2", "#D55E00", "#E69F00", "#009E73", "#999999")
MADE, SHOWN = 9000, 10  # images of a set, and samples in the figure


def study(args: Args, run) -> None:
    import numpy as np

    import jaxgen as jg
    from jaxgen.data.pipeline import load
    from jaxgen.evaluate.classifier import SmallClassifier, classifier
    from jaxgen.experiments import cgan
    from jaxgen.runs.trained import TrainedRun
    from jaxgen.train.fit import fit
    from jaxgen.train.metric_logger import round_to
    from jaxgen.train.nets import local

    data = load("mnist5k", size=args.size, channels=1)
    digits, held = data.take(range(len(data))), data.held_out(500)
    assert held is not None
    system = cgan.system(cgan.Args(size=(args.size,) * 2, rounds=args.rounds), data.info)
    right = lambda predict, test: float((predict(test["image"]).argmax(1) == test["label"]).mean())
    table, pictures = [], {}
    for i, (n, repeat) in enumerate((n, k) for n in args.images for k in range(args.repeats)):
        seed, rng = args.seed + repeat, np.random.default_rng((args.seed, n, repeat))
        real = some(digits, n, rng)
        schedule = args.schedule | {"run": run.stage(f"{i}-gan-{n}-{repeat}"), "seed": seed}
        states = fit(system, jg.arrays(real), args.rounds, **schedule)
        trained = TrainedRun(system, local(states), data.info, args.rounds, "cgan")
        labels = np.arange(10, dtype=np.int32)
        made = {
            "image": trained.sample(MADE, batch=1000, seed=seed),
            "label": np.resize(labels, MADE),  # the classes in turn
        }
        entry: dict = {"images": n, "repeat": repeat}
        for name, own in sets(real, made, rng).items():
            net = SmallClassifier(10)
            predict = classifier(own, net, rounds=args.minibatches, seed=seed)
            entry[name] = round_to(right(predict, held))
            if name == "real":
                entry["gan_test"] = round_to(right(predict, made))
        table.append(entry)
        pictures.setdefault(n, made["image"][:SHOWN])
        print("  ".join(f"{k} {x}" for k, x in entry.items()))
    numbers = {"summary": summary(table), "repeats": table}
    finish(run.folder, numbers, draw(numbers, pictures))


def some(digits, n: int, rng):
    """`n` examples of each class, chosen at random."""
    import numpy as np

    classes = [np.flatnonzero(digits["label"] == label) for label in range(10)]
    chosen = np.concatenate([rng.permutation(rows)[:n] for rows in classes])
    return {name: digits[name][chosen] for name in ("image", "label")}


def sets(real, made, rng):
    """What classifiers are trained on, by the names of `SETS`, each of as many examples as `made`:
    digits are repeated, so that half of a mixed set is digits, however few there are."""
    import numpy as np

    n = len(made["label"])
    rows = np.resize(rng.permutation(len(real["label"])), n)
    digits = {name: x[rows] for name, x in real.items()}
    moved = {"image": turned(digits["image"], rng), "label": digits["label"]}
    half = lambda a, b: {k: np.concatenate([a[k][: n // 2], b[k][: n - n // 2]]) for k in a}
    return {
        "real": digits,
        "classic": moved,
        "generated": made,
        "real + generated": half(digits, made),
        "classic + generated": half(moved, made),
        "shuffled": {"image": made["image"], "label": rng.permutation(made["label"])},
    }


def turned(images, rng):
    """Each of uint8 [n, h, w, 1] turned by up to 15 degrees, up to a tenth larger or smaller, and
    moved by up to a tenth of its sides, on black."""
    import numpy as np
    from scipy.ndimage import affine_transform

    sides = np.array(images.shape[1:3])
    out = np.empty_like(images)
    for i, image in enumerate(images[..., 0]):
        angle, scale = np.radians(rng.uniform(-15, 15)), rng.uniform(0.9, 1.1)
        c, s = np.cos(angle) / scale, np.sin(angle) / scale
        matrix, middle = np.array([[c, -s], [s, c]]), (sides - 1) / 2
        offset = middle - matrix @ (middle + rng.uniform(-0.1, 0.1, 2) * sides)
        out[i, ..., 0] = affine_transform(image, matrix, offset, order=1)
    return out


def summary(table):
    """Mean and deviation (of the repeats) of each set's accuracy, and of GAN-test, by number of
    images."""
    import numpy as np

    from jaxgen.train.metric_logger import round_to

    rows = []
    for n in sorted({entry["images"] for entry in table}):
        own = [entry for entry in table if entry["images"] == n]
        row: dict = {"images": n}
        for name in (*SETS, "gan_test"):
            values = [entry[name] for entry in own]
            row[name] = [round_to(float(np.mean(values))), round_to(float(np.std(values)))]
        rows.append(row)
    return rows


def draw(numbers, pictures):
    """Accuracies over the number of digits, with the deviations as bars; and samples."""
    from matplotlib.figure import Figure

    from jaxgen.pictures import grid

    rows, counts = numbers["summary"], sorted(pictures)
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.3, 1])  # pyright: ignore
    axes = left.subplots()
    for (name, title), colour in zip(SETS.items(), COLOURS, strict=True):
        mean, spread = zip(*(row[name] for row in rows), strict=True)
        axes.errorbar(counts, mean, spread, fmt="-o", color=colour, label=title, capsize=3)
    axes.set_xscale("log")
    axes.set(xlabel="digits of each class", xticks=counts, xticklabels=counts, ylim=(0, 1))
    axes.set_title("held-out digits read correctly, by what was learnt from")
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.legend(frameon=False, fontsize=8)
    strips = right.subplots(len(counts), 1, squeeze=False)[:, 0]
    for axes, n in zip(strips, counts, strict=True):
        axes.imshow(grid(pictures[n], columns=SHOWN), cmap="gray")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_title(f"samples of a GAN of {n} digits a class", fontsize=9)
    return figure


if __name__ == "__main__":
    launch(study)
