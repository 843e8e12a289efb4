"""The claim of beta-TCVAE over three seeds, by the quick recipe; run with -m learning."""

import dataclasses

import pytest

from jaxgen.commands.launch import train
from jaxgen.experiments.beta_tcvae import Args, system

pytestmark = pytest.mark.learning


def test_latents_are_further_apart_than_those_of_a_vae(tmp_path):
    args = Args(workdir=tmp_path / "beta-tcvae")
    plain = dataclasses.replace(args, objective="vae", workdir=tmp_path / "vae")
    runs = [train("jaxgen.experiments.beta_tcvae", system, x) for x in (args, plain)]
    apart, beside = (run.evaluate("mig")["mig"] for run in runs)
    print(f"MIG: beta-TCVAE {apart:.3f}, VAE {beside:.3f}")
    assert apart >= 0.25
    assert apart >= beside + 0.1
