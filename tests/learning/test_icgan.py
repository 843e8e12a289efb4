"""IcGAN's quick recipe to its end; run with -m learning."""

import numpy as np
import pytest

from jaxgen.commands.launch import train
from jaxgen.evaluate.run import evaluate
from jaxgen.experiments.icgan import Args, system

pytestmark = pytest.mark.learning


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train("jaxgen.experiments.icgan", system, Args(workdir=tmp_path_factory.mktemp("icgan")))


def test_edits_change_what_is_asked_for_and_nothing_else(run):
    accuracy, preservation = evaluate(run, ("edit-accuracy", "edit-preservation"))
    print(accuracy, preservation)
    assert accuracy["value"] >= 0.85
    assert preservation["value"] >= 0.85


def test_an_edited_image_is_nearer_the_true_counterfactual_than_the_image_was(run):
    (distance,) = evaluate(run, ("l1",))
    print(distance)
    assert distance["value"] < distance["baselines"]["input"]


def test_the_encoders_see_what_they_were_not_shown(run):
    """Latents of new generated images, attributes of held-out ones."""
    attributes = run.data.held_out(500)["attributes"]
    made = run.sample(500, attributes=attributes, seed=1)
    size = run.args.latent
    again = run.encode(made)
    assert np.corrcoef(again[:, :size].ravel(), _latents(run, 500).ravel())[0, 1] > 0.6
    found = run.encode(run.data.held_out(500)["image"])[:, size:] > 0
    majority = np.maximum(attributes.mean(0), 1 - attributes.mean(0))
    assert ((found == attributes).mean(0) > majority).all()


def _latents(run, n):
    import jax

    from jaxgen.runs.sampling import latent_key
    from jaxgen.train.abilities import Sampler

    sampler = run.ability(Sampler, "draws no samples")
    return np.asarray(jax.jit(sampler.prior, static_argnums=1)(latent_key(1), n))
