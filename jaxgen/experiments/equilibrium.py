"""GANs on their way to equilibrium: `python -m jaxgen.experiments.equilibrium`."""

import dataclasses
import math
from typing import Literal

from jaxgen.commands.flags import Count, Rate, Weight
from jaxgen.commands.study import Study, finish, launch


@dataclasses.dataclass(frozen=True)
class Args(Study):
    """GAN losses on mixtures in the plane (Goodfellow et al., 2014), https://arxiv.org/abs/1406.2661.

    One system is played with the minimax loss, the non-saturating one and WGAN-GP's, and once in
    haste, the discriminator at --hasty-lr, so that modes are lost. In theory D tends to 1/2 and V
    to -log 4 (Theorem 1), and with k of n modes found V is a known number above that. Data and
    networks are those of WGAN-GP's toy study (https://arxiv.org/abs/1704.00028), the networks at a
    quarter of their width.
    """

    rounds: Count = 8000
    batch_size: Count = 256
    rounds_per_call: Count = 50
    log_every: Count = 100
    save_every: Count = 400
    sample_every: Count = 2000
    data: Literal["ring", "grid", "swiss-roll"] = "ring"
    """Distribution of the data: 8 Gaussians on a circle, 25 on a grid, or a spiral (which has no
    modes to count)."""
    width: Count = 128
    """Units of the networks' three hidden layers; 512 in the paper."""
    generator_lr: Rate = 2e-3
    """Learning rate of the generators (Adam); like all rates it falls linearly to 0."""
    lr: Rate = 2e-4
    """Learning rate of the discriminator with the minimax and the non-saturating loss."""
    critic_lr: Rate = 1e-3
    """Learning rate of WGAN-GP's critic."""
    hasty_lr: Rate = 1e-2
    """Learning rate of the discriminator in the run that is to lose modes."""
    penalty: Weight = 0.1
    """Weight of WGAN-GP's penalty, lambda; 0.1 in its authors' toy script."""
    critic_steps: Count = 3
    """WGAN-GP's critic steps a round; 5 in its paper."""


JUDGED = 10_000  # points and samples
MEANS = "d_real", "d_fake", "value"  # of D(x), of D(G(z)), and V (or WGAN-GP's distance)
TITLES = {
    "minimax": "minimax",
    "non-saturating": "non-saturating",
    "wgan-gp": "WGAN-GP",
    "hasty": "non-saturating,\nD too fast",
}
COLOURS = dict(zip(TITLES, ("#0072B2", "#D55E00", "#009E73", "#AA4499"), strict=True))


def study(args: Args, run) -> None:
    import jax
    import numpy as np

    from jaxgen.data import toy
    from jaxgen.metrics.modes import coverage
    from jaxgen.systems.gan.points import judge
    from jaxgen.train import devices
    from jaxgen.train.checkpoints import Checkpoints
    from jaxgen.train.fit import fit
    from jaxgen.train.metric_logger import round_to
    from jaxgen.train.nets import bind, placed, shapes

    sample, *mixture = {
        "ring": (toy.ring, toy.RING_MODES, toy.RING_STD),
        "grid": (toy.grid, toy.GRID_MODES, toy.GRID_STD),
        "swiss-roll": (toy.swiss_roll,),
    }[args.data]
    key_data, key_noise = jax.random.split(jax.random.key(args.seed))
    real = sample(key_data, JUDGED)
    histories = {}
    for i, (name, (pair, system)) in enumerate(games(args).items()):
        stage = run.stage(f"{i}-{name}")
        fit(system, toy.Endless(sample), args.rounds, run=stage, keep=args.rounds, **args.schedule)

        @jax.jit
        def look(states, system=system, pair=pair):
            return judge(pair, bind(states, key_noise), real, key_noise)

        # What was saved on the way is judged afterwards, on many more points than a minibatch has.
        checkpoints = Checkpoints(stage.folder / "checkpoints", write=False)
        mesh = devices.make_mesh(jax.local_devices()[:1])
        like = placed(shapes(system), mesh)
        histories[name] = []
        for round in checkpoints.rounds():
            _, states, _ = checkpoints.restore(like, round=round)  # pyright: ignore (it is there)
            drawn, *means = map(np.asarray, look(states))
            means = [round_to(float(mean)) for mean in means]
            entry = {"round": round} | dict(zip(MEANS, means, strict=True))
            if mixture:
                entry |= coverage(drawn, *mixture)._asdict()
            histories[name].append(entry | {"samples": drawn[:2000]})
        checkpoints.close()

    numbers = {
        name: [{k: x for k, x in entry.items() if k != "samples"} for entry in history]
        for name, history in histories.items()
    }
    for name, history in numbers.items():
        print(f"{name:15}", ", ".join(f"{k} {x}" for k, x in history[-1].items()))
    modes = len(mixture[0]) if mixture else 0
    numbers = {"data": args.data, "modes": modes, "runs": numbers}
    finish(run.folder, numbers, draw(np.asarray(real)[:2000], histories, modes))


