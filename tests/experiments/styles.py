"""A toy experiment with styles: an image is a sum over three layers, linear in each one's style."""

import dataclasses

from jaxgen.commands.arguments import Arguments

LATENT, LAYERS, MEAN = 4, 3, 0.25


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Styles 0.25 + 0.5 z, by layer."""


def system(args, info):
    import flax.linen as nn
    import jax.numpy as jnp
    import optax

    from jaxgen import draw
    from jaxgen.train.abilities import LatentSpace, Option, Sampler, StyleMixer
    from jaxgen.train.game import Player, System, Turn

    shape = info.shape

    class Generator(nn.Module):
        @nn.compact
        def __call__(self, ws, maps):
            scale = 0.3 / LATENT**0.5
            init = nn.initializers.normal(scale)
            basis = self.param("basis", init, (LAYERS, LATENT, *shape))
            image = jnp.einsum("nlk,lkhwc->nhwc", ws, basis)
            return image + 0.02 * maps["fine"][:, :, None]

    def flat(nets):
        return {"fine": jnp.zeros(shape[:2])}

    def style(z, psi):
        return jnp.repeat((MEAN + psi * 0.5 * z)[:, None], LAYERS, 1)

    def prior(key, n):
        return draw.normal(key, n, (LATENT,))

    def generate(nets, z, condition, key, truncation=1.0):
        return nets.g(style(z, truncation), flat(nets))

    def mix(nets, a, b, layer, truncation=1.0):
        first = jnp.arange(LAYERS)[:, None] < layer
        return nets.g(jnp.where(first, style(a, truncation), style(b, truncation)), flat(nets))

    def points(nets, key, n):
        return style(prior(key, n), 1.0)[:, 0]

    def at_points(nets, w, maps):
        return nets.g(jnp.repeat(w[:, None], LAYERS, 1), maps)

    def loss(nets, batch, key):
        z = prior(key, len(batch["image"]))
        return (generate(nets, z, {}, key) ** 2).mean(), {}

    example = [(1, LAYERS, LATENT), {"fine": jnp.zeros(shape[:2])}]
    truncation = Option(1.0, "Truncation", curve=(0.0, 0.5, 1.0))
    return System(
        players={"g": Player(Generator(), example, optax.sgd(1e-6))},
        turns=(Turn(("g",), loss),),
        abilities=(
            Sampler(prior, generate, options={"truncation": truncation}),
            StyleMixer(mix, LAYERS),
            LatentSpace(points, at_points, flat),
        ),
    )
