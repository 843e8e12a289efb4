"""`python -m jaxgen mix RUN`: the coarse styles of some samples with the fine ones of others."""

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from jaxgen.commands.choices import Batch, Copy, OfMixer, Out, Round, Run, System, by, open_run
from jaxgen.commands.flags import Count, Range, Seed
from jaxgen.commands.terminal import writing
from jaxgen.errors import UserError

Layer = Annotated[
    int | None, Range(1), arg(metavar="N", help_behavior_hint="(default: half of them)")
]


def mix(
    run: Run,
    *,
    rows: Count = 4,
    columns: Count = 6,
    layer: Layer = None,
    seed: Seed = 0,
    out: Out = None,
    batch: Batch = 64,
    system: System = None,
    round: Round = None,
    copy: Copy = None,
    **choices: OfMixer,
) -> Path:
    """A grid of mixed styles: coarse ones of the samples at its left, fine ones of those above.

    It is figure 3 of StyleGAN (Karras et al., 2019).

    Args:
        rows: Samples at the left.
        columns: Samples above.
        layer: Number of layers, from the coarsest, with the styles of the samples at the left.
        seed: Seed of the latents. The samples are the first of `sample` with the same seed.
        out: PNG file.
    """
    if out and out.suffix.lower() != ".png":
        raise UserError(f"--out {out} is no .png file; name one")
    trained = open_run(run, system, round, copy)
    from jaxgen.pictures import grid, save_png
    from jaxgen.runs.sampling import mixes

    at = f"_layer_{layer}" if layer else ""
    name = f"mix_round_{trained.round:08d}_seed_{seed}{at}{by(choices, copy)}.png"
    path = out or run / "use" / name
    with writing(path):
        cells = mixes(trained, rows, columns, layer, seed=seed, batch=batch, **choices)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_png(path, grid(cells, columns=columns + 1))
    return path
