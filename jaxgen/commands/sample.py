"""`python -m jaxgen sample RUN`: images from a trained system's noise."""

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from jaxgen.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from jaxgen.commands.restore import Trained

RunFolder = Annotated[Positional[Path], arg(metavar="RUN")]
Round = Annotated[int | None, arg(metavar="R", help_behavior_hint="(default: the newest)")]
Truncation = Annotated[float | None, arg(metavar="PSI", help_behavior_hint="(default: none)")]
Out = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: in RUN/use/)")]


def sample(
    run: RunFolder,
    *,
    n: int = 64,
    seed: int = 0,
    truncation: Truncation = None,
    round: Round = None,
    single: bool = False,
    out: Out = None,
    batch: int = 64,
) -> Path:
    """Samples of a trained run: one grid, or a PNG file each.

    Args:
        run: A run folder, such as runs/wgan; it may be at work.
        n: How many. The first samples of a seed are the same however many follow.
        seed: Of the latents.
        truncation: Any number: 0 is the mean style, 1 the sample's own, 0.7 usual, -1 the opposite.
        round: The checkpoint's round.
        single: Write numbered files 00000.png, 00001.png, ... into a folder.
        out: The PNG file, or with --single the folder.
        batch: How many are made at a time; fewer need less memory.
    """
    from jaxgen.commands.restore import open_run

    at_least(1, n=n, batch=batch)
    at_least(0, seed=seed)
    finite(truncation=truncation)
    if out and not single and out.suffix.lower() != ".png":
        raise UserError(f"--out {out} is no .png file; name one, or ask for a folder with --single")
    trained = open_run(run, round)
    import numpy as np

    from jaxgen.data.images import to_pil
    from jaxgen.pictures import grid, save_png

    name = f"samples_round_{trained.round:08d}_seed_{seed}{by(truncation)}"
    path = out or Path(run) / "use" / (name if single else f"{name}.png")
    chunks = samples(trained, n, seed, batch, truncation)
    with writing(path):
        if not single:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_png(path, grid(np.concatenate(list(chunks))))
            return path
        path.mkdir(parents=True, exist_ok=True)
        i = 0
        for chunk in chunks:
            for image in chunk:
                save_png(path / f"{i:05d}.png", to_pil(image))
                i += 1
    return path


def samples(
    trained: "Trained", n: int, seed: int = 0, batch: int = 64, psi: float | None = None
) -> Iterator["np.ndarray"]:
    """`n` images of a system that makes them from noise, uint8 [b, H, W, C], b <= batch at a time.

    Sample i depends on the seed and i: neither on n nor, but for float rounding, on `batch`, unless
    its network looks at the whole batch or draws noise of its own. `psi` truncates. UserError where
    the system makes no images from noise, or cannot be truncated.
    """
    import jax

    use, make = usable(trained), maker(trained, psi)
    key, key_latent = jax.random.split(jax.random.key(seed))
    whole = -(-n // batch) * batch  # so that the last chunk, too, has the company it would have
    latents = jax.jit(use.latent, static_argnums=1)(key_latent, whole)
    return images(trained, make, latents, n, key, batch)


def maker(trained: "Trained", psi: float | None) -> Callable[[Any, Any], Any]:
    """(nets, latent) -> images, truncated where there is a `psi`; UserError where none can be."""
    use = usable(trained)
    if psi is None:
        return use.generate
    if use.truncated is None:
        raise UserError(f"{called(trained)} has no mean style to go to; leave --truncation out")
    return lambda nets, latent: use.truncated(nets, latent, psi)


def images(
    trained: "Trained", make: Callable, latents: Any, n: int, key: Any, batch: int
) -> Iterator["np.ndarray"]:
    """What `make` gives for the latents' first `n` rows, uint8 [b, H, W, C], b <= batch at a time.

    make: (nets, latents) -> images; see `maker`.
    """
    import jax
    import numpy as np
    from tqdm import tqdm

    from jaxgen.train.game import look
    from jaxgen.pictures import as_uint8

    @jax.jit
    def generate(states, latents, key):
        return make(look(trained.system, states, key), latents)

    latents = jax.device_get(latents)
    rows = len(jax.tree.leaves(latents)[0])
    with tqdm(total=n, unit="image", leave=False, disable=True if n <= batch else None) as bar:
        for first in range(0, n, batch):
            # Every chunk is whole, so that one program serves.
            chosen = (first + np.arange(batch)) % rows
            chunk = jax.tree.map(lambda x: x[chosen], latents)  # noqa: B023
            made = generate(trained.states, chunk, jax.random.fold_in(key, first))
            made = as_uint8(made)[: n - first]
            bar.update(len(made))
            yield made


def usable(trained: "Trained") -> Any:
    """The system's `Use`; UserError where it makes no images from noise."""
    from jaxgen.train.game import Use

    if not isinstance(trained.system.use, Use):
        raise UserError(
            f"{called(trained)} makes no images from noise; its pictures are in samples/ of the run"
        )
    return trained.system.use


def called(trained: "Trained") -> str:
    """The experiment's name."""
    return type(trained.args).__module__.rpartition(".")[2]


def by(psi: float | None) -> str:
    """What the truncation adds to a file's name."""
    return "" if psi is None else f"_psi_{psi:g}"


def at_least(least: int, **flags: int) -> None:
    """UserError that names the flag which is below."""
    for name, value in flags.items():
        if value < least:
            raise UserError(f"--{name} is at least {least}, not {value}")


def finite(**flags: float | None) -> None:
    """UserError that names the flag which is infinite or no number; None passes."""
    for name, value in flags.items():
        if value is not None and not math.isfinite(value):
            raise UserError(f"--{name} is a finite number, not {value:g}")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the disk refuses into one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{path} cannot be written ({reason}); name another place by --out"
        ) from error
