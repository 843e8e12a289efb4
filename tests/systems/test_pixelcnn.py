"""PixelCNN: a distribution that sums to 1, draws that follow it, completion, and labels."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.errors import UserError
from jaxgen.experiments import pixelcnn as experiment
from jaxgen.models.pixelcnn import GatedPixelCNN
from jaxgen.systems.likelihood import pixels
from jaxgen.systems.likelihood.pixelcnn import pixelcnn
from jaxgen.train.abilities import Density, Sampler, Translator
from jaxgen.train.nets import bind, init
from tests.quick import quick_to_compile  # noqa: F401

SHAPE = (3, 3, 1)


def made(network, kind, labels=False):
    """A system with weights drawn, and its players."""
    system = pixelcnn(network, SHAPE, optax.adam(1e-3), kind, labels)
    batch = {"image": jnp.zeros((64, *SHAPE)), "label": jnp.zeros(64, jnp.int32)}
    states = init(system, jax.random.key(0), lambda n: {k: x[:n] for k, x in batch.items()})
    key = jax.random.key(1)
    larger = lambda w: 3 * w + 0.3 * jax.random.normal(key, w.shape)
    states = {k: s.replace(params=jax.tree.map(larger, s.params)) for k, s in states.items()}
    return SimpleNamespace(system=system, nets=bind(states, jax.random.key(2)))


def log_prob(it, images, **fields):
    density = it.system.ability(Density)
    return jax.jit(lambda b: density.log_prob(it.nets, b, jax.random.key(3)))(
        {"image": images, **fields}
    )


@pytest.fixture(scope="module")
def binary():
    return made(GatedPixelCNN(1, 4, 2, first_kernel=3), pixels.binary)


ALL = 2 * jnp.float32(list(itertools.product((0, 1), repeat=9))).reshape(512, *SHAPE) - 1


def test_all_binary_images_have_probability_one(binary):
    p = np.exp(np.asarray(log_prob(binary, ALL), np.float64))
    np.testing.assert_allclose(p.sum(), 1, atol=1e-5)
    assert p.max() > 20 * p.min()  # and they differ


def test_draws_follow_the_density(binary):
    """The shares of 20,000 draws, within what chance explains."""
    sampler, n = binary.system.ability(Sampler), 20_000
    z = sampler.prior(jax.random.key(4), n)
    images = jax.jit(lambda z: sampler.generate(binary.nets, z, {}, None))(z)
    assert set(np.unique(images)) == {-1, 1}
    code = np.int32(np.asarray(images).reshape(n, 9) > 0) @ 2 ** np.arange(9)[::-1]
    found = np.bincount(code, minlength=512)
    expected = n * np.exp(np.asarray(log_prob(binary, ALL), np.float64))
    common = expected > 5
    chi_squared = ((found - expected) ** 2 / expected)[common].sum()
    degrees = common.sum()
    assert degrees > 50
    assert chi_squared < degrees + 5 * np.sqrt(2 * degrees)


def test_completions_keep_the_upper_rows(binary):
    """As many as are asked for; what is drawn below depends on them."""
    (way,) = binary.system.all_of(Translator)
    image = jnp.stack([jnp.ones(SHAPE), -jnp.ones(SHAPE)]).repeat(200, 0)
    complete = jax.jit(lambda keep: way.translate(binary.nets, {"image": image}, key, keep=keep))
    key = jax.random.key(5)
    for keep, rows in ((0.0, 0), (0.34, 2), (0.6, 2), (1.0, 3)):
        done = np.asarray(complete(keep))
        kept = (done == np.asarray(image)).all((0, 2, 3))
        np.testing.assert_array_equal(kept, np.arange(3) < rows)
    assert way.options["keep"].high == 1
    below = np.asarray(complete(0.6))[:, 2:]
    assert abs(below[:200].mean() - below[200:].mean()) > 0.05


def test_labels_are_seen():
    """The likelihood of an image, and what is drawn or completed from the same noise, follow it."""
    network = GatedPixelCNN(256, 4, 2, first_kernel=3, classes=2)
    it = made(network, pixels.categorical, labels=True)
    image = jnp.round(jax.random.uniform(jax.random.key(6), (4, *SHAPE)) * 255) / 127.5 - 1
    zero, one = (log_prob(it, image, label=jnp.full(4, label)) for label in (0, 1))
    assert (abs(zero - one) > 1e-3).all()
    sampler = it.system.ability(Sampler)
    assert (sampler.condition, sampler.differentiable) == (("label",), False)
    z = sampler.prior(jax.random.key(7), 4)
    generate = jax.jit(lambda label: sampler.generate(it.nets, z, {"label": label}, None))
    zero, one = (np.asarray(generate(jnp.full(4, label))) for label in (0, 1))
    assert (zero != one).any()
    (way,) = it.system.all_of(Translator)
    assert way.inputs == ("image", "label")
    given, key = {"image": image}, jax.random.key(8)
    complete = jax.jit(lambda n: way.translate(it.nets, {**given, "label": n}, key, keep=0.0))
    assert (complete(jnp.full(4, 0)) != complete(jnp.full(4, 1))).any()
    for drawn in (zero, one):  # of 256 levels
        np.testing.assert_allclose((drawn + 1) * 127.5, np.round((drawn + 1) * 127.5), atol=1e-3)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"net": "plus"}, "--net plus has grey levels; use --pixels levels"),
        ({"net": "plus", "pixels": "levels", "size": (30, 28)}, "needs sides that 4 divides"),
        ({"channels": 3}, "--net gated knows one channel; use --net plus"),
        ({"channels": 4, "net": "plus", "pixels": "levels"}, "--channels is 1 or 3 here"),
    ],
)
def test_mistakes(flags, said):
    with pytest.raises(UserError, match=said):
        experiment.Args(**flags).check()
