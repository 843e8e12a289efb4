"""`python -m jaxgen mix RUN`: the coarse styles of some samples with the fine ones of others."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from jaxgen.commands.sample import (
    Out,
    Round,
    RunFolder,
    Truncation,
    at_least,
    by,
    called,
    finite,
    images,
    usable,
    writing,
)
from jaxgen.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from jaxgen.commands.restore import Trained

Layer = Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the middle)")]


def mix(
    run: RunFolder,
    *,
    rows: int = 4,
    columns: int = 6,
    layer: Layer = None,
    truncation: Truncation = None,
    seed: int = 0,
    round: Round = None,
    out: Out = None,
    batch: int = 64,
) -> Path:
    """A grid of mixed styles: coarse ones of the samples at its left, fine ones of those above.

    It is figure 3 of StyleGAN (Karras et al., 2019).

    Args:
        run: A run folder, such as runs/stylegan2; it may be at work.
        rows: Samples at the left.
        columns: Samples above.
        layer: How many layers, from the coarsest, keep the styles of the samples at the left.
        truncation: Any number: 0 is the mean style, 1 the sample's own, 0.7 usual, -1 the opposite.
        seed: Of the latents. The samples are the first of `sample` with the same seed.
        round: The checkpoint's round.
        out: The PNG file.
        batch: How many are made at a time; fewer need less memory.
    """
    at_least(1, rows=rows, columns=columns, batch=batch)
    at_least(0, seed=seed)
    finite(truncation=truncation)
    if layer is not None:
        at_least(1, layer=layer)
    if out and out.suffix.lower() != ".png":
        raise UserError(f"--out {out} is no .png file; name one")
    from jaxgen.commands.restore import open_run

    trained = open_run(run, round)
    layer = _layer(trained, layer)
    from jaxgen.pictures import grid, save_png

    name = f"mix_round_{trained.round:08d}_seed_{seed}_layer_{layer}{by(truncation)}.png"
    path = out or Path(run) / "use" / name
    cells = mixes(trained, rows, columns, layer, truncation, seed, batch)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_png(path, grid(cells, columns=columns + 1))
    return path


def mixes(
    trained: "Trained",
    rows: int,
    columns: int,
    layer: int,
    psi: float | None = None,
    seed: int = 0,
    batch: int = 64,
) -> "np.ndarray":
    """The grid row by row, uint8 [(rows + 1) * (columns + 1), H, W, C]; its corner is white.

    A sample mixed with itself is the sample, so that one program makes the borders, too.
    """
    import jax
    import numpy as np

    use = usable(trained)
    key, key_latent = jax.random.split(jax.random.key(seed))
    latents = jax.jit(use.latent, static_argnums=1)(key_latent, rows + columns)
    coarse, fine = range(rows), range(rows, rows + columns)
    pairs = [(0, 0), *((j, j) for j in fine)]  # the corner, to be painted over, is some sample
    for i in coarse:
        pairs += [(i, i), *((i, j) for j in fine)]
    a, b = (jax.tree.map(lambda x, who=who: x[who], latents) for who in np.array(pairs).T)

    def make(nets, pairs):
        return use.mixed(nets, *pairs, layer, 1.0 if psi is None else psi)

    n = len(pairs)
    cells = np.concatenate(list(images(trained, make, (a, b), n, key, min(batch, n))))
    cells[0] = 255
    return cells


def _layer(trained: "Trained", layer: int | None) -> int:
    use = usable(trained)
    if use.mixed is None or use.layers < 2:
        raise UserError(f"{called(trained)} has no styles to mix; stylegan2 is a system that has")
    if layer is None:
        return use.layers // 2
    if not 1 <= layer < use.layers:
        raise UserError(f"--layer is from 1 to {use.layers - 1}, not {layer}")
    return layer
