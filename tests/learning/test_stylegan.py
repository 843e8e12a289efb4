"""StyleGAN's quick recipe to its end, beside Progressive GAN's on the same faces; run with
-m learning."""

import importlib

import numpy as np
import pytest

from jaxgen.commands.launch import train

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
