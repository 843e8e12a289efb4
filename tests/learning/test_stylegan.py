"""StyleGAN's quick recipe to its end, beside Progressive GAN's on the same faces; run with
-m learning."""

import functools
import importlib

import jax
import numpy as np
import pytest

from jaxgen.commands.launch import train
from jaxgen.evaluate.separability import read
from jaxgen.pictures import as_uint8
from jaxgen.train.abilities import Sampler, StyleMixer

pytestmark = pytest.mark.learning


def trained(experiment, workdir):
    name = f"jaxgen.experiments.{experiment}"
    module = importlib.import_module(name)
    return train(name, module.system, module.Args(data="faces", workdir=workdir))


def test_styles_are_better_latents_and_cost_no_quality(tmp_path):
    """No worse an FID (SqueezeNet's) than Progressive GAN's, which trains as long; path lengths and
    separability are better in W than in Z; with fixed noise or none an image is always the same."""
    run, other = (trained(name, tmp_path / name) for name in ("stylegan", "progan"))
    fid, before = (x.evaluate("fid", samples=5000)["fid-squeezenet"] for x in (run, other))
    found = run.evaluate("ppl", "ppl-w", "separability", "separability-w")
    print(fid, before, found)
    assert fid <= before
    length = lambda name: found[f"{name}-squeezenet-distance"]
    assert length("ppl-w") < length("ppl")
    assert found["separability-w"] < found["separability"]
    for noise in ("fixed", "off"):
        images = [run.sample(8, noise=noise, batch=8) for _ in range(2)]
        np.testing.assert_array_equal(*images)
    _coarse_styles_are_shape_and_fine_ones_colour(run)


def _coarse_styles_are_shape_and_fine_ones_colour(run, n=1000, layer=4):
    """Of the attributes in which two samples differ, how often a mixed image has that of the sample
    that gave the coarse styles, up to 8 pixels."""
    mixer, prior = run.system.ability(StyleMixer), run.system.ability(Sampler).prior
    a, b = prior(jax.random.key(5), 2 * n).reshape(2, n, -1)
    reader = read(run.args.load_data("train", resident="no"))

    @functools.partial(jax.jit, static_argnums=2)
    def mixed(a, b, layer):
        return mixer.mix(run.nets(), a, b, layer)

    from_a, from_b, both = (
        reader.logits(as_uint8(mixed(a, b, at))) > 0 for at in (mixer.layers, 0, layer)
    )
    differ = from_a != from_b
    shares = ((both == from_a) & differ).sum(0) / differ.sum(0)
    coarse = dict(zip(reader.names, shares, strict=True))
    print("share of the coarse styles' sample:", coarse)
    shape, colour = ("hair", "headwear", "glasses"), ("skin_tone", "hair_colour", "clothes_colour")
    assert np.mean([coarse[x] for x in shape]) > np.mean([coarse[x] for x in colour])
