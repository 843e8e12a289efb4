"""`python -m jaxgen interpolate RUN`: a closed walk through latents, as a film and a strip."""

from pathlib import Path
from typing import TYPE_CHECKING

from jaxgen.commands.sample import (
    Out,
    Round,
    RunFolder,
    Truncation,
    at_least,
    by,
    finite,
    images,
    maker,
    usable,
    writing,
)
from jaxgen.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from jaxgen.commands.restore import Trained

FILMS = (".gif", ".mp4")


def interpolate(
    run: RunFolder,
    *,
    n: int = 8,
    steps: int = 16,
    rows: bool = False,
    seed: int = 0,
    truncation: Truncation = None,
    round: Round = None,
    out: Out = None,
    fps: float = 24,
    batch: int = 64,
) -> list[Path]:
    """A walk from latent to latent and back to the first: a film, and a strip of its frames.

    Args:
        run: A run folder, such as runs/wgan; it may be at work.
        n: How many latents the walk passes.
        steps: Frames from one latent to the next.
        rows: Lay the strip out in rows, one from each latent to the next.
        seed: Of the latents; they are those of `sample` with the same seed.
        truncation: Any number: 0 is the mean style, 1 the sample's own, 0.7 usual, -1 the opposite.
        round: The checkpoint's round.
        out: A .gif or .mp4 file, with the strip in a .png beside it; or a .png for the strip alone.
        fps: Frames a second of the film.
        batch: How many frames are made at a time; fewer need less memory.
    """
    at_least(1, steps=steps, batch=batch)
    at_least(2, n=n)
    at_least(0, seed=seed)
    finite(truncation=truncation)
    if not fps > 0:
        raise UserError(f"--fps is above 0, not {fps:g}")
    if out and out.suffix not in (*FILMS, ".png"):
        raise UserError(f"--out {out} is no .gif, .mp4 or .png file; give it one of these endings")
    from jaxgen.commands.restore import open_run

    trained = open_run(run, round)
    import numpy as np

    from jaxgen.pictures import grid, save_film, save_png

    name = f"walk_round_{trained.round:08d}_seed_{seed}{by(truncation)}.gif"
    path = out or Path(run) / "use" / name
    frames = np.concatenate(list(walk(trained, n, steps, seed, batch, truncation)))
    strip = path.with_suffix(".png")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_png(strip, grid(frames, columns=steps if rows else len(frames)))
        if path == strip:
            return [strip]
        save_film(path, [grid(frame[None]) for frame in frames], fps)
    return [path, strip]


def walk(
    trained: "Trained",
    n: int,
    steps: int,
    seed: int = 0,
    batch: int = 64,
    psi: float | None = None,
):
    """The frames of a closed walk through `n` latents, `steps` from each to the next.

    Yields uint8 [b, H, W, C], b <= batch at a time, n * steps in all; frame i * steps is the image
    of latent i, and the last frame is a step away from the first. The path between two latents is
    the system's own (`Use.between`). `psi` truncates.
    """
    import jax
    import jax.numpy as jnp

    use, make = usable(trained), maker(trained, psi)
    key, key_latent = jax.random.split(jax.random.key(seed))

    def between(a, b, t):  # of single latents, as batches of one
        one = use.between(*jax.tree.map(lambda x: x[None], (a, b)), t)
        return jax.tree.map(lambda x: x[0], one)

    @jax.jit
    def path(latents) -> "np.ndarray":
        here, t = jnp.repeat(jnp.arange(n), steps), jnp.tile(jnp.arange(steps) / steps, n)
        take = lambda rows: jax.tree.map(lambda x: x[rows], latents)
        return jax.vmap(between)(take(here), take((here + 1) % n), t)

    latents = path(jax.jit(use.latent, static_argnums=1)(key_latent, n))
    return images(trained, make, latents, n * steps, key, batch)
