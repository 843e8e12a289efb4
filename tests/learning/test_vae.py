"""The VAE's quick recipe to its end, beside pixels by themselves; run with -m learning."""

import jax.numpy as jnp
import pytest

from jaxgen.commands.launch import train
from jaxgen.experiments.vae import Args, system
from jaxgen.losses.likelihood import bernoulli_log_likelihood, factorised_logits

pytestmark = pytest.mark.learning


def test_the_bound_beats_a_factorised_bernoulli_by_80_nats(tmp_path):
    trained = train("jaxgen.experiments.vae", system, Args(workdir=tmp_path))
    digits = {split: trained.args.load_data(split) for split in ("train", "test")}
    bound = trained.evaluate("iwae", samples=500, batch=100)["iwae"]
    levels = {k: jnp.float32(x.take(range(len(x)))["image"]) / 255 for k, x in digits.items()}
    alone = bernoulli_log_likelihood(levels["test"], factorised_logits(levels["train"])).mean()
    print(f"importance-weighted bound {bound:.1f} nats, factorised Bernoulli {alone:.1f}")
    assert bound > alone + 80
