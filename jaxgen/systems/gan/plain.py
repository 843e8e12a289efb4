"""The discriminator's scores of real and generated images, which the plain GANs share."""

from collections.abc import Callable

from jaxgen.latents import Prior


def scores(
    prior: Prior, discriminator: str = "discriminator", *, again: bool = False, of: str = "image"
) -> Callable:
    """(nets, batch, key) -> (D(x), D(G(z))), of the batch's images [b, H, W, C] in [-1, 1] and of
    as many generated ones; in two passes, so that each has its own batch statistics.

    again: G learns from the same images next (`reuse="batch+noise"`). They are one pass of G, whose
      running statistics its own turn moves.
    of: the batch field that D judges, and G makes.
    """

    def both(nets, batch, key):
        d, real = getattr(nets, discriminator), batch[of]
        g = nets.generator.still if again else nets.generator
        return d(real), d(g(prior(key, len(real))))

    return both
