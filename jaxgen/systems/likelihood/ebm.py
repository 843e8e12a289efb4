"""Implicit generation and modeling with energy-based models (Du & Mordatch, NeurIPS 2019),
https://arxiv.org/abs/1903.08689.

A network gives images an energy, and with it the density p(x) = exp(-E(x)) / Z.  The gradient of
its log-likelihood needs samples x- of that density, which Langevin dynamics makes (Eq. 1), starting
from where earlier chains have ended (Sec. 3.2).  What is descended is (Alg. 1)

    mean E(x+) - mean E(x-) + alpha (mean E(x+)^2 + mean E(x-)^2)

Chains and steps are those of the authors' code.  Deviations.  The buffer has a lane for each
position of the batch, so that the number of devices does not matter.  With labels a chain keeps the
one that it began with, an image's of the data.  The code's optional term, which follows the energy
through the last step of the chains, is left out, as its published commands do (`zero_kl`).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxgen import draw
from jaxgen.latents import Prior, lerp
from jaxgen.nn.chains import Chains
from jaxgen.sample.langevin import langevin
from jaxgen.systems.likelihood.pixels import dequantise, sheet
from jaxgen.train.abilities import Energy, Option, Sampler, Translator
from jaxgen.train.game import Player, System, Turn

LEGENDS = {"chains": "Each strip: a chain from noise, step by step"}


def ebm(
    network: nn.Module,
    shape: tuple[int, int, int],
    optimizer: optax.GradientTransformation,
    batch_size: int,
    *,
    steps: int,
    size: float,
    noise: float = 0.005,
    largest: float = 0.0,
    alpha: float = 1.0,
    buffer: int = 10_000,
    labels: bool = False,
    ema: float | None = None,
) -> System:
    """A network of `models.ebm` on images of `shape` [H, W, C].

    steps, size, noise, largest: of `sample.langevin`, where 0 is no largest slope.
    alpha: weight of the squared energies.
    buffer: images that chains may start from; 0 starts all of them from noise.
    labels: whether energies are those of an image and its label.
    """
    use = 10 * steps  # of chains from noise: those of the training are long-lived
    condition = ("label",) if labels else ()

    def told(fields):
        return [fields[name] for name in condition]

    def energy(nets, fields):
        """Images in [0, 1] -> energies, with weights that stand still."""
        weights = jax.lax.stop_gradient(nets.energy.params)
        return lambda x: nets.energy.still(x, *told(fields), params=weights, train=False)

    def chain(nets, fields, start, key, steps, **options):
        swept = isinstance(largest, jax.Array)  # and 0 may be among its values
        most = jnp.where(largest == 0, jnp.inf, largest) if swept else largest or None
        options |= {"steps": steps, "size": size, "noise": noise, "largest": most}
        return langevin(energy(nets, fields), start, key, **options)

    def loss(nets, batch, key):
        key_x, key_start, key_walk = jax.random.split(key, 3)
        real = dequantise((batch["image"] + 1) / 2, key_x)
        begun = nets.chains(draw.uniform(key_start, len(real), shape), *told(batch))
        start, *own = begun if labels else [begun]
        own = dict(zip(condition, own, strict=True))
        fake = chain(nets, own, start, key_walk, steps)
        nets.chains(fake, *told(own), keep=True)
        low, high = nets.energy(real, *told(batch)), nets.energy(fake, *told(own))
        gap = low.mean() - high.mean()
        squares = (low**2).mean() + (high**2).mean()
        metrics = {"energy_data": low.mean(), "energy_samples": high.mean(), "gap": gap}
        return gap + alpha * squares, metrics

    def values(nets, batch, key):
        return energy(nets, batch)(dequantise((batch["image"] + 1) / 2, key))

    def prior(key, n):
        return draw.uniform(key, n, shape)

    def generate(nets, start, condition, key, steps=use):
        return 2 * chain(nets, condition, start, key, steps) - 1

    def film(nets, start, condition, key, frames, steps=use):
        path = chain(nets, condition, start, key, steps, path=True)
        shown = np.linspace(0, steps, frames).round().astype(int)
        return 2 * jnp.concatenate([start[None], path])[shown] - 1

    def inpaint(nets, inputs, key, steps=use):
        """What the mask leaves stays as it is in every step."""
        image, hole = inputs["image"], inputs["mask"] > 0
        key_start, key_walk = jax.random.split(key)
        start = jnp.where(hole, prior(key_start, len(image)), (image + 1) / 2)
        return 2 * chain(nets, inputs, start, key_walk, steps, kept=~hole) - 1

    def pair(batch):
        hole = jnp.zeros_like(batch["image"]).at[:, shape[0] // 2 :].set(1.0)
        inputs = {"image": batch["image"], "mask": hole} | {k: batch[k] for k in condition}
        return inputs, batch["image"]

    def show(nets, batch, key):
        """Where chains that start from noise come to, and some of them step by step."""
        n = len(batch["image"])
        frames = film(nets, prior(key, n), batch, key, 10)
        strips = sheet(frames[:, :8].swapaxes(0, 1).reshape(-1, *shape), columns=len(frames))
        strips = strips.reshape(-1, shape[0], len(frames) * shape[1], shape[2])
        return {"samples": frames[-1], "chains": strips}

    options = {"steps": Option(use, "Steps of Langevin dynamics", low=1)}
    example = [(2, *shape), *[jnp.zeros(2, jnp.int32)] * labels]
    noisy = Prior(prior, "uniform in [0, 1)", "np.random.default_rng(0).uniform(0, 1, {})")
    return System(
        players={
            "energy": Player(network, example, optimizer, ema=ema),
            "chains": Player(
                Chains(buffer, 0.05 if buffer else 1.0),
                [(batch_size, *shape), *[jnp.zeros(batch_size, jnp.int32)] * labels],
            ),
        },
        turns=(Turn(("energy",), loss),),
        show=show,
        legends=LEGENDS,
        abilities=(
            Sampler(noisy, generate, lerp, condition, options, film),
            Energy(values),
            Translator(
                inpaint, pair, ("image", "mask", *condition), any_size=False, options=options
            ),
        ),
    )
