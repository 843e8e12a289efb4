"""Isolating sources of disentanglement in VAEs (Chen, Li, Grosse & Duvenaud, 2018),
https://arxiv.org/abs/1802.04942, with beta-VAE (Higgins et al., 2017,
https://openreview.net/forum?id=Sy2fzU9gl) beside it.

The KL term of a VAE, averaged over the data, has three parts (Eq. 2): what codes know of images,
how much the latents know of each other, and how each of them by itself departs from the prior,

    E KL(q(z|x) || p(z)) = I(x; z) + TC + sum_j KL(q(z_j) || p(z_j)),
    TC = KL(q(z) || prod_j q(z_j)),    q(z) = mean over the data of q(z|x).

Encoder and decoder raise the mean over the data of

    vae           log p(x|z) - KL(q(z|x) || p(z))
    beta-vae      log p(x|z) - beta KL(q(z|x) || p(z))                    (Higgins et al., Eq. 4)
    beta-tcvae    log p(x|z) - I(x; z) - beta TC - sum_j KL(q(z_j) || p(z_j))           (Eq. 4)

so that the last one presses the latents apart and leaves them what they know.  q(z) and q(z_j) are
estimated from the minibatch, that of all devices together, by weighted or by stratified sampling
(App. C).  Weighted sampling has constants, such as (latents - 1) log(batch * examples) in TC, which
no gradient sees: compare these parts with each other only where batch and data are the same.

Deviations.  The networks' numbers are the log variance, where the authors' code has the log
standard deviation; weights start by the rule of `models.vae`.  Stratified sampling has its special
weights where they belong (`losses.decomposition.stratified`).
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen import draw, parallel
from jaxgen.errors import UserError
from jaxgen.losses.decomposition import decomposition, log_normal, stratified, weighted
from jaxgen.losses.likelihood import gaussian_kl
from jaxgen.systems.likelihood import vae as plain
from jaxgen.systems.likelihood.pixels import Pixels, binary, sheet
from jaxgen.train.abilities import Autoencoder
from jaxgen.train.game import System, Turn

REACH, STEPS = 2.0, 9  # standard deviations of the prior to either side, and pictures of a row
LEGENDS = plain.LEGENDS | {
    "traversals": "Each row: one latent of an image's code from -2 to 2, the others as they are",
}


def beta_tcvae(
    encoder: nn.Module,
    decoder: nn.Module,
    shape: tuple[int, int, int],
    latent: int,
    optimizer: optax.GradientTransformation,
    examples: int,
    objective: Literal["vae", "beta-vae", "beta-tcvae"] = "beta-tcvae",
    beta: float = 6.0,
    estimator: Literal["mws", "mss"] = "mws",
    pixels: Pixels = binary,
    samples: int = 500,
) -> System:
    """Networks of `models.vae` or `models.beta_tcvae` on images of `shape` [H, W, C].

    examples: the size of the training set, 0 where nobody knows.
    estimator: of q(z) from a minibatch: weighted (mws) or stratified (mss) sampling, which needs
      `examples` and a batch of 2 up to as many.
    samples: of z, for the bounds that are measured.

    UserError for stratified sampling without these.
    """
    if estimator == "mss" and not examples:
        raise UserError(
            "estimator mss needs the number of training images, which is not known; give it as "
            "`examples`, or use mws"
        )

    # Codes, samples and bounds are the VAE's.
    system = plain.vae(encoder, decoder, shape, latent, optimizer, pixels, samples=samples)
    coder = system.ability(Autoencoder)
    show_vae = system.show
    assert coder is not None
    assert show_vae is not None

    def loss(nets, batch, key):
        key_x, key_z = jax.random.split(key)
        x = pixels.preprocess((batch["image"] + 1) / 2, key_x)
        mean, log_variance = nets.encoder(x)
        log_sigma = log_variance / 2
        z = mean + jnp.exp(log_sigma) * draw.normal(key_z, len(mean), (latent,))
        log_likelihood = pixels.log_likelihood(x, nets.decoder(z)).mean()
        kl = gaussian_kl(mean, log_variance).mean()

        log_q = log_normal(z, mean, log_sigma).sum(-1)
        everyone = parallel.gather(mean), parallel.gather(log_sigma)
        information, correlation, alone = (
            part.mean() for part in decomposition(z, *everyone, weights(len(x)), log_q)
        )
        penalty = {
            "vae": kl,
            "beta-vae": beta * kl,
            "beta-tcvae": information + beta * correlation + alone,
        }[objective]
        return penalty - log_likelihood, {
            "log_likelihood": log_likelihood,
            "kl": kl,
            "mutual_information": information,
            "total_correlation": correlation,
            "dimension_wise_kl": alone,
        }

    def weights(n):
        """The weights of the global batch, for the z of this device's n images."""
        first, batch = parallel.first(n), n * parallel.size()
        if estimator == "mws":
            return weighted(n, batch, examples or batch)
        if not 2 <= batch <= examples:
            raise UserError(
                f"estimator mss takes a batch of 2 up to {examples:,}, all images, not {batch:,}"
            )
        return stratified(first, n, batch, examples)

    def show(nets, batch, key):
        """The VAE's pictures; and a row for each latent, in which it alone changes in the code of
        the first image."""
        code = coder.encode(nets, batch["image"][:1])
        values = jnp.linspace(-REACH, REACH, STEPS)[:, None]
        rows = jnp.where(jnp.eye(latent, dtype=bool)[:, None], values, code)
        images = coder.decode(nets, rows.reshape(-1, latent))
        framed = jnp.pad(images, ((0, 0), (0, 2), (0, 2), (0, 0)), constant_values=1)
        return show_vae(nets, batch, key) | {"traversals": sheet(framed, STEPS)}

    turn = Turn(("encoder", "decoder"), loss)
    return dataclasses.replace(system, turns=(turn,), show=show, legends=LEGENDS)
