"""The networks of IcGAN: sizes of the authors' code, and where the attributes enter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.models import icgan
from tests.models.test_networks import count, variables


@pytest.mark.parametrize(
    ("channels", "attributes", "counts"),
    [
        (3, 18, (3_725_123, 2_803_393, 18_278_244, 3_186_962)),  # CelebA
        (1, 10, (3_657_537, 2_784_961, 18_276_644, 3_181_258)),  # MNIST
    ],
)
def test_parameters_are_those_of_the_authors_code(channels, attributes, counts):
    image = (64, 64, channels)
    assert counts == (
        count(icgan.Generator(channels=channels), (100,), (attributes,)),
        count(icgan.Discriminator(), image, (attributes,)),
        count(icgan.Encoder(100), image),
        count(icgan.Encoder(attributes, units=512), image),
    )


@pytest.mark.parametrize("size", [8, 32, (16, 24)])
def test_other_sizes(size):
    shape = (*np.broadcast_to(size, 2).tolist(), 3)

    def run():
        z, y = jnp.zeros((2, 5)), jnp.ones((2, 3))
        g, d, e = icgan.Generator(size, 3, 2), icgan.Discriminator(size, 2), icgan.Encoder(5, 8, 2)
        made = g.apply(variables(g, z, y), z, y, train=False)
        told = d.apply(variables(d, made, y), made, y, train=False)
        return made, told, e.apply(variables(e, made), made, train=False)

    made, told, found = jax.eval_shape(run)
    assert (made.shape, told.shape, found.shape) == ((2, *shape), (2,), (2, 5))


def test_attributes_are_channels_behind_the_first_layer():
    """The second layer sees those of the first and one for each attribute, the same at every
    pixel: with equal weights for these channels only the sum of the attributes counts."""
    d = icgan.Discriminator(16, 4)
    x, y = jax.random.normal(jax.random.key(2), (3, 16, 16, 1)), jnp.array([[1.0, -1, 1]] * 3)
    own = variables(d, x, y)
    params = own["params"]
    assert params["Conv_0"]["kernel"].shape == (4, 4, 1, 4)
    kernel = params["Conv_1"]["kernel"]
    assert kernel.shape == (4, 4, 4 + 3, 8)
    alike = jnp.concatenate([kernel[:, :, :4], kernel[:, :, 4:5].repeat(3, axis=2)], axis=2)
    own = {**own, "params": {**params, "Conv_1": {**params["Conv_1"], "kernel": alike}}}
    told = (y, y[:, ::-1], y[:, [1, 0, 2]], -y)
    scores = [np.asarray(d.apply(own, x, rows, train=False)) for rows in told]
    for same in scores[1:3]:
        np.testing.assert_allclose(scores[0], same, rtol=1e-5, atol=1e-6)
    assert abs(scores[0] - scores[3]).min() > 1e-5
