"""Example 1 of WGAN, measured: `python -m jaxgen.experiments.parallel_lines`."""

import dataclasses
import math
from typing import Annotated

from jaxgen.commands.flags import Count, Range, Rate
from jaxgen.commands.study import Study, finish, launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Study):
    """Parallel lines, Example 1 of WGAN (Arjovsky et al., 2017), https://arxiv.org/abs/1701.07875.

    Critics are trained on data on {0} x [0, 1] and samples on {theta} x [0, 1], and what they say
    is laid beside the closed forms: the Jensen-Shannon divergence is log 2 nats and flat wherever
    theta is not 0, the earth-mover distance is |theta|. Numbers and figure are in the run folder.
    """

    batch_size: Count = 64
    rounds_per_call: Count = 50
    log_every: Count = 100
    thetas: Annotated[int, Range(3)] = 21
    """Number of values of theta, evenly from -1 to 1; an odd number has 0 among them."""
    width: Count = 64
    """Units of the critics' three hidden layers."""
    lr: Rate = 1e-3
    """Adam's learning rate, and RMSProp's of the clipped critic."""
    penalty: Rate = 10.0
    """Weight of the gradient penalty, lambda. It lets slopes grow to 1 + |theta| / (2 lambda)."""
    clip: Rate = 0.1
    """Limit of the clipped critic's weights, which stay in [-clip, clip]."""

    def check(self):
        if self.thetas % 2 == 0:
            raise UserError(f"--thetas is an odd number, not {self.thetas}")


def study(args: Args, run) -> None:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxgen.data.toy import Endless
    from jaxgen.losses import divergences
    from jaxgen.systems.gan import parallel_lines as lines
    from jaxgen.train.fit import fit
    from jaxgen.train.metric_logger import round_to
    from jaxgen.train.nets import bind, local

    theta = np.linspace(-1, 1, args.thetas)
    measured = {}  # by critic: what it says of each theta, and its slope
    for i, (name, (pair, *settings)) in enumerate(critics(args).items()):
        system = lines.parallel_lines(tuple(theta.tolist()), pair, *settings, width=args.width)
        stage = run.stage(f"{i}-{name}")
        states = fit(system, Endless(lines.data), args.rounds, run=stage, **args.schedule)

        @jax.jit
        def look(states, system=system, pair=pair):
            return lines.value(pair, bind(states, jax.random.key(0)))

        measured[name] = [np.asarray(x, float) for x in look(local(states))]

    value, slope = measured["minimax"]  # V = 2 JS - log 4
    js, js_slope = (value + math.log(4)) / 2, slope / 2
    em, em_slope = measured["wgan-gp"]
    truth = np.asarray(divergences.earth_mover(jnp.asarray(theta)), float)
    scale = measured["clipped"][0] @ truth / (truth @ truth)  # arbitrary, so fitted away
    clipped, clipped_slope = (x / scale for x in measured["clipped"])
    away = theta != 0
    error = lambda a, b: round_to(float(np.abs(a - b).max()))
    listed = lambda xs: [round_to(x, 6) for x in xs.tolist()]
    numbers = {
        "theta": listed(theta),
        "js": listed(js),
        "js_slope": listed(js_slope),
        "em": listed(em),
        "em_slope": listed(em_slope),
        "clipped": listed(clipped),
        "clipped_scale": round_to(float(scale)),
        "js_max_error": error(js, divergences.jensen_shannon(jnp.asarray(theta))),
        "em_max_error": error(em, truth),
        "em_max_error_from_penalised_optimum": error(em, penalised(theta, args.penalty)),
        "js_max_slope_away_from_0": error(js_slope[away], 0),
        "em_max_slope_error_away_from_0": error(em_slope[away], np.sign(theta[away])),
        "clipped_max_error": error(clipped, truth),
    }
    for name, number in numbers.items():
        if not isinstance(number, list):
            print(f"{name:37}{number:.2g}")
    slopes = {"js": js_slope, "em": em_slope, "clipped": clipped_slope}
    distances = {"js": js, "em": em, "clipped": clipped}
    finish(run.folder, numbers, draw(theta, distances, slopes, args.penalty))


def critics(args: Args):
    """The critics by name: the game, its optimizer and its penalty's weight."""
    import optax

    from jaxgen.losses import adversarial
    from jaxgen.train.optim import clip_weights, rmsprop

    # The rate falls to a hundredth: the optimum is to be measured, not its surroundings.
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


def draw(theta, distances, slopes, penalty: float):
    """The estimates over theta, and their slopes, beside the closed forms."""
    import numpy as np
    from matplotlib.figure import Figure

    blue, orange, green = "#0072B2", "#D55E00", "#009E73"
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for half in np.linspace(-1, 0, 99), np.linspace(0, 1, 99):
        flat = np.ones_like(half)
        left.plot(half, flat * math.log(2), color=blue, zorder=1)
        left.plot(half, np.abs(half), color=orange, zorder=1)
        right.plot(half, flat * 0, color=blue, zorder=1)
        right.plot(half, flat * np.sign(half.sum()), color=orange, zorder=1)
    marks = {
        "js": ("o", blue, "GAN: (V + log 4) / 2"),
        "em": ("^", orange, "gradient penalty: E f(x) - E f(g(z))"),
        "clipped": ("x", green, "clipped weights: the same, its arbitrary scale fitted"),
    }
    for name, (mark, colour, label) in marks.items():
        style = {"ls": "", "color": colour, "mfc": "white", "zorder": 3}
        left.plot(theta, distances[name], mark, label=label, **style)
        away = theta != 0
        right.plot(theta[away], slopes[name][away], mark, **style)
    fine = np.linspace(-1, 1, 199)
    optimum = f"optimum under its weight {penalty:g}"
    left.plot(fine, penalised(fine, penalty), ":", color=orange, lw=1, zorder=1, label=optimum)
    left.set(title="What a trained critic says (marks)", xlabel="θ", ylabel="distance")
    left.set_ylim(-0.05, 1.5)
    left.legend(frameon=False, loc="upper center", fontsize=9)
    left.text(0, math.log(2) + 0.02, "JS = log 2 nats", color=blue, ha="center", va="bottom")
    left.text(-0.42, 0.36, "EM = |θ|", color=orange, ha="right", va="top")
    right.set(title="What the generator feels", xlabel="θ", ylabel="slope of the estimate in θ")
    right.set_ylim(-1.5, 1.5)
    right.text(0.98, 0.06, "JS: 0 but for the jump at θ = 0", color=blue, ha="right", va="bottom")
    right.text(0.98, 1.36, "EM: sign(θ)", color=orange, ha="right")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
    return figure


if __name__ == "__main__":
    launch(study)
