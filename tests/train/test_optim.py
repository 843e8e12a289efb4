"""The papers' schedules."""

from pathlib import Path

import numpy as np

from jaxgen.train.optim import linear_decay

GOLDEN = Path(__file__).parents[1] / "golden/b"


def test_linear_decay_as_in_the_reference():
    want = np.load(GOLDEN / "lr_schedule_linear.npz")["out_lr_per_epoch"]
    schedule = linear_decay(2e-4, 100, 100, steps_per_epoch=7)
    first, last = (np.array([schedule(7 * e + i) for e in range(200)]) for i in (0, 6))
    np.testing.assert_allclose(first, want, atol=1e-10)
    np.testing.assert_allclose(last, want, atol=1e-10)
    assert schedule(10_000) == 0
