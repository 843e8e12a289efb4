"""Two-dimensional toy distributions of the WGAN-GP study (Gulrajani et al., 2017, Fig. 2).

The constants are those of the authors' script.  Every function returns points float32 [n, 2], of
a magnitude about 1, that do not depend on the number of devices.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import draw
from jaxgen.data.one import Same
from jaxgen.data.source import DataInfo, Field, digest

_ANGLES = np.arange(8) * np.pi / 4
RING_MODES = (2 * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1) / 1.414).astype(np.float32)
RING_STD = 0.02 / 1.414

_STEPS = 2 * np.arange(-2, 3)
GRID_MODES = (np.array([(x, y) for x in _STEPS for y in _STEPS]) / 2.828).astype(np.float32)
GRID_STD = 0.05 / 2.828


def ring(key: jax.Array, n: int) -> jax.Array:
    """8 Gaussians of equal weight on a circle of radius 1.414: `RING_MODES` [8, 2]."""
    return _mixture(key, n, RING_MODES, RING_STD)


def grid(key: jax.Array, n: int) -> jax.Array:
    """25 Gaussians of equal weight on a 5 x 5 grid: `GRID_MODES` [25, 2]."""
    return _mixture(key, n, GRID_MODES, GRID_STD)


def swiss_roll(key: jax.Array, n: int) -> jax.Array:
    """A spiral t (cos t, sin t), t uniform in [1.5 pi, 4.5 pi), with noise 0.25; over 7.5."""
    key_t, key_noise = jax.random.split(key)
    t = draw.uniform(key_t, n, (), 1.5 * jnp.pi, 4.5 * jnp.pi)
    spiral = t[:, None] * jnp.stack([jnp.cos(t), jnp.sin(t)], axis=1)
    return (spiral + 0.25 * draw.normal(key_noise, n, (2,))) / 7.5


def _mixture(key, n, modes, std):
    key_mode, key_noise = jax.random.split(key)
    chosen = draw.randint(key_mode, n, (), 0, len(modes))
    return jnp.asarray(modes)[chosen] + std * draw.normal(key_noise, n, (2,))


class Endless:
    """A distribution as data for `fit`: every minibatch {"x": [B, ...]} is drawn anew.

    The training program itself draws it; what is loaded is a row of places to fill.
    """

    resident = None
    info = DataInfo((2,), {"x": Field("array")})

    def __init__(self, sample):
        self.sample = sample
        self.fingerprint = digest(sample.__name__)

    def augment(self, batch, key):
        return {"x": self.sample(key, len(batch["place"]))}

    def examples(self, n: int) -> dict[str, np.ndarray]:
        return {"x": np.asarray(self.sample(jax.random.key(0), n))}

    def batches(self, batch_size, seed, *, process=0, processes=1, indices=False):
        return Same({"place": np.zeros(batch_size // processes, np.int32)})
