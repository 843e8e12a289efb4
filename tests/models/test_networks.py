"""Parameter counts of the papers' networks, their shapes at small sizes, their first read-outs."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.errors import UserError
from jaxgen.losses import adversarial
from jaxgen.models import dcgan, mlp, wgan_gp


def variables(module, *inputs):
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return jax.jit(module.init)(keys, *inputs)


def count(module, *shapes):
    inputs = [jnp.zeros((2, *shape)) for shape in shapes]
    params = jax.eval_shape(lambda: variables(module, *inputs))["params"]
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


MNIST_GP = wgan_gp.Generator(28, 1, 64, norm=False, unit=True), wgan_gp.Critic(64, unit=True)
PAIRS = {
    # DCGAN: torch, Theano
    "dcgan": (dcgan.Generator(), dcgan.Discriminator(), 100, (64, 64, 3), 3_576_704, 2_765_568),
    "dcgan-gray": (
        *(dcgan.Generator(channels=1), dcgan.Discriminator()),
        *(100, (64, 64, 1), 3_574_656, 2_763_520),
    ),
    "dcgan-wide": (
        *(dcgan.Generator(width=128), dcgan.Discriminator(width=128)),
        *(100, (64, 64, 3), 12_658_432, 11_036_160),
    ),
    "dcgan-32": (
        *(dcgan.Generator(32), dcgan.Discriminator(32)),
        *(100, (32, 32, 3), 1_068_928, 663_296),
    ),
    "dcgan-paper": (
        *(dcgan.PaperGenerator(), dcgan.PaperDiscriminator()),
        *(100, (64, 64, 3), 18_885_760, 17_232_768),
    ),
    # WGAN
    "wgan-no-norm": (
        *(dcgan.Generator(norm=False), dcgan.Discriminator()),
        *(100, (64, 64, 3), 3_574_784, 2_765_568),
    ),
    "wgan-mlp": (
        *(mlp.WganGenerator(), mlp.WganCritic()),
        *(100, (64, 64, 3), 6_880_768, 794_881),
    ),
    # GAN 2014
    "gan-mnist": (*mlp.mnist(), 100, (28, 28, 1), 2_503_984, 1_231_441),
    "gan-tfd": (*mlp.tfd(), 100, (48, 48, 1), 83_250_304, 21_037_201),
    "gan-cifar": (*mlp.cifar(), 100, (32, 32, 3), 89_395_072, 37_393_601),
    # WGAN-GP
    "gp-toy": (mlp.ToyGenerator(), mlp.ToyCritic(), 2, (2,), 527_874, 527_361),
    "gp-mnist": (*MNIST_GP, 128, (28, 28, 1), 1_554_177, 1_030_145),
    "gp-cifar": (
        *(wgan_gp.Generator(), wgan_gp.Critic()),
        *(128, (32, 32, 3), 5_179_907, 4_114_689),
    ),
    "gp-cifar-64": (
        *(wgan_gp.Generator(dim=64), wgan_gp.Critic(64)),
        *(128, (32, 32, 3), 1_565_955, 1_033_345),
    ),
    "gp-cifar-residual": (
        *(wgan_gp.CifarGenerator(), wgan_gp.CifarCritic()),
        *(128, (32, 32, 3), 1_204_483, 1_053_825),
    ),
    "gp-good-64": (
        *(wgan_gp.GoodGenerator(), wgan_gp.GoodCritic()),
        *(128, (64, 64, 3), 8_540_483, 7_491_841),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_parameter_counts(name):
    generator, discriminator, latent, shape, want_g, want_d = PAIRS[name]
    assert count(generator, (latent,)) == want_g
    assert count(discriminator, shape) == want_d


def test_parameter_counts_of_conditional_and_convolutional_variants():
    generator, critic = wgan_gp.CifarGenerator(classes=10), wgan_gp.CifarCritic(classes=10)
    label = jnp.zeros(2, jnp.int32)
    params = jax.eval_shape(lambda: variables(generator, jnp.zeros((2, 128)), label))["params"]
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == 1_218_307
    assert count(critic, (32, 32, 3)) == 1_055_115
    assert count(mlp.ConvGenerator(), (100,)) == 64_825_072


def test_resnet_101_has_101_layers_and_the_codes_parameters():
    """Counted by hand: blocks of 1, 3 and 1 pixels, half as wide inside, normalised once; the
    shortcuts of the doublings and halvings are not counted as layers."""
    generator, critic, d = wgan_gp.DeepGenerator(), wgan_gp.DeepCritic(), 64

    def block(a, b):
        return (a + 1) * (a // 2) + (9 * (a // 2) + 1) * (b // 2) + b // 2 * b + 2 * b

    widths = [8 * d, 4 * d, 2 * d, d, d // 2]
    same = sum(6 * block(w, w) for w in widths) - block(d // 2, d // 2)
    steps = list(itertools.pairwise(widths))
    up = sum(block(a, b) + (a + 1) * 4 * b for a, b in steps)
    down = sum(block(b, a) + (b + 1) * a for a, b in steps)
    dense = 4 * 4 * 8 * d
    assert count(generator, (128,)) == 129 * dense + same + up + 3 * (d // 2 + 1)
    assert count(critic, (64, 64, 3)) == 4 * (d // 2) + same + down + dense + 1
    for module, x in ((generator, jnp.zeros((2, 128))), (critic, jnp.zeros((2, 64, 64, 3)))):
        params = jax.eval_shape(lambda: variables(module, x))["params"]
        kernels = [k for k, _ in jax.tree_util.tree_leaves_with_path(params) if "kernel" in str(k)]
        assert len(kernels) == 101 + len(steps)


SMALL = [
    (dcgan.Generator(16, 2, 4), dcgan.Discriminator(16, 4), (16, 16, 2)),
    (dcgan.Generator(8, 2, 4, norm=False), dcgan.Discriminator(8, 4, norm=False), (8, 8, 2)),
    (dcgan.PaperGenerator(16, 2, 4), dcgan.PaperDiscriminator(16, 4), (16, 16, 2)),
    (dcgan.Generator((12, 24), 2, 4), dcgan.Discriminator((12, 24), 4), (12, 24, 2)),
    (dcgan.PaperGenerator((24, 12), 2, 4), dcgan.PaperDiscriminator((24, 12), 4), (24, 12, 2)),
    (mlp.Generator((6, 5, 2), (8, 8)), mlp.Discriminator(4, 2), (6, 5, 2)),
    (mlp.ConvGenerator(200), mlp.ConvDiscriminator(), (32, 32, 3)),
    (mlp.WganGenerator((6, 5, 2), 8), mlp.WganCritic(8), (6, 5, 2)),
    (mlp.ToyGenerator(3, 8), mlp.ToyCritic(8), (3,)),
    (wgan_gp.Generator(14, 2, 4), wgan_gp.Critic(4), (14, 14, 2)),
    (wgan_gp.Generator((12, 24), 2, 4), wgan_gp.Critic(4), (12, 24, 2)),
    (wgan_gp.Generator(28, 1, 4, False, True), wgan_gp.Critic(4, True), (28, 28, 1)),
    (wgan_gp.CifarGenerator(16, 2, 4), wgan_gp.CifarCritic(4), (16, 16, 2)),
    (wgan_gp.GoodGenerator(16, 2, 4), wgan_gp.GoodCritic(4), (16, 16, 2)),
    (wgan_gp.DeepGenerator(16, 2, 4, 1), wgan_gp.DeepCritic(4, 1), (16, 16, 2)),
]


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("generator", "critic", "shape"), SMALL)
def test_shapes_and_modes(generator, critic, shape, train):
    z = jnp.ones((2, 10))

    def play(generator, critic):
        x = jnp.ones((2, *shape))
        g, d = variables(generator, z), variables(critic, x)
        keys = {"dropout": jax.random.key(2)}
        x = generator.apply(g, z, train=train, mutable=["batch_stats"])[0]
        return x, critic.apply(d, x, train=train, mutable=["batch_stats"], rngs=keys)[0]

    images, logits = jax.eval_shape(lambda: play(generator, critic))
    assert images.shape == (2, *shape)
    assert logits.shape == (2,)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (dcgan.Generator(60), "makes none of 60 x 60; use 56 x 56"),
        (dcgan.PaperGenerator((48, 94)), "makes none of 48 x 94; use 48 x 88"),
        (wgan_gp.CifarGenerator(24), "square images of 8, 16, 32, 64, .* not 24 x 24"),
        (wgan_gp.GoodGenerator((32, 64)), "not 32 x 64"),
        (wgan_gp.DeepGenerator(dim=6), "widths of 4, 8, ..., not 6"),
    ],
)
def test_impossible_sizes_say_which_are_possible(module, says):
    with pytest.raises(UserError, match=says):
        count(module, (10,))


def test_first_read_outs_of_dcgan():
    """As large as those of torch's reference: std 0.2, D loss 1.6; its last layer's random draw
    shifts all logits alike, and the G loss with them."""
    keys = jax.random.split(jax.random.key(0), 4)
    generator, critic = dcgan.Generator(16), dcgan.Discriminator(16)
    z = jax.random.normal(keys[0], (16, 100))
    coarse = jax.random.uniform(keys[1], (16, 4, 4, 3), minval=-1.0)
    real = jax.image.resize(coarse, (16, 16, 16, 3), "linear")

    @jax.jit
    def read(z, real):
        g, d = generator.init(keys[2], z), critic.init(keys[3], real)
        images, _ = generator.apply(g, z, mutable=["batch_stats"])
        on = lambda x: critic.apply(d, x, mutable=["batch_stats"])[0]
        pair = adversarial.non_saturating
        return images, pair.discriminator(on(real), on(images)), pair.generator(on(images))

    images, told, fooled = read(z, real)
    assert abs(images.mean()) < 0.1
    assert 0.15 < images.std() < 0.3
    assert 1.3 < told < 2.0
    assert 0.3 < fooled < 1.5


def test_marginal_bias_makes_the_first_samples_the_mean_image():
    mean = jnp.linspace(-0.9, 0.9, 784).reshape(28, 28, 1)
    generator = mlp.Generator(hidden=(8, 8))
    params = variables(generator, jnp.zeros((1, 100)), mean)
    # all other biases start at 0, so that a latent of zeros shows this one alone
    image = generator.apply(params, jnp.zeros((1, 100)))
    np.testing.assert_allclose(image[0], mean, atol=1e-5)


def test_unit_discriminator_reads_pixels_in_zero_to_one():
    critic = wgan_gp.Critic(2, unit=True)
    x = jax.random.uniform(jax.random.key(0), (2, 8, 8, 1), minval=-1.0)
    params = variables(critic, x)
    want = wgan_gp.Critic(2).apply(params, (x + 1) / 2)
    np.testing.assert_allclose(critic.apply(params, x), want, rtol=1e-5)


def test_paper_dcgan_samples_with_the_statistics_of_the_batch():
    z = jax.random.normal(jax.random.key(0), (4, 10))
    generator = dcgan.PaperGenerator(8, 1, 4)
    params = variables(generator, z)
    assert set(params) == {"params"}
    sample = jax.jit(lambda z: generator.apply(params, z, train=False))
    apart, together = sample(z[:2]), sample(z)[:2]
    assert abs(apart - together).max() > 1e-3


def test_dcgan_of_48_by_96_pixels():
    """From 6 x 12 pixels by three doublings; parameters counted by hand."""
    assert dcgan.pyramid((48, 96)) == (3, (6, 12))
    assert [dcgan.pyramid(n) for n in (8, 28, 64)] == [(1, (4, 4)), (2, (7, 7)), (4, (4, 4))]
    generator, critic = dcgan.Generator((48, 96), 3, 8), dcgan.Discriminator((48, 96), 8)
    up = 6 * 12 * 100 * 32 + 16 * (32 * 16 + 16 * 8 + 8 * 3) + 2 * (32 + 16 + 8)
    assert count(generator, (100,)) == up
    assert count(critic, (48, 96, 3)) == 16 * (3 * 8 + 8 * 16 + 16 * 32) + 2 * 48 + 6 * 12 * 32
