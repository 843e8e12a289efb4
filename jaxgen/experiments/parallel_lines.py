"""Example 1 of WGAN, measured: `python -m jaxgen.experiments.parallel_lines`."""

import dataclasses
import math
from typing import ClassVar

from jaxgen.commands.study import Basic, finish, launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Basic):
    """Parallel lines, Example 1 of WGAN (Arjovsky et al., 2017), https://arxiv.org/abs/1701.07875.

    Critics are trained on data on {0} x [0, 1] and samples on {theta} x [0, 1], and what they say is
    laid beside the closed forms: the Jensen-Shannon divergence is log 2 nats and flat wherever theta
    is not 0, the earth-mover distance is |theta|. The figure and the numbers are in the run folder.
    """

    rounds: int = 3000
    batch_size: int = 64
    save_every: int = 3000
    show_every: int = 3000
    thetas: int = 21
    """How many, evenly from -1 to 1; an odd number has 0 among them."""
    width: int = 64
    """Units of the critics' three hidden layers."""
    lr: float = 1e-3
    """Adam's learning rate, and RMSProp's of the clipped critic."""
    penalty: float = 10.0
    """The gradient penalty's weight, lambda. It lets slopes grow to 1 + |theta| / (2 lambda)."""
    clip: float = 0.1
    """The clipped critic's weights stay in [-clip, clip]."""

    rounds_matter: ClassVar[bool] = True

    def check(self):
        if self.thetas < 3 or self.thetas % 2 == 0:
            raise UserError(f"--thetas is an odd number from 3 on, not {self.thetas}")


def study(args: Args, run) -> None:
    import jax
    import numpy as np

    from jaxgen.data.toy import Endless
    from jaxgen.losses import divergences
    from jaxgen.systems.gan import parallel_lines as lines
    from jaxgen.train import game
    from jaxgen.train.fit import fit

    theta = np.linspace(-1, 1, args.thetas)
    measured = {}
    for i, (name, (pair, *settings)) in enumerate(critics(args).items()):
        system = lines.parallel_lines(tuple(theta.tolist()), pair, *settings, width=args.width)
        stage = run.stage(f"{i}-{name}")
        states = fit(system, Endless(lines.data), args.rounds, run=stage, **args.schedule)
        nets = game.look(system, game.local(states), jax.random.key(0))
        measured[name] = [np.asarray(x, float) for x in lines.value(pair, nets)]

    value, slope = measured["minimax"]  # V = 2 JS - log 4
    js, js_slope = (value + math.log(4)) / 2, slope / 2
    em, em_slope = measured["wgan-gp"]
    clipped, clipped_slope = (x / measured["clipped"][0][-1] for x in measured["clipped"])
    truth = np.asarray(divergences.earth_mover(theta))
    away = theta != 0
    error = lambda a, b: float(np.abs(a - b).max())
    numbers = {
        "theta": theta.tolist(),
        "js": js.tolist(),
        "js_slope": js_slope.tolist(),
        "em": em.tolist(),
        "em_slope": em_slope.tolist(),
        "clipped_over_its_value_at_1": clipped.tolist(),
        "js_max_error": error(js, divergences.jensen_shannon(theta)),
        "em_max_error": error(em, truth),
        "em_max_error_from_penalised_optimum": error(em, penalised(theta, args.penalty)),
        "js_max_slope_away_from_0": float(np.abs(js_slope[away]).max()),
        "em_max_slope_error_away_from_0": error(em_slope[away], np.sign(theta[away])),
        "clipped_max_error": error(clipped, truth),
    }
    for name, number in numbers.items():
        if not isinstance(number, list):
            print(f"{name:37}{number:.4f}")
    slopes = {"js": js_slope, "em": em_slope, "clipped": clipped_slope}
    distances = {"js": js, "em": em, "clipped": clipped}
    finish(run.folder, numbers, draw(theta, distances, slopes, args.penalty))


def critics(args: Args):
    """By name: the game, its optimizer and its penalty's weight."""
    import optax

    from jaxgen.losses import adversarial
    from jaxgen.train.optim import clip_weights, rmsprop

    # The rate falls to a hundredth, so that what is measured is the optimum and not its surroundings.
    rate = optax.exponential_decay(args.lr, args.rounds, 0.01)
    clipped = optax.chain(rmsprop(rate), clip_weights(args.clip))
    adam = optax.adam(rate, 0.5, 0.9)
    return {
        "minimax": (adversarial.minimax, adam, 0.0),
        "wgan-gp": (adversarial.wasserstein, adam, args.penalty),
        "clipped": (adversarial.wasserstein, clipped, 0.0),
    }


def penalised(theta, penalty: float):
    """max over slopes s of s |theta| - penalty (s - 1)^2, its first term: what a critic with the
    two-sided penalty says when it has learned all there is."""
    return abs(theta) * (1 + abs(theta) / (2 * penalty))


def draw(theta, distances, slopes, penalty):
    """The estimates over theta, and their slopes, beside the closed forms."""
    import numpy as np
    from matplotlib.figure import Figure

    blue, orange, green, ink = "#0072B2", "#D55E00", "#009E73", "#444444"
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left_x, right_x = np.linspace(-1, 0, 50), np.linspace(0, 1, 50)
    for half in (left_x, right_x):
        left.plot(half, np.full(50, math.log(2)), color=blue, lw=1.4, zorder=1)
        left.plot(half, np.abs(half), color=orange, lw=1.4, zorder=1)
        side = -1 if half is left_x else 1
        right.plot(half, np.zeros(50), color=blue, lw=1.4, zorder=1)
        right.plot(half, np.full(50, side), color=orange, lw=1.4, zorder=1)
    fine = np.linspace(-1, 1, 201)
    left.plot(fine, penalised(fine, penalty), color=orange, lw=1, ls=":", zorder=1)
    left.plot(0, 0, "o", ms=4, color=blue, zorder=1)
    marks = {
        "js": ("o", blue, "GAN's discriminator: (V + log 4) / 2"),
        "em": ("^", orange, "critic with gradient penalty: E f(x) - E f(g(z))"),
        "clipped": ("x", green, "clipped critic, over its value at theta = 1"),
    }
    for name, (mark, colour, label) in marks.items():
        style = dict(ls="", ms=6, mec=colour, color=colour, mfc="white", zorder=3)
        left.plot(theta, distances[name], mark, label=label, **style)
        away = theta != 0
        right.plot(theta[away], slopes[name][away], mark, **style)
    left.set(title="What a trained critic says", xlabel="theta", ylabel="distance")
    left.text(0.98, math.log(2) + 0.02, "JS = log 2 nats", color=blue, ha="right", va="bottom")
    left.text(-0.42, 0.36, "EM = |theta|", color=orange, ha="right", va="top")
    left.set_ylim(-0.05, 1.45)
    left.legend(frameon=False, loc="upper center", fontsize=9)
    right.set(
        title="What the generator feels: its slope in theta", xlabel="theta", ylabel="slope"
    )
    right.text(0.98, 0.06, "JS: 0 wherever it is not a jump", color=blue, ha="right", va="bottom")
    right.text(-0.98, -0.86, "EM: sign(theta)", color=orange, ha="left", va="bottom")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=ink)
        axes.grid(alpha=0.2)
    return figure


if __name__ == "__main__":
    launch(study)
