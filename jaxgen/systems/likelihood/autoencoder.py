"""Reducing the dimensionality of data with neural networks (Hinton & Salakhutdinov, Science 2006),
https://doi.org/10.1126/science.1127647.

A deep autoencoder of logistic units, with a linear code, learns to give back its input:

    - sum_i (p_i log q_i + (1 - p_i) log(1 - q_i)),   p the pixel, q what is given back.

It starts as a stack of restricted Boltzmann machines, each trained on the hidden probabilities of
the one below by contrastive divergence (`losses.boltzmann`), and unrolled: the decoder has the
transposed weights, which from then on are its own.

What is measured is the paper's squared error: the sum over the pixels in [0, 1].

Deviations.  Adam fine-tunes; the paper has conjugate gradients.  A machine learns from the
probabilities that the finished one below gives, in the authors' code from those that it gave in the
course of its last epoch.
"""

from collections.abc import Sequence
from math import prod

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen import draw
from jaxgen.losses.boltzmann import contrastive_divergence
from jaxgen.losses.likelihood import bernoulli_log_likelihood
from jaxgen.models.autoencoder import RBM, unrolled
from jaxgen.systems.likelihood.pixels import sheet
from jaxgen.train.abilities import Autoencoder
from jaxgen.train.game import Player, System, Turn

LEGENDS = {
    "reconstructions": "Each pair: image, reconstruction",
    "plane": "Images of the codes on a grid over the plane of those of the data",
}


def machine(
    below: Sequence[RBM],
    own: RBM,
    shape: tuple[int, int, int],
    optimizer: optax.GradientTransformation,
) -> System:
    """An RBM on the hidden probabilities of those `below`, which are finished; the lowest one sees
    images of `shape` [H, W, C]."""
    machines = [*below, own]
    names = [f"rbm_{i}" for i in range(len(machines))]
    visible = [prod(shape), *(m.hidden for m in below)]

    def up(nets, x, names):
        h = ((x + 1) / 2).reshape(len(x), -1)
        for name in names:
            h = getattr(nets, name)(h)
        return h

    def loss(nets, batch, key):
        v = up(nets, batch["image"], names[:-1])
        noise = (draw.normal if own.linear else draw.uniform)(key, len(v), (own.hidden,))
        params = getattr(nets, names[-1]).params
        value, error = contrastive_divergence(params, v, noise, own.linear)
        return value, {"squared_error": error.mean()}

    def show(nets, batch, key):
        """Images beside what the machines make of them, up and down again."""
        x = batch["image"][:32]
        h = up(nets, x, names)
        for name in names[::-1]:
            p = getattr(nets, name).params
            h = nn.sigmoid(h @ p["weights"].T + p["visible"])
        return {"reconstructions": jnp.concatenate([x, 2 * h.reshape(x.shape) - 1], axis=2)}

    return System(
        players={
            name: Player(m, [(2, n)], optimizer if m is own else None)
            for name, m, n in zip(names, machines, visible, strict=True)
        },
        turns=(Turn((names[-1],), loss),),
        show=show,
        legends=LEGENDS,
    )


def unroll(old, fresh):
    """The states of an autoencoder that starts from the machines' (`Stage.carry`)."""
    up, down = unrolled([old[f"rbm_{i}"].params for i in range(len(old))])
    return {
        "encoder": fresh["encoder"].replace(params=up),
        "decoder": fresh["decoder"].replace(params=down),
    }


def autoencoder(
    encoder: nn.Module,
    decoder: nn.Module,
    shape: tuple[int, int, int],
    latent: int,
    optimizer: optax.GradientTransformation,
) -> System:
    """Networks of `models.autoencoder` on images of `shape` [H, W, C], with codes of `latent`
    numbers."""

    def loss(nets, batch, key):
        x = (batch["image"] + 1) / 2
        logits = nets.decoder(nets.encoder(x))
        error = ((x - nn.sigmoid(logits)) ** 2).sum((1, 2, 3))
        return -bernoulli_log_likelihood(x, logits).mean(), {"squared_error": error.mean()}

    def encode(nets, images):
        return nets.encoder((images + 1) / 2)

    def decode(nets, z):
        return 2 * nn.sigmoid(nets.decoder(z)) - 1

    def show(nets, batch, key):
        """Images beside their reconstructions; the plane of codes of two numbers as one picture."""
        x = batch["image"][:32]
        z = encode(nets, batch["image"])
        again = decode(nets, z[:32])
        pictures = {"reconstructions": jnp.concatenate([x, again], axis=2)}
        if latent == 2:
            sides = jnp.linspace(z.min(0), z.max(0), 20).T
            plane = jnp.stack(jnp.meshgrid(*sides), axis=-1).reshape(-1, 2)
            pictures["plane"] = sheet(decode(nets, plane), columns=20)
        return pictures

    return System(
        players={
            "encoder": Player(encoder, [(2, *shape)], optimizer),
            "decoder": Player(decoder, [(2, latent)], optimizer),
        },
        turns=(Turn(("encoder", "decoder"), loss),),
        show=show,
        legends=LEGENDS,
        abilities=(Autoencoder(encode, decode),),
    )
