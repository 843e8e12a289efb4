"""Health: cheap signs of what goes wrong, measured between rounds, beside the losses.

    health/diversity      distance of a sample to its nearest other, over the same of real images:
                          1 is as diverse as the data, 0 is one picture again and again
    health/accuracy       share of pairs of a real and a generated image of which the discriminator
                          gives the real one the higher score: 1/2 is a guess, 1 is certainty
    health/overfitting    share of pairs of a training and a held-out image of which the training
                          one has the higher score: 1/2 is none, 1 is a training set known by heart
    health/saturation     mean |2 D(x) - 1| of a discriminator: at 1 the gradients have vanished
    PLAYER/weight_norm    length of each learner's weights
    TURN/gradient_norm    length of the gradient of the turn's loss, on a few examples; with
                          several learners gradient_norm_PLAYER

The pictures and the noise are the same at every look, so a measure moves only as the players do.
Nothing that is trained depends on a look.  (In the training program, norms of all gradients would
take a small network 2 to 5 % of the time: gradients would no longer be fused into the updates.)
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgen.data.source import Data, to_program
from jaxgen.train.abilities import DiscriminatorScores, Sampler
from jaxgen.train.game import System
from jaxgen.train.nets import Net, bind, local

EXAMPLES = 64  # images a look
FEW = 8  # examples of a gradient, which takes more memory than a picture
REST = 100 * EXAMPLES  # images of training between looks at least, so that they cost 1 % or less
SIDE = 32  # pixels; diversity is that of what can be seen in a thumbnail
PATIENCE = 2  # looks in a row outside of its band, before a measure is spoken of;
AT_FIRST = 25  # of one that has not been inside yet, as samples are alike before they are learned


def rounds_between(log_every: int, batch_size: int) -> int:
    """Rounds from one look to the next: a multiple of `log_every` that trains on enough images."""
    return log_every * math.ceil(REST / (log_every * batch_size))


def make_look(
    system: System, data: Data, key: jax.Array, batch_size: int = EXAMPLES
) -> Callable[[Any], dict[str, jax.Array]]:
    """`states -> {measure: scalar}`, on this process's first device; does not wait for it.

    Nothing is read or compiled before the first look, which a short run never takes.  Where
    players keep a memory, whose lanes lie on every device, losses have no gradient norms here.
    """
    learners = sorted({name for turn in system.turns for name in turn.learners})
    sampler, judge = system.ability(Sampler), system.ability(DiscriminatorScores)
    as_seen = lambda batch: to_program(batch, data.info.fields)
    of = sampler.of if sampler else "image"
    # As the sampler gives them.
    like = lambda real: 2 * real[of][..., 0] - 1 if of == "voxels" else real[of]

    @functools.cache
    def seen():
        """Real images, some held out, and the diversity of the former."""
        n = min(EXAMPLES, len(data)) if hasattr(data, "__len__") else EXAMPLES
        real = data.examples(n)
        held = getattr(data, "held_out", lambda n: None)(EXAMPLES) if judge else None
        sampled = sampler is not None and of in real
        own = float(jax.jit(lambda x: nearest(like(as_seen(x))))(real)) if sampled else 0.0
        return real, held, own

    @functools.partial(jax.jit, static_argnums=0)
    def look(whole, states, real, held, own):
        real, held = as_seen(real), held and as_seen(held)
        found = {f"{name}/weight_norm": optax.tree.norm(states[name].params) for name in learners}
        key_latent, key_scores, key_loss = jax.random.split(key, 3)
        if whole:
            few = jax.tree.map(lambda x: x[: min(FEW, batch_size)], real)
            found |= _gradient_norms(system, states, few, key_loss)
        if own is not None:
            latents = sampler.prior(key_latent, len(real[of]))
            condition = {name: real[name] for name in sampler.condition}
            nets = bind(states, key_latent)
            generated = sampler.generate(nets, latents, condition, key_latent)
            found["health/diversity"] = nearest(generated) / own
        if judge:
            found |= _scored(judge, states, real, held, key_scores)
        return found

    def at(states):
        real, held, own = seen()
        whole = not any("memory" in state.collections for state in states.values())
        return look(whole, local(states), real, held, own or None)

    return at


def _gradient_norms(system, states, batch, key):
    found = {}
    for turn in system.turns:

        def loss(params, turn=turn):
            nets = {
                name: Net(state, jax.random.fold_in(key, i), params.get(name))
                for i, (name, state) in enumerate(states.items())
            }
            return turn.loss(SimpleNamespace(**nets), batch, key)[0]

        grads = jax.grad(loss)({name: states[name].params for name in turn.learners})
        for name in turn.learners:
            which = "" if len(turn.learners) == 1 else f"_{name}"
            found[f"{turn.name}/gradient_norm{which}"] = optax.tree.norm(grads[name])
    return found


def _scored(judge, states, real, held, key):
    # As in training, so with the weights of now instead of their average.
    now = {name: state.replace(ema=None) for name, state in states.items()}

    def scores(batch):
        pair = judge.scores(bind(now, key), batch, key)
        return [x.reshape(len(x), -1).mean(axis=1) for x in pair]

    on_real, on_fake = scores(real)
    found = {"health/accuracy": prefers(on_real, on_fake)}
    if held is not None:
        found["health/overfitting"] = prefers(on_real, scores(held)[0])
    if judge.log_odds:
        found["health/saturation"] = jnp.tanh(jnp.abs(jnp.append(on_real, on_fake)) / 2).mean()
    return found


def nearest(images: jax.Array) -> jax.Array:
    """Mean distance (root of the mean square over pixels) of each image [n, H, W, C], or of voxels
    [n, D, H, W], to the nearest of the others, as thumbnails; 0 for fewer than two."""
    n, height, width, channels = images.shape
    if n < 2:
        return jnp.zeros(())
    shape = (n, min(height, SIDE), min(width, SIDE), channels)
    x = jax.image.resize(images, shape, "linear").reshape(n, -1)
    squares = lax.map(lambda one: jnp.square(x - one).mean(axis=1), x)  # [n, n]
    return jnp.sqrt(jnp.where(jnp.eye(n, dtype=bool), jnp.inf, squares).min(axis=1)).mean()


def prefers(a: jax.Array, b: jax.Array) -> jax.Array:
    """Share of all pairs of scores a [n] and b [m] with a above b (area under the ROC curve).

    Pairs that differ by much less than the scores' spread count in part, so that a float's rounding
    changes nothing.
    """
    spread = jnp.append(a, b).std() + 1e-20
    return jax.nn.sigmoid(100 * (a[:, None] - b) / spread).mean()


@dataclasses.dataclass(frozen=True)
class Band:
    """Where a measure should be, from `low` to `high`, and what is wrong where it is not."""

    measure: str  # its name, or what of it follows the slash
    low: float
    high: float
    says: str  # {value}, and {who} for what stands before the slash


BANDS = (
    Band(
        "health/diversity",
        0.25,
        math.inf,
        "samples are collapsing: they differ from each other by {value:.0%} of what real images do",
    ),
    Band(
        "health/overfitting",
        0,
        0.75,
        "the training images are being learned by heart: in {value:.0%} of pairs the discriminator "
        "scores one of them higher than a held-out one; more images, mirrored ones or a smaller "
        "network help",
    ),
    Band(
        "health/saturation",
        0,
        0.98,
        "the discriminator is certain of every image (mean |2D-1| is {value:.3f}), and the "
        "generator can learn little from it; a lower learning rate or a weaker discriminator helps",
    ),
    Band(
        "gradient_norm",
        1e-8,
        1e4,
        "the gradient of the {who} is {value:.1e} long: below 1e-8 nothing is learned any more, "
        "above 1e4 the next step may ruin the weights; change the learning rate",
    ),
)


class Watch:
    """Speaks of a measure when it has left its band, once until it is back."""

    def __init__(self):
        self._outside: dict[str, int] = {}  # looks in a row
        self._seen_inside: set[str] = set()

    def __call__(self, values: dict[str, float]) -> Iterator[str]:
        """The warnings at one look."""
        for name, value in values.items():
            for band in BANDS:
                who, _, measure = name.rpartition("/")
                if name != band.measure and not measure.startswith(band.measure):
                    continue
                if band.low <= value <= band.high:
                    self._seen_inside.add(name)
                    self._outside[name] = 0
                    continue
                self._outside[name] = self._outside.get(name, 0) + 1
                if self._outside[name] == (PATIENCE if name in self._seen_inside else AT_FIRST):
                    yield band.says.format(value=value, who=who)
