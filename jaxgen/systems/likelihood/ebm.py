"""Implicit generation and modeling with energy-based models (Du & Mordatch, NeurIPS 2019),
https://arxiv.org/abs/1903.08689.

A network gives images an energy, and with it the density p(x) = exp(-E(x)) / Z.  Its gradient needs
samples x- of that density, which Langevin dynamics makes (Eq. 2), starting from where earlier
chains have ended (Sec. 3.2). What is descended is (Alg. 1)

    mean E(x+) - mean E(x-) + alpha (mean E(x+)^2 + mean E(x-)^2)

The steps are those of the authors' code.  Deviations.  The buffer has a lane for each position of
the batch.  The code's optional term, which follows the energy through the last Langevin step, is
left out, as in its commands (`zero_kl`).
"""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen import draw
from jaxgen.latents import Prior
from jaxgen.nn.chains import Chains
from jaxgen.sample.langevin import langevin
from jaxgen.train.abilities import Energy, Option, Sampler, Translator
from jaxgen.train.game import Player, System, Turn


def ebm(
    network: nn.Module,
    shape: tuple[int, int, int],
    optimizer: optax.GradientTransformation,
    batch_size: int,
    *,
    steps: int,
    size: float,
    largest: float | None = None,
    alpha: float = 1.0,
    buffer: int = 10_000,
    labels: bool = False,
    ema: float | None = None,
) -> System:
    """A network of `models.ebm` on images of `shape` [H, W, C].

    steps, size, largest: of `sample.langevin`.
    alpha: weight of the squared energies.
    buffer: images that chains may start from; 0 starts all of them from noise.
    labels: whether energies are those of an image and its label.
    """
    walk = {"steps": steps, "size": size, "largest": largest}
    chains = Chains(buffer, 0.05 if buffer else 1.0)

    def energy(nets, label=None, still=True):
        call = nets.energy.still if still else nets.energy
        told = () if label is None else (label,)
        return lambda x, train=False: call(x, *told, train=train)

    def loss(nets, batch, key):
        key_x, key_start, key_walk = jax.random.split(key, 3)
        n = len(batch["image"])
        label = batch["label"] if labels else None
        real = (batch["image"] + 1) / 2 * (255 / 256) + draw.uniform(key_x, n, shape) / 256
        start = nets.chains(draw.uniform(key_start, n, shape))
        fake = jax.lax.stop_gradient(langevin(energy(nets, label), start, key_walk, **walk))
        nets.chains(fake, keep=True)
        moving = energy(nets, label, still=False)
        low, high = moving(real, train=True), moving(fake, train=True)
        objective = low.mean() - high.mean() + alpha * ((low**2).mean() + (high**2).mean())
        return objective, {
            "energy_data": low.mean(),
            "energy_samples": high.mean(),
            "gap": low.mean() - high.mean(),
        }

    def values(nets, batch, key):
        return energy(nets, batch["label"] if labels else None)((batch["image"] + 1) / 2)

    def generate(nets, start, condition, key, steps=10 * steps):
        made = langevin(
            energy(nets, condition.get("label")), start, key, **{**walk, "steps": steps}
        )
        return 2 * made - 1

    def inpaint(nets, inputs, key, steps=10 * steps):
        image, hole = inputs["image"], inputs["mask"] > 0
        key_start, key_walk = jax.random.split(key)
        noise = draw.uniform(key_start, len(image), shape)
        start = jnp.where(hole, noise, (image + 1) / 2)
        made = langevin(energy(nets), start, key_walk, kept=~hole, **{**walk, "steps": steps})
        return 2 * made - 1

    def pair(batch):
        hole = jnp.zeros_like(batch["image"]).at[:, shape[0] // 2 :].set(1.0)
        return {"image": batch["image"], "mask": hole}, batch["image"]

    def show(nets, batch, key):
        """Where chains that start from noise come to, and one of them step by step."""
        n, label = min(len(batch["image"]), 16), batch["label"][:16] if labels else None
        start = draw.uniform(key, n, shape)
        path = langevin(energy(nets, label), start, key, path=True, **{**walk, "steps": 10 * steps})
        film = path[:: max(1, len(path) // 10), :8]
        return {"samples": 2 * path[-1] - 1, "chains": 2 * jnp.concatenate(list(film), 0) - 1}

    prior = Prior(
        lambda key, n: draw.uniform(key, n, shape),
        "uniform in [0, 1)",
        "np.random.default_rng(0).uniform(0, 1, {})",
    )
    longer = {"steps": Option(10 * steps, "Steps of Langevin dynamics")}
    example = [(2, *shape), jnp.zeros(2, jnp.int32)] if labels else [(2, *shape)]
    condition = ("label",) if labels else ()
    return System(
        players={
            "energy": Player(network, example, optimizer, ema=ema),
            "chains": Player(chains, [(batch_size, *shape)]),
        },
        turns=(Turn(("energy",), loss),),
        show=show,
        abilities=(
            Sampler(prior, generate, condition=condition, options=longer),
            Energy(values),
        )
        + (() if labels else (Translator(inpaint, pair, ("image", "mask"), options=longer),)),
    )
