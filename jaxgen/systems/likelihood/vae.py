"""Auto-encoding variational Bayes (Kingma & Welling, 2014), https://arxiv.org/abs/1312.6114.

The encoder q(z | x) = N(mu, diag sigma^2) and the decoder p(x | z) raise the lower bound of the
images' log-likelihood (Eq. 10, with L = 1 sample of the noise)

    L(x) = log p(x | z) - KL(q(z | x) || N(0, I)),   z = mu + sigma * epsilon,   epsilon ~ N(0, I).

What is measured is nats an image on average: `elbo`, E log w over z ~ q(z | x) with the weights
w = p(x, z) / q(z | x), and `iwae`, the bound log mean w of Burda et al. (2016,
https://arxiv.org/abs/1509.00519, Eq. 8), which tends to log p(x).

Deviations.  Digits are binarised anew whenever they are seen.  The paper estimates log p(x) by
Monte Carlo chains for 3 latents (App. D), here importance sampling does it for any number.
Grey levels of the Gaussian decoder get uniform noise of one level, and it a least variance; its
bound is that of the probability of the levels, not of a density.
"""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen import draw
from jaxgen.latents import lerp, normal
from jaxgen.losses.likelihood import (
    gaussian_kl,
    gaussian_log_likelihood,
    importance_weighted_bound,
)
from jaxgen.systems.likelihood.pixels import Pixels, binary, sheet
from jaxgen.train.abilities import Autoencoder, Density, Sampler
from jaxgen.train.game import Player, System, Turn, counts

CHUNK = 20  # importance samples that are decoded at a time
LEGENDS = {
    "reconstructions": "Each pair: image, reconstruction",
    "manifold": "The plane of two latents, in equal steps of probability",
}


def manifold(side: int = 20) -> jax.Array:
    """Latents [side^2, 2], row by row: a grid on the unit square through the inverse distribution
    function of the Gaussian, so that each stands for as much probability (App. A)."""
    z = jax.scipy.special.ndtri((jnp.arange(side) + 0.5) / side)
    return jnp.stack(jnp.meshgrid(z, z), axis=-1).reshape(-1, 2)


def vae(
    encoder: nn.Module,
    decoder: nn.Module,
    shape: tuple[int, int, int],
    latent: int,
    optimizer: optax.GradientTransformation,
    pixels: Pixels = binary,
    weight_decay: float = 0.0,
    samples: int = 500,
) -> System:
    """Networks of `models.vae` on images of `shape` [H, W, C], with `latent` latents.

    pixels: one of `systems.likelihood.pixels`, that of the decoder.
    weight_decay: 1/N, with N training images, is the paper's prior N(0, I) of the decoder.
    samples: of z, for the bounds that are measured.
    """

    prior = normal(latent)

    def preprocess(batch, key):
        return pixels.preprocess((batch["image"] + 1) / 2, key)

    def reparameterise(mean, log_variance, key):
        return mean + jnp.exp(log_variance / 2) * draw.normal(key, len(mean), (latent,))

    def loss(nets, batch, key):
        key_x, key_z = jax.random.split(key)
        x = preprocess(batch, key_x)
        mean, log_variance = nets.encoder(x)
        z = reparameterise(mean, log_variance, key_z)
        likelihood = pixels.log_likelihood(x, nets.decoder(z)).mean()
        kl = gaussian_kl(mean, log_variance).mean()
        objective = kl - likelihood
        if counts(weight_decay):
            objective += weight_decay / 2 * optax.tree.norm(nets.decoder.params, squared=True)
        return objective, {"log_likelihood": likelihood, "kl": kl}

    def log_weights(nets, batch, key):
        """log p(x, z) - log q(z | x), [samples, b]."""
        key_x, key_z = jax.random.split(key)
        x = preprocess(batch, key_x)
        mean, log_variance = nets.encoder(x, train=False)

        def one(key):
            z = reparameterise(mean, log_variance, key)
            log_posterior = gaussian_log_likelihood(z, mean, log_variance)
            log_ratio = gaussian_log_likelihood(z, 0.0, 0.0) - log_posterior
            return pixels.log_likelihood(x, nets.decoder.still(z, train=False)) + log_ratio

        return lax.map(one, jax.random.split(key_z, samples), batch_size=CHUNK)

    def elbo(nets, batch, key):
        return log_weights(nets, batch, key).mean(axis=0)

    def iwae(nets, batch, key):
        return importance_weighted_bound(log_weights(nets, batch, key))

    def posterior(nets, images):
        """The mean and log standard deviation of q(z|x); x are grey levels in [0, 1]."""
        mean, log_variance = nets.encoder((images + 1) / 2, train=False)
        return mean, log_variance / 2

    def encode(nets, images):
        return posterior(nets, images)[0]

    def decode(nets, z):
        return 2 * pixels.mean(nets.decoder(z, train=False)) - 1

    def generate(nets, z, condition, key):
        return decode(nets, z)

    def show(nets, batch, key):
        """Samples; images beside their reconstructions; the plane of two latents as one picture."""
        key_x, key_z = jax.random.split(key)
        x = preprocess(batch, key_x)[:32]
        again = decode(nets, nets.encoder(x, train=False)[0])
        pictures = {
            "samples": decode(nets, prior(key_z, len(batch["image"]))),
            "reconstructions": jnp.concatenate([2 * x - 1, again], axis=2),
        }
        if latent == 2:
            pictures["manifold"] = sheet(decode(nets, manifold()), columns=20)
        return pictures

    return System(
        players={
            "encoder": Player(encoder, [(2, *shape)], optimizer),
            "decoder": Player(decoder, [(2, latent)], optimizer),
        },
        turns=(Turn(("encoder", "decoder"), loss),),
        show=show,
        legends=LEGENDS,
        abilities=(
            Sampler(prior, generate, lerp),
            Autoencoder(encode, decode, posterior),
            Density(elbo, "elbo", exact=False, of=pixels.of, likelihood=pixels.likelihood),
            Density(iwae, "iwae", exact=False, of=pixels.of, likelihood=pixels.likelihood),
        ),
    )
