"""A toy experiment with styles: an image is a sum over three layers, linear in each one's style."""

import dataclasses

from jaxgen.commands.arguments import Arguments

LATENT, LAYERS, MEAN = 4, 3, 0.25


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Styles 0.25 + 0.5 z, by layer."""

    size: int = 16


def system(args, data):
    import flax.linen as nn
    import jax.numpy as jnp
    import optax

    from jaxgen import draw
    from jaxgen.train.game import Player, Space, System, Turn, Use

    shape = (args.size, args.size, args.channels)

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

    def made(nets, ws):
        return nets.g(ws, flat(nets))

    def style(z, psi=1.0):
        return jnp.repeat((MEAN + psi * 0.5 * z)[:, None], LAYERS, 1)

    def noise(key, n):
        return draw.normal(key, n, (LATENT,))

    def truncated(nets, z, psi):
        return made(nets, style(z, psi))

    def mixed(nets, a, b, layer, psi):
        first = jnp.arange(LAYERS)[:, None] < layer
        return made(nets, jnp.where(first, style(a, psi), style(b, psi)))

    def points(nets, key, n):
        return style(noise(key, n))[:, 0]

    def at_points(nets, w, maps):
        return nets.g(jnp.repeat(w[:, None], LAYERS, 1), maps)

    def loss(nets, batch, key):
        return (truncated(nets, noise(key, len(batch["image"])), 1.0) ** 2).mean(), {}

    def generate(nets, z):
        return truncated(nets, z, 1.0)

    space = Space(points, at_points, flat)
    use = Use(noise, generate, truncated=truncated, mixed=mixed, layers=LAYERS, space=space)
    example = [(1, LAYERS, LATENT), {"fine": jnp.zeros(shape[:2])}]
    return System(
        players={"g": Player(Generator(), example, optax.sgd(1e-6))},
        turns=(Turn(("g",), loss),),
        show=lambda nets, batch, key: {"made": generate(nets, noise(key, 4))},
        use=use,
    )
