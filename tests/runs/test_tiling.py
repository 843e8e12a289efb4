"""Tiles: what they depend on, and that together they are what the whole image gives."""

import dataclasses
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.models import cyclegan as cycle
from jaxgen.models import patchgan
from jaxgen.models import pix2pix as unet
from jaxgen.models import srgan as enlarging
from jaxgen.nn.norm import BatchNorm, InstanceNorm
from jaxgen.runs import tiling
from jaxgen.runs.trained import TrainedRun
from jaxgen.systems.restoration.srgan import srresnet
from jaxgen.systems.translation.cyclegan import cyclegan
from jaxgen.systems.translation.pix2pix import pix2pix
from jaxgen.train import nets
from jaxgen.train.abilities import Translator
from tests.quick import quick_to_compile  # noqa: F401
from tests.runs.toys import stylist

IMAGE = Field("image", 3)
SHAPE = (48, 96, 3)
NETS = {
    "srgan": enlarging.Generator(3, 2, 1),
    "cyclegan": cycle.Generator(3, 2, 1),
    "pix2pix": unet.UNet(3, 3, 2),
}
SYSTEMS = {
    "srgan": lambda net: srresnet(net, SHAPE, optax.sgd(1e-3)),
    "cyclegan": lambda net: cyclegan(net, patchgan.PatchGAN(2, 1, "instance"), SHAPE, 2),
    "pix2pix": lambda net: pix2pix(net, patchgan.PatchGAN(2, 1), SHAPE),
}


@pytest.mark.parametrize(
    ("length", "tile", "reach"), [(10, 12, 3), (12, 12, 3), (13, 12, 3), (100, 12, 4), (97, 20, 0)]
)
def test_cores_follow_each_other_and_keep_their_distance(length, tile, reach):
    found = tiling.spans(length, tile, reach)
    kept = [i for span in found for i in range(span.first, span.last)]
    assert kept == list(range(length))
    for start, first, last in found:
        end = start + min(tile, length)
        assert start >= 0
        assert end <= length
        assert start == 0 or first - start >= reach
        assert end == length or end - last >= reach


def filled(shapes):
    """Numbers of those shapes, such as weights may be."""
    rng = np.random.default_rng(0)
    leaf = lambda x: (
        np.float32(0.3 * rng.standard_normal(x.shape))
        if x.ndim > 1
        else 1 + np.zeros(x.shape, np.float32)
    )
    return jax.tree.map(leaf, shapes)


def depend_on(net, sides, places):
    """The boxes of output pixels that depend on the input pixels (at, at): those that it makes NaN,
    with moments that are given."""

    def moments(compute, args, kwargs, context):
        if context.method_name != "moments":
            return compute(*args, **kwargs)
        assert isinstance(context.module, BatchNorm | InstanceNorm)
        return jnp.zeros(()), jnp.ones(())

    @jax.jit
    def made(variables, x):
        with nn.intercept_methods(moments):
            return net.apply(variables, x)

    x = np.zeros((len(places), *sides, 3), np.float32)
    for i, at in enumerate(places):
        x[i, at, at, 1] = np.nan
    variables = filled(jax.eval_shape(net.init, jax.random.key(0), x))
    found = np.isnan(made(variables, x)).any(-1)
    return [[np.flatnonzero(mask.any(axis))[[0, -1]] for axis in (1, 0)] for mask in found]


@pytest.mark.parametrize("name", NETS)
def test_the_reach_is_that_of_the_network(name):
    net, scale, whole = NETS[name], 4 if name == "srgan" else 1, 0
    places = [24, 27, 31]
    for at, box in zip(places, depend_on(net, (56, 56), places), strict=True):
        for low, high in box:
            back, on = at - low // scale, high // scale - at
            assert max(back, on) <= net.reach
            whole = max(whole, back, on)
    assert whole >= net.reach - 2  # and no larger than it has to be


def run_of(name):
    """A run of which all pixels and all norms have something to say."""
    net = cycle.Generator(3, 2, 0) if name == "cyclegan" else NETS[name]  # few passes
    system, info = SYSTEMS[name](net), DataInfo(SHAPE, dict.fromkeys("ab", IMAGE))
    states = {
        k: s.replace(params=filled(s.params), collections=filled(s.collections))
        for k, s in nets.shapes(system).items()
    }
    return TrainedRun(
        system, {k: s.replace(step=0, opt_state=()) for k, s in states.items()}, info, 1, name
    )


def photograph(*sides):
    """Darker on the left, so that the moments of a tile are not those of the whole."""
    noise = np.random.default_rng(0).integers(0, 128, (*sides, 3))
    return (noise + np.linspace(0, 127, sides[1]).astype(int)[:, None]).astype(np.uint8)


@pytest.mark.parametrize(("name", "tile"), [("srgan", 32), ("cyclegan", 36), ("pix2pix", 63)])
def test_tiles_are_the_whole_image(name, tile):
    run, image = run_of(name), photograph(37, 67)
    whole = run.translate(image)
    assert whole.std() > 10
    off = abs(run.translate(image, tile=tile).astype(int) - whole)
    assert off.max() <= 1
    assert (off > 0).mean() < 1e-3


def test_tiles_that_are_too_small_or_cannot_be():
    run, image = run_of("pix2pix"), photograph(50, 67)
    with pytest.raises(UserError, match="tile is at least 56 for pix2pix, whose tiles overlap"):
        run.translate(image, tile=55)
    noisy = pix2pix(unet.UNet(6, 3, 2), NETS["pix2pix"], (192, 192, 3))  # paints with dropout
    assert noisy.ability(Translator).reach is None
    whole = using(Translator(lambda nets, inputs, key: inputs["image"], lambda batch: batch))
    with pytest.raises(UserError, match="tile cannot be chosen: stylist translates whole images"):
        whole.translate(image, tile=8)


def using(way):
    """The run `stylist`, of which `way` is what it can do."""
    run = stylist()
    return dataclasses.replace(run, system=dataclasses.replace(run.system, abilities=(way,)))


def test_a_large_image_has_tiles_of_itself(monkeypatch):
    """And further inputs of its size are cut along."""
    image, mask = photograph(40, 60), np.uint8(photograph(40, 60)[..., :1] > 128) * 255
    seen = []

    def keep(nets, inputs, key):
        seen.append(inputs["image"].shape[1:3])
        return inputs["image"] * inputs["mask"]

    run = using(Translator(keep, lambda batch: (batch, batch), ("image", "mask"), reach=0))
    whole = run.translate(image, mask=mask)
    assert set(seen) == {(40, 60)}
    needed = types.SimpleNamespace(temp_size_in_bytes=8 * tiling.MEMORY)
    monkeypatch.setattr(jax.stages.Compiled, "memory_analysis", lambda self: needed)
    np.testing.assert_array_equal(run.translate(image, mask=mask), whole)
    assert seen[-1] == (17, 17)  # an eighth of the pixels


@pytest.mark.parametrize(
    ("abilities", "said"),
    [
        ({"reach": 0}, "tile has to be smaller: the device's memory is full"),
        ({}, "size has to be smaller: the device's memory is full"),
        ({"any_size": False}, "is full, and .* takes one size only; use a device that has more"),
    ],
)
@pytest.mark.parametrize("error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")])
def test_a_full_memory_names_what_has_to_be_smaller(abilities, said, error):
    way = Translator(lambda *_: (_ for _ in ()).throw(error), lambda batch: batch, **abilities)
    with pytest.raises(UserError, match=said):
        using(way).translate(photograph(8, 8))
