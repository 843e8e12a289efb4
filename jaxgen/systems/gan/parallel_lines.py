"""Parallel lines: Example 1 of WGAN (Arjovsky et al., 2017), https://arxiv.org/abs/1701.07875.

The data are uniform on {0} x [0, 1], the samples g_theta(z) = (theta, z), z ~ U[0, 1].  The
distances between them are known (`jaxgen.losses.divergences`):

    W(P_0, P_theta) = |theta|,    JS(P_0, P_theta) = log 2 if theta != 0, else 0.

theta stands still, and a critic learns what a critic can say of it: trained to the end, V(D) of a
GAN is 2 JS - log 4 (Goodfellow et al., 2014, Theorem 1), and E f(x) - E f(g(z)) of a WGAN is W.
There are several thetas, and a critic for each.
"""

import jax
import jax.numpy as jnp
import optax

from jaxgen import draw
from jaxgen.losses.adversarial import GANLoss
from jaxgen.losses.penalties import wgan_gp
from jaxgen.models.lines import Critics, Lines
from jaxgen.train.game import Player, System, Turn


def data(key, n):
    """Heights of n points, uniform in [0, 1]."""
    return draw.uniform(key, n)


def at(line: float, height, n: int):
    """The points (line, height), each n times in a row: [b * n, 2]."""
    points = jnp.stack([jnp.full_like(height, line), height], axis=1)
    return jnp.repeat(points, n, axis=0)


def parallel_lines(
    thetas: tuple[float, ...],
    gan_loss: GANLoss,
    optimizer: optax.GradientTransformation,
    penalty: float = 0.0,
    width: int = 64,
) -> System:
    """penalty: WGAN-GP's weight lambda; 0 goes without."""
    n = len(thetas)

    def loss(nets, batch, key):
        k1, k2 = jax.random.split(key)
        real = at(0.0, batch["x"], n)
        fake = nets.generator(draw.uniform(k1, len(batch["x"])))
        value = loss = gan_loss.discriminator(nets.critic(real), nets.critic(fake))
        if penalty:
            loss += penalty * wgan_gp(nets.critic.still, real, fake, k2)
        return loss, {"value": -value}  # means over the thetas, each of which moves its own critic

    def show(nets, batch, key):
        """f(x, 1/2), x from -1.5 to 1.5, a line of pixels a critic; white is the most real."""
        x = jnp.linspace(-1.5, 1.5, 8 * n)
        f = nets.critic(jnp.repeat(jnp.stack([x, 0 * x + 0.5], axis=1), n, axis=0))
        f = f.reshape(len(x), n).T
        low, high = f.min(1, keepdims=True), f.max(1, keepdims=True)
        picture = 2 * (f - low) / jnp.maximum(high - low, 1e-9) - 1
        return {"critics": jnp.repeat(picture, 8, axis=0)[None, :, :, None]}

    return System(
        players={
            "generator": Player(Lines(thetas), [(1,)]),
            "critic": Player(Critics(n, width), [(n, 2)], optimizer),
        },
        turns=(Turn(("critic",), loss),),
        show=show,
        legends={
            "critics": "f(x, 1/2), x from -1.5 to 1.5, a row a critic; white is the most real"
        },
    )


def value(gan_loss: GANLoss, nets, points: int = 1000):
    """E f(x) - E f(g(z)), or V, of each theta's critic [n], and its slope in theta [n].

    The expectations are sums over evenly spaced heights, the same for both lines.  The slope is
    what the generator would follow: the critic's weights stand still.
    """
    theta = nets.generator.params["theta"]
    height = (jnp.arange(points) + 0.5) / points
    scores = lambda rows: nets.critic(rows).reshape(points, len(theta))
    on_real = scores(at(0.0, height, len(theta)))

    def values(theta):
        on_fake = scores(nets.generator.still(height, params={"theta": theta}))
        return -jax.vmap(gan_loss.discriminator, in_axes=1)(on_real, on_fake)

    return values(theta), jax.grad(lambda theta: values(theta).sum())(theta)
