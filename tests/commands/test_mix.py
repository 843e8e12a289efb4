"""Mixed styles: which sample gives what, and how the grid is laid out."""

import numpy as np
import pytest
from PIL import Image

from jaxgen.commands.mix import mixes
from jaxgen.commands.restore import open_run
from jaxgen.commands.sample import samples
from tests.experiments.styles import LAYERS, MEAN


@pytest.fixture(scope="module")
def opened(styled):
    return open_run(styled)


def expected(opened, rows, columns, layer, psi, seed):
    """The cells in plain NumPy, from the toy's weights."""
    import jax

    latent = opened.system.use.latent
    z = np.asarray(latent(jax.random.split(jax.random.key(seed))[1], rows + columns))
    basis = np.asarray(opened.states["g"].params["basis"])
    cells = np.empty((rows, columns, *basis.shape[2:]))
    for i in range(rows):
        for j in range(columns):
            who = [i if at < layer else rows + j for at in range(LAYERS)]
            ws = MEAN + psi * 0.5 * z[who]
            cells[i, j] = sum(np.tensordot(ws[at], basis[at], 1) for at in range(LAYERS))
    return cells


@pytest.mark.parametrize(("layer", "psi"), [(1, None), (2, 0.5), (2, -1.0)])
def test_cells_have_the_coarse_styles_of_their_row_and_the_fine_ones_of_their_column(
    opened, layer, psi
):
    rows, columns = 2, 3
    cells = mixes(opened, rows, columns, layer, psi, seed=4, batch=5)
    assert cells.shape == ((rows + 1) * (columns + 1), 16, 16, 3)
    cells = cells.reshape(rows + 1, columns + 1, 16, 16, 3)
    assert (cells[0, 0] == 255).all()
    [drawn] = samples(opened, rows + columns, seed=4, psi=psi)
    near = lambda a, b: abs(a.astype(int) - b).max() <= 1
    assert near(cells[1:, 0], drawn[:rows])
    assert near(cells[0, 1:], drawn[rows:])
    made = expected(opened, rows, columns, layer, 1.0 if psi is None else psi, seed=4)
    assert near(cells[1:, 1:], np.floor(made * 127.5 + 128).clip(0, 255))


def test_the_picture(styled, jaxgen, tmp_path):
    code, said, problem = jaxgen("mix", styled)
    assert (code, problem) == (0, "")
    assert said.strip() == str(styled / "use/mix_round_00000001_seed_0_layer_1.png")
    with Image.open(said.strip()) as picture:
        assert picture.size == (7 * 18 - 2, 5 * 18 - 2)
    words = ("--rows", 1, "--columns", 2, "--layer", 2, "--truncation", 0.5, "--seed", 1)
    code, said, _ = jaxgen("mix", styled, *words, "--out", tmp_path / "new" / "mix.png")
    assert code == 0
    with Image.open(tmp_path / "new" / "mix.png") as picture:
        assert picture.size == (3 * 18 - 2, 2 * 18 - 2)


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--layer", 0], "--layer is at least 1, not 0"),
        (["--layer", 3], "--layer is from 1 to 2, not 3"),
        (["--rows", 0], "--rows is at least 1, not 0"),
        (["--columns", -1], "--columns is at least 1, not -1"),
        (["--truncation", "inf"], "--truncation is a finite number, not inf"),
        (["--out", "mix.gif"], "mix.gif is no .png file"),
        (["--out", "/proc/nowhere/x.png"], "/proc/nowhere/x.png cannot be written"),
    ],
)
def test_mistakes(styled, jaxgen, flags, problem):
    code, said, line = jaxgen("mix", styled, *flags)
    assert (code, said, line.count("\n")) == (2, "", 1)
    assert problem in line


def test_a_system_without_styles(trained, jaxgen):
    code, _, line = jaxgen("mix", trained)
    assert code == 2
    assert "wgan has no styles to mix; stylegan2 is a system that has" in line
