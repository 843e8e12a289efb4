"""The VAE's quick recipe to its end, beside pixels by themselves; run with -m learning."""

import jax.numpy as jnp
import pytest

from jaxgen.commands.launch import load_data, train
from jaxgen.commands.restore import open_run
from jaxgen.commands.scores import measured
from jaxgen.experiments.vae import Args, system
from jaxgen.losses.likelihood import bernoulli_log_likelihood, factorised_logits

pytestmark = pytest.mark.learning


def test_the_bound_beats_a_factorised_bernoulli_by_80_nats(tmp_path):
    train("jaxgen.experiments.vae", system, Args(workdir=tmp_path))
    trained = open_run(tmp_path)
    digits = {split: load_data(trained.args, split) for split in ("train", "test")}
    bound = measured(trained, ["iwae"], digits["test"], 500, 100, 0)["iwae"]["value"]
    levels = {k: jnp.float32(x.take(range(len(x)))["image"]) / 255 for k, x in digits.items()}
    alone = bernoulli_log_likelihood(levels["test"], factorised_logits(levels["train"])).mean()
    print(f"importance-weighted bound {bound:.1f} nats, factorised Bernoulli {alone:.1f}")
    assert bound > alone + 80