def games(args: Args):
    """The games by name: the losses, and the system that plays by them."""
    import optax

    from jaxgen.losses import adversarial
    from jaxgen.systems.gan.points import points

    def adam(rate, steps=1):
        return optax.adam(optax.linear_schedule(rate, 0, steps * args.rounds), 0.5, 0.999)

    def play(game, lr, penalty=0.0, steps=1):
        players = adam(args.generator_lr), adam(lr, steps)
        return game, points(game, *players, penalty, steps, args.width)

    return {
        "minimax": play(adversarial.minimax, args.lr),
        "non-saturating": play(adversarial.non_saturating, args.lr),
        "wgan-gp": play(adversarial.wasserstein, args.critic_lr, args.penalty, args.critic_steps),
        "hasty": play(adversarial.non_saturating, args.hasty_lr),
    }


def draw(real, histories, modes: int):
    """Samples (a row a run, a column a round) over curves of D, of V and of the modes."""
    from matplotlib.figure import Figure

    first = next(iter(histories.values()))
    chosen = sorted({max(0, len(first) * part // 20 - 1) for part in (1, 3, 6, 10, 20)})
    figure = Figure(figsize=(11, 13), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[9.2, 3.4])  # pyright: ignore
    rows = above.subplots(len(histories), len(chosen), squeeze=False, sharex=True, sharey=True)
    for row, (name, history) in zip(rows, histories.items(), strict=True):
        row[0].set_ylabel(TITLES[name], color=COLOURS[name], fontsize=12)
        for axes, place in zip(row, chosen, strict=True):
            entry = history[min(place, len(history) - 1)]
            axes.plot(*real.T, ".", ms=3, color="#bbbbbb", mew=0, rasterized=True)
            axes.plot(*entry["samples"].T, ".", ms=2, color=COLOURS[name], mew=0, rasterized=True)
            axes.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal", xticks=[], yticks=[])
            axes.set_xlabel(caption(name, entry, modes), fontsize=8.5, labelpad=3)
            if row is rows[0]:
                axes.set_title(f"round {entry['round']:,}", fontsize=11)
    above.suptitle("Samples (coloured) over data (grey)", fontsize=13)
    panels = below.subplots(1, 3 if modes else 2)
    curves(panels, histories, modes)
    return figure


def caption(name, entry, modes):
    what = "distance" if name == "wgan-gp" else "V"
    found = f", {entry['covered']} of {modes} modes" if modes else ""
    return f"{what} {round(entry['value'], 2) + 0.0:.2f}{found}"  # never -0.00


def curves(panels, histories, modes):
    import jax.numpy as jnp

    from jaxgen.losses.divergences import minimax_value
    from jaxgen.metrics.modes import jensen_shannon_of

    outputs, values, *rest = panels
    for name, history in histories.items():
        series = {k: [entry[k] for entry in history] for k in history[0]}
        rounds, style = series["round"], {"color": COLOURS[name], "lw": 1.5}
        if name != "wgan-gp":
            outputs.plot(rounds, series["d_real"], "-", **style)
            outputs.plot(rounds, series["d_fake"], "--", **style)
            values.plot(rounds, series["value"], "-", **style)
        if rest:
            label = TITLES[name].replace("\n", " ")
            rest[0].plot(rounds, series["covered"], "-", label=label, **style)
            share = [modes * x for x in series["high_quality"]]
            rest[0].plot(rounds, share, ":", **style)
    outputs.axhline(0.5, color="#444444", lw=0.8)
    outputs.set(title="mean D(x) (solid), D(G(z)) (dashed)", ylim=(0, 1))
    values.axhline(-math.log(4), color="#444444", lw=0.8)
    mark = {"va": "center", "fontsize": 8, "color": "#444444"}
    low, high = -1.45, -0.6
    values.set(title="V(D, G), and its levels by theory", ylim=(low, high))
    for k in range(1, modes + 1) if modes else ():
        level = float(minimax_value(jnp.asarray(jensen_shannon_of(k, modes))))
        if level < high and (modes < 10 or k % 5 == 0):
            values.axhline(level, color="#777777", lw=0.7, ls=":")
            found = "-log 4" if k == modes else f"{k} of {modes}"
            values.text(1.02, level, found, transform=values.get_yaxis_transform(), **mark)
    if rest:
        rest[0].set(title="modes covered (dotted: samples on modes)", ylim=(0, modes * 1.04))
        rest[0].secondary_yaxis(
            "right", functions=(lambda y: y / modes, lambda y: y * modes)
        ).set_ylabel("share within 3 std of a mode")
        rest[0].legend(frameon=False, fontsize=8, loc="lower right")
    for axes in panels:
        axes.set_xlabel("round")
        axes.spines[["top"]].set_visible(False)
        axes.grid(alpha=0.2)


if __name__ == "__main__":
    launch(study)
