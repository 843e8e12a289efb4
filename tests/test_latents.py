import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.latents import lerp, slerp


def test_ends_and_length():
    a, b = jax.random.normal(jax.random.key(0), (2, 5, 64))
    for path in (lerp, slerp):
        np.testing.assert_allclose(path(a, b, 0.0), a, atol=1e-5)
        np.testing.assert_allclose(path(a, b, 1.0), b, atol=1e-5)
    a, b = jnp.array([3.0, 0.0]), jnp.array([0.0, 3.0])
    middle = slerp(a, b, 0.5)
    np.testing.assert_allclose(middle, [3 / np.sqrt(2)] * 2, rtol=1e-6)
    np.testing.assert_allclose(jnp.linalg.norm(lerp(a, b, 0.5)), 3 / np.sqrt(2), rtol=1e-6)


def test_times_broadcast():
    a, b = jax.random.normal(jax.random.key(0), (2, 3, 4))
    assert slerp(a, b, jnp.linspace(0, 1, 3)).shape == (3, 4)
    assert slerp(a, b, jnp.linspace(0, 1, 7)[:, None]).shape == (7, 3, 4)
    assert slerp(a[0], b[0], jnp.linspace(0, 1, 7)).shape == (7, 4)


def test_parallel_and_opposite_vectors():
    a = jnp.array([1.0, 2.0, 2.0])
    for b in (a, 2 * a, -a, a + 1e-7, jnp.zeros(3)):
        assert jnp.isfinite(slerp(a, b, 0.3)).all()
    np.testing.assert_allclose(slerp(a, 2 * a, 0.5), 1.5 * a, rtol=1e-6)
