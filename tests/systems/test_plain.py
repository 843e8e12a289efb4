"""What the plain GANs share: their discriminators see augmented images only."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.commands.augmented import PlainGAN
from jaxgen.errors import UserError
from jaxgen.nn.ada import Controller
from jaxgen.systems.gan import dcgan, gan, plain, wgan, wgan_gp
from jaxgen.train.abilities import DiscriminatorScores
from jaxgen.train.nets import bind, init

SHAPE = (4, 4, 1)
SEEN = 0.3  # how bright everything is that the discriminator sees


class Noise(nn.Module):
    """Images of as many of the latents as there are pixels."""

    @nn.compact
    def __call__(self, z, *, train: bool = True):
        return z[:, :16].reshape(-1, *SHAPE) + self.param("bias", nn.initializers.zeros, ())


class Mean(nn.Module):
    """The brightness of an image."""

    @nn.compact
    def __call__(self, x, *, train: bool = True):
        return x.mean((1, 2, 3)) + self.param("bias", nn.initializers.zeros, ())


def systems(augment):
    nets, sgd = (Noise(), Mean(), SHAPE), optax.sgd(0.1)
    return {
        "gan": gan.gan(*nets, sgd, sgd, from_mean=False, augment=augment),
        "dcgan": dcgan.dcgan(*nets, augment=augment),
        "wgan": wgan.wgan(*nets, augment=augment),
        "wgan_gp": wgan_gp.wgan_gp(*nets, sgd, sgd, augment=augment),
    }


def losses(system):
    """The discriminator's, the generator's, and the scores, by the same key."""
    nets = bind(init(system, jax.random.key(0)), jax.random.key(1))
    batch, key = {"image": jnp.zeros((3, *SHAPE))}, jax.random.key(2)
    first, second = (float(turn.loss(nets, batch, key)[0]) for turn in system.turns)
    return first, second, system.ability(DiscriminatorScores).scores(nets, batch, key)


entropy = lambda x: math.log1p(math.exp(x))  # of a logit -x
slope = 1 / math.sqrt(16)  # of a mean of 16 pixels


@pytest.mark.parametrize(
    ("name", "of_discriminator", "of_generator"),
    [
        ("gan", (entropy(-SEEN) + entropy(SEEN)) / 2, entropy(-SEEN)),
        ("dcgan", entropy(-SEEN) + entropy(SEEN), entropy(-SEEN)),
        ("wgan", 0.0, -SEEN),
        ("wgan_gp", 10 * (slope - 1) ** 2, -SEEN),
    ],
)
def test_everything_is_augmented_that_the_discriminator_sees(name, of_discriminator, of_generator):
    """Draws of its own for real images, for generated ones and for these in G's turn."""
    keys = []

    def grey(images, p, key):
        assert p == 1
        keys.append(jax.random.key_data(key).tobytes())
        return SEEN + 0 * images

    first, second, scores = losses(systems(plain.Augmentation(grey))[name])
    assert math.isclose(first, of_discriminator, rel_tol=1e-5, abs_tol=1e-6)
    assert math.isclose(second, of_generator, rel_tol=1e-5)
    np.testing.assert_allclose(scores, SEEN, rtol=1e-6)
    assert len(keys) == 5
    assert len(set(keys[:3])) == 3


def test_dcgans_generator_learns_from_the_same_fakes_however_they_are_shown():
    system = systems(plain.Augmentation(noise=1.0))["dcgan"]
    nets = bind(init(system, jax.random.key(0)), jax.random.key(1))
    made, made_by = [], nets.generator
    watch = lambda z, of=made_by: made.append(z) or of(z)
    watch.still, watch.step = watch, made_by.step
    nets.generator = watch
    for turn in system.turns:
        turn.loss(nets, {"image": jnp.zeros((3, *SHAPE))}, jax.random.key(2))
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize(("step", "left"), [(0, 1.0), (25, 0.75), (100, 0.0), (300, 0.0)])
def test_instance_noise_falls_over_the_rounds(step, left):
    nets = bind(init(systems(plain.NONE)["wgan"], jax.random.key(0)), jax.random.key(1))
    nets.generator.step = step
    images = jnp.full((500, *SHAPE), 0.5)
    falls = plain.Augmentation(noise=0.2, noise_rounds=100)(nets, images, jax.random.key(0))
    stays = plain.Augmentation(noise=0.2)(nets, images, jax.random.key(0))
    assert abs(stays.mean() - 0.5) < 0.01
    assert math.isclose(stays.std(), 0.2, rel_tol=0.03)
    np.testing.assert_allclose(falls - 0.5, left * (stays - 0.5), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "sign"), [("gan", 1.0), ("dcgan", 1.0), ("wgan", 1 / 3), ("wgan_gp", 1 / 3)]
)
def test_ada_holds_the_sign_of_real_scores(name, sign):
    """ADA takes logits as they are, a critic's scores from half way between their means, here
    (30 + 20) / 2 = 25: of real images of 10, 40 and 40 two are above, one is below."""
    brightness = jnp.array([10.0, 40.0, 40.0]).reshape(3, 1, 1, 1)
    system = systems(
        plain.Augmentation(lambda x, p, key: x, ada=Controller(start=0.5, interval=2))
    )[name]
    nets = bind(init(system, jax.random.key(0)), jax.random.key(1))
    nets.generator.params = {"bias": jnp.float32(20.0)}
    batch = {"image": jnp.broadcast_to(brightness, (3, *SHAPE))}
    _, metrics = system.turns[0].loss(nets, batch, jax.random.key(2))
    assert metrics["p"] == 0.5
    np.testing.assert_allclose(nets.ada.collections["ada"]["sign"], sign, rtol=1e-6)


def test_without_augmentation_the_latents_have_the_whole_key():
    """So that runs are those of versions that knew no augmentation."""
    key = jax.random.key(3)
    assert plain.NONE.keys(key)[0] is key
    assert not plain.NONE.players


def test_ada_and_four_channels():
    with pytest.raises(UserError, match="use --channels 3"):
        PlainGAN(augment="ada", channels=4).check()


def test_flags_that_would_change_nothing():
    for flags, line in (
        ({"ada_target": 0.5}, "--ada-target goes with --augment ada"),
        ({"ada_images": 1000, "augment": "diffaugment"}, "--ada-images goes with --augment ada"),
        ({"instance_noise_rounds": 9}, "--instance-noise-rounds goes with --instance-noise, su"),
        ({"evaluate_metrics": ("fid",)}, "--evaluate-metrics goes with --evaluate-every, such as"),
    ):
        with pytest.raises(UserError, match=f"^{line}"):
            PlainGAN(**flags).check()
    PlainGAN(augment="ada", ada_target=0.5, ada_images=1000).check()
