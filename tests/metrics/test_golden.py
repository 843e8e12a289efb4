"""Every golden number of a metric (see `golden`, which also prints them as a table)."""

import numpy as np
import pytest

from tests.metrics.golden import FILES, GOLDEN, rows, table

# Conventions that are not ours, or no metric: the window of scikit-image's default, a mean over the
# padded image, parts of a sum, a loss.
OTHERS = ("uniform7", "_torchmetrics", "out_tr", "out_rd_tr", "sqnorm", "mse_0_255", "out_tv")


@pytest.mark.parametrize("file", FILES)
def test_holds(file):
    for row in rows(file):
        for error, tolerance in zip(row.errors, row.tolerances):
            assert error <= tolerance, row.metric


@pytest.mark.parametrize("file", FILES)
def test_none_is_left_out(file):
    compared = {row.metric.split("/")[-1] for row in rows(file)}
    golden = {name for name in np.load(GOLDEN / f"{file}.npz") if name.startswith("out_")}
    assert not [name for name in golden - compared if not any(o in name for o in OTHERS)]


def test_table(tmp_path, capsys):
    """One line for each golden number: `python -m tests.metrics.golden` prints it."""
    lines = table().splitlines()
    assert len(lines) == 2 + sum(len(rows(file)) for file in FILES)
    assert all(line.count("|") == 7 for line in lines)
    with capsys.disabled():
        worst = max((row for file in FILES for row in rows(file)), key=lambda row: row.errors[1])
        print(f"\n{len(lines) - 2} golden numbers; worst in float64: {worst.metric}", end=" ")
