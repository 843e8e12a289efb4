"""Systems on images of 48 x 96 pixels: they are built, trained for a round, shown and used."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest

from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.models import cyclegan as cycle
from jaxgen.models import dcgan as dc
from jaxgen.models import mlp, patchgan, stylegan2
from jaxgen.models import pix2pix as unet
from jaxgen.models import progan as growing
from jaxgen.models import srgan as enlarging
from jaxgen.models import vae as coders
from jaxgen.models import wgan_gp as gp
from jaxgen.systems.gan.dcgan import dcgan
from jaxgen.systems.gan.gan import gan
from jaxgen.systems.gan.progan import progan
from jaxgen.systems.gan.wgan import wgan
from jaxgen.systems.gan.wgan_gp import wgan_gp
from jaxgen.systems.likelihood.vae import vae
from jaxgen.systems.restoration.srgan import srgan
from jaxgen.systems.style.gatys import gatys, targets
from jaxgen.systems.translation.cyclegan import cyclegan
from jaxgen.systems.translation.pix2pix import pix2pix
from jaxgen.train import devices, nets
from jaxgen.train.abilities import Autoencoder, Sampler, Translator
from jaxgen.train.program import compile_rounds

SIZE = 48, 96
SHAPE = (*SIZE, 3)
SGD = optax.sgd(1e-3)


SYSTEMS = {
    "gan": lambda: gan(mlp.Generator(SHAPE, (4, 4)), mlp.Discriminator(4), SHAPE, SGD, SGD),
    "dcgan": lambda: dcgan(dc.Generator(SIZE, 3, 2), dc.Discriminator(SIZE, 2), SHAPE),
    "dcgan-paper": lambda: dcgan(
        dc.PaperGenerator(SIZE, 3, 2), dc.PaperDiscriminator(SIZE, 2), SHAPE
    ),
    "wgan": lambda: wgan(
        dc.Generator(SIZE, 3, 2, norm=False), dc.Discriminator(SIZE, 2, norm=False), SHAPE
    ),
    "wgan-mlp": lambda: wgan(mlp.WganGenerator(SHAPE, 4), mlp.WganCritic(4), SHAPE),
    "wgan_gp": lambda: wgan_gp(gp.Generator(SIZE, 3, 2), gp.Critic(2), SHAPE, SGD, SGD),
    "vae": lambda: vae(
        coders.Encoder(2, (4,)), coders.BernoulliDecoder(SHAPE, (4,)), SHAPE, 2, SGD
    ),
    "pix2pix": lambda: pix2pix(
        unet.UNet(unet.depth_of(SIZE), 3, 2), patchgan.PatchGAN(2, 2), SHAPE
    ),
    "cyclegan": lambda: cyclegan(
        cycle.Generator(3, 2, 1), patchgan.PatchGAN(2, 2, "instance"), SHAPE, 2
    ),
    "srgan": lambda: srgan(
        enlarging.Generator(3, 2, 1), enlarging.Discriminator(2), SHAPE, (SGD, SGD)
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_trained_and_used(name):
    """Traced, not computed: shapes are all that depends on the size."""
    system = SYSTEMS[name]()
    names = "ab" if name in ("pix2pix", "cyclegan") else ["image"]
    fields = {name: Field("image", 3) for name in names}
    info = DataInfo(SHAPE, fields)
    states = nets.shapes(system, info.zeros)
    key = jax.random.key(0)

    where = devices.make_mesh(jax.devices()[:1])
    program = compile_rounds(system, where, system.plan(0), fields=fields)
    minibatches = (1, system.minibatches(system.plan(0)), 2, *SHAPE)
    batches = {name: jax.ShapeDtypeStruct(minibatches, jnp.uint8) for name in names}
    after, metrics = program.trace(states, batches, jnp.zeros(1, jnp.int32), key).out_info
    shapes = lambda tree: [x.shape for x in jax.tree.leaves(tree)]
    assert shapes(after) == shapes(states)
    assert all(value.shape == (1,) for value in metrics.values())

    def shape_of(f, *args):
        return jax.eval_shape(lambda states: f(nets.bind(states, key), *args), states).shape

    shown = jax.eval_shape(
        lambda states, batch: system.show(nets.bind(states, key), batch, key),
        *(states, info.zeros(30)),
    )
    assert all(x.shape[1] % 48 == x.shape[2] % 96 == 0 for x in shown.values())
    if sampler := system.ability(Sampler):
        generate = lambda nets: sampler.generate(nets, sampler.prior(key, 3), {}, key)
        assert shape_of(generate) == (3, *SHAPE)
    for way in system.all_of(Translator):
        inputs, truth = way.pair(info.zeros(2))
        assert shape_of(way.translate, inputs, key) == truth.shape == (2, *SHAPE)
    if coder := system.ability(Autoencoder):
        again = lambda nets, x: coder.decode(nets, coder.encode(nets, x))
        assert shape_of(again, jnp.zeros((2, *SHAPE))) == (2, *SHAPE)


class Features(nn.Module):
    """Stands for a classifier whose features a picture is painted after."""

    @nn.compact
    def __call__(self, x):
        return {"conv1": nn.Conv(2, (3, 3), 2)(x)}


def test_a_picture_is_painted_at_any_size():
    """gatys has no minibatches: its picture's own round, and another photograph's translation."""
    system = gatys(
        Features(), lambda x: x, None, SHAPE, "conv1", {"conv1": 1.0}, alpha=1.0, beta=1.0, steps=2
    )
    assert system.show is not None
    states, key, show = nets.shapes(system), jax.random.key(0), system.show
    images = [jnp.zeros((1, *shape)) for shape in (SHAPE, (32, 40, 3), (96, 48, 3))]

    def used(states):
        found, (image, style, other) = nets.bind(states, key), images
        features = lambda x: found.features.still(x)
        batch = targets(features, image, style, "conv1", {"conv1": 1.0})
        batch |= {"image": image, "painting": style}
        way = system.ability(Translator)
        painted = way.translate(found, {"image": other, "style": style}, key)
        return system.turns[0].loss(found, batch, key)[0], show(found, batch, key), painted

    loss, shown, painted = jax.eval_shape(used, states)
    assert loss.shape == ()
    assert shown["picture"].shape == (1, *SHAPE)
    assert painted.shape == (1, 96, 48, 3)


def test_systems_of_squares_say_which():
    says = r"Progressive GAN makes square images of 4, 8, 16, 32, \.\.\. pixels, not 48 x 96"
    with pytest.raises(UserError, match=says):
        progan(growing.Generator(16), growing.Critic(), SHAPE, 16, 0, SGD)
    with pytest.raises(UserError, match=r"StyleGAN2 makes square images of 4, .* not 48 x 96"):
        stylegan2.widths(SIZE)
