from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxgen.losses import divergences

GOLDEN = Path(__file__).parents[1] / "golden"


def test_parallel_lines():
    golden = np.load(GOLDEN / "a/wgan_parallel_lines.npz")
    theta = jnp.asarray(golden["in_theta"], jnp.float32)
    js = divergences.jensen_shannon(theta)
    np.testing.assert_allclose(divergences.earth_mover(theta), golden["out_W1"], rtol=1e-6)
    np.testing.assert_allclose(js, golden["out_JS_nats"], rtol=1e-6)
    np.testing.assert_allclose(divergences.total_variation(theta), golden["out_TV"])
    np.testing.assert_allclose(divergences.kullback_leibler(theta), golden["out_KL"])
    np.testing.assert_allclose(
        divergences.minimax_value(js), golden["out_optimal_gan_value"], rtol=1e-6, atol=1e-6
    )
