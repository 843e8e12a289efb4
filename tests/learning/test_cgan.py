"""The conditional GAN's quick recipe to its end, and once more with other labels; run with
-m learning."""

import numpy as np
import pytest

import jaxgen as jg
from jaxgen.commands.launch import train
from jaxgen.experiments.cgan import Args, system
from tests.digits import score, score_run

pytestmark = pytest.mark.learning


def test_digits_are_read_as_the_label_that_they_were_made_from(tmp_path):
    train("jaxgen.experiments.cgan", system, Args(workdir=tmp_path))
    found = score_run(tmp_path)
    print(found)
    assert found.classes == 10
    assert found.read is not None
    assert found.read >= 0.9


def test_shuffled_labels_teach_nothing():
    """The same training, on digits of which each has the label of another."""
    args = Args()
    digits = args.load_data("train").resident
    assert digits is not None
    label = np.random.default_rng(0).permutation(digits["label"])
    data = jg.arrays({"image": digits["image"], "label": label})
    options = {"batch_size": args.batch_size, "rounds_per_call": args.rounds_per_call}
    trained = jg.fit(system(args, data.info), data, args.rounds, **options)
    labels = np.arange(1000) % 10
    images = np.float32(trained.sample(1000, label=labels, seed=1)) / 127.5 - 1
    found = score(images, labels)
    print(found)
    assert found.read is not None
    assert found.read <= 0.12
