"""The networks of StackGAN: sizes of the authors' code, and conditioning augmentation beside it."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.models import stackgan
from tests.models.test_networks import count, variables

GOLDEN = Path(__file__).parents[1] / "golden/b/stackgan_ca_and_losses.npz"
SMALL, LARGE, TEXT, EPS = (64, 64, 3), (256, 256, 3), (1024,), (128,)


@pytest.mark.parametrize(
    ("module", "shapes", "expected"),
    [
        (stackgan.Augmentation(), (TEXT, EPS), 262_400),
        (stackgan.StageOne(), ((100,), TEXT, EPS), 14_264_192),
        (stackgan.Discriminator(), (SMALL, TEXT), 4_029_824),
        (stackgan.StageTwo(), (SMALL, TEXT, EPS), 26_290_080),
        (stackgan.Discriminator(), (LARGE, TEXT), 48_603_520),
    ],
    ids=["augmentation", "G1", "D1", "G2", "D2"],
)
def test_parameters_are_those_of_the_authors_code(module, shapes, expected):
    assert count(module, *shapes) == expected


def test_conditioning_augmentation_is_that_of_the_authors_code():
    with np.load(GOLDEN) as golden:
        kernel, bias = golden["param_W"].T, golden["param_b"]
        c, mu, log_sigma = stackgan.Augmentation(4).apply(
            {"params": {"Dense_0": {"kernel": kernel, "bias": bias}}},
            *(jnp.array(golden["in_text_emb"]), jnp.array(golden["in_eps"])),
        )
        np.testing.assert_allclose(mu, golden["out_mu_tf"], rtol=1e-5)
        np.testing.assert_allclose(log_sigma, golden["out_logsigma_tf"], rtol=1e-5)
        np.testing.assert_allclose(c, golden["out_c_tf"], rtol=1e-5)


@pytest.mark.parametrize(("side", "halvings"), [(16, 0), (32, 1), (64, 2), (128, 2)])
def test_small_images_are_halved_fewer_times(side, halvings):
    image, text, eps = jnp.zeros((2, side, side, 1)), jnp.zeros((2, 6)), jnp.zeros((2, 3))
    shapes = jax.eval_shape(stackgan.StageTwo(4, 3, 1).init, jax.random.key(0), image, text, eps)
    kernels = [x.shape for x in jax.tree.leaves(shapes["params"]) if x.ndim == 4]
    assert sum(kernel[0] == 4 for kernel in kernels) == halvings


@pytest.mark.parametrize("small", [8, 16, 32, 64, (8, 12)])
def test_other_sizes(small):
    height, width = np.broadcast_to(small, 2).tolist()
    z, text, eps = jnp.zeros((2, 5)), jnp.zeros((2, 6)), jnp.zeros((2, 3))
    one, two = stackgan.StageOne(small, 1, 4, 3), stackgan.StageTwo(4, 3, 1)
    d = stackgan.Discriminator(2, 3)

    def run():
        image, mu, _ = one.apply(variables(one, z, text, eps), z, text, eps, train=False)
        large, *_ = two.apply(variables(two, image, text, eps), image, text, eps, train=False)
        told = [d.apply(variables(d, x, text), x, text, train=False) for x in (image, large)]
        return image, mu, large, *told

    shapes = [x.shape for x in jax.eval_shape(run)]
    sides = (2, height, width, 1), (2, 3), (2, 4 * height, 4 * width, 1)
    assert shapes == [*sides, (2,), (2,)]


def test_the_condition_is_the_texts_and_random():
    """Without eps Stage I depends on z and the text alone; with it the condition has the deviation
    that the text says."""
    one = stackgan.StageOne(8, 1, 4, 3)
    keys = jax.random.split(jax.random.key(3), 3)
    z, text, eps = (jax.random.normal(k, (2, n)) for k, n in zip(keys, (5, 6, 3), strict=True))
    own = variables(one, z, text, eps)
    made = lambda z, text, eps: one.apply(own, z, text, eps, train=False)[0]
    still = jnp.zeros_like(eps)
    assert abs(made(z, text, eps) - made(z, text, still)).max() > 1e-5
    assert abs(made(z, text[::-1], still) - made(z, text, still)).max() > 1e-5
    assert abs(made(z[::-1], text, still) - made(z, text, still)).max() > 1e-5
