"""Scores of images that have a right answer: each made image beside the true one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxgen.commands.scores import chunks, spread
from jaxgen.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from jaxgen.commands.restore import Trained
    from jaxgen.data.pipeline import Data

# Whether higher is better.  l1 is in units of [-1, 1]; psnr and ssim are those of RGB, of 8 bits;
# with -y those of the luma, as super-resolution papers score it.
METRICS = {
    "l1": False,
    "psnr": True,
    "psnr-y": True,
    "ssim": True,
    "ssim-y": True,
    "ms-ssim": True,
    "squeezenet-distance": False,
    "lpips-vgg": False,
    "lpips-squeeze": False,
}
EQUAL = 100.0  # dB, for PSNR of images that are equal, so that means stay finite
MEAN_OF = 1000  # targets of the training set, whose mean image is a baseline

Arrays = Mapping[
    str, "np.ndarray"
]  # {"made" or a baseline's name: uint8 [b, H, W, C], "true": ...}


def networks(names: Sequence[str], weights: Path | None) -> dict[str, Any]:
    """The perceptual distances among `names`; UserError where one cannot be had."""
    from jaxgen.weights import distances

    return {n: distances.distance(n, weights) for n in names if n in distances.NAMES}


def score(
    names: Sequence[str], chunks: Iterable[Arrays], distances: Mapping[str, Any], border: int = 0
) -> dict[str, dict[str, Any]]:
    """`{name: {"value", "deviation", "baselines"}}`: the mean over images and their deviation, and
    the means of what stands beside "made" and "true" in the chunks.

    border: pixels that are not compared, on every side.
    """
    import numpy as np

    found: dict[str, dict[str, list]] = {name: {} for name in names}
    for chunk in chunks:
        for whose in chunk.keys() - {"true"}:
            for name in names:
                value = _score(name, chunk[whose], chunk["true"], distances, border)
                found[name].setdefault(whose, []).append(np.asarray(value, np.float64))
    every = {
        name: {whose: np.concatenate(x) for whose, x in values.items()}
        for name, values in found.items()
    }
    return {
        name: {
            "value": float(values["made"].mean()),
            "deviation": float(values["made"].std()),
            "baselines": {k: float(x.mean()) for k, x in sorted(values.items()) if k != "made"},
        }
        for name, values in every.items()
    }


def _score(name, made, true, distances, border):
    """One a picture [b], of uint8 images."""
    from jaxgen.metrics import pixels
    from jaxgen.nn import imagenet
    from jaxgen.train.game import to_float

    made, true = pixels.crop(made, border), pixels.crop(true, border)
    if made.shape[-1] != true.shape[-1]:  # a grey input as the baseline of a coloured target
        made, true = (
            (imagenet.rgb(to_float(x)) + 1).clip(0, 2) * 127.5 for x in map(_array, (made, true))
        )
    if name == "l1":
        return abs(_array(made, float) - _array(true, float)).mean((1, 2, 3)) / 127.5
    if name in distances:
        a, b = (_array(x, float) / 127.5 - 1 for x in (made, true))
        return distances[name].apply(a, b)
    if name.endswith("-y"):
        if made.shape[-1] == 3:
            made, true = pixels.luma(made), pixels.luma(true)
        name = name.removesuffix("-y")
    compute = {"psnr": pixels.psnr, "ssim": pixels.ssim, "ms-ssim": pixels.ms_ssim}[name]
    try:
        return compute(made, true).clip(max=EQUAL)
    except ValueError as error:
        raise UserError(f"{name}: {error}; leave it out, or use larger images") from None


def _array(x, kind=None):
    import jax.numpy as jnp

    return jnp.asarray(x, jnp.float32 if kind is float else None)


def of_run(
    trained: "Trained",
    direction: str,
    data: "Data",
    train: "Data",
    count: int,
    batch: int,
    seed: int,
) -> Iterator[Arrays]:
    """What the system makes of `count` examples of `data`, the truth, and two baselines: the input
    itself (enlarged bicubically where the output is larger), and the mean target of `train`."""
    import jax
    import numpy as np

    from jaxgen.train.game import look, to_float
    from jaxgen.pictures import as_uint8

    apply = trained.system.apply[direction]

    @jax.jit
    def run(states, batch, key):
        inputs, true = apply.pair(to_float(batch))
        made = apply.apply(look(trained.system, states, key), inputs, key)
        same = inputs.shape[1:3] == true.shape[1:3]
        size = (*true.shape[:3], inputs.shape[-1])
        return made, true, inputs if same else jax.image.resize(inputs, size, "cubic")

    targets = jax.jit(lambda batch: apply.pair(to_float(batch))[1])
    mean = as_uint8(np.mean(targets(train.examples(min(MEAN_OF, len(train)))), 0))
    key = jax.random.key(seed)
    for first, n, examples in chunks(data, spread(data, count), batch):
        made, true, inputs = run(trained.states, examples, jax.random.fold_in(key, first))
        found = {"made": made, "true": true, "input": inputs}
        found = {name: as_uint8(x)[:n] for name, x in found.items()}
        if found["input"].shape[-1] not in (1, 3, 4):
            del found["input"]
        yield found | {"mean": np.broadcast_to(mean, found["true"].shape)}


def of_folders(images: Path, reference: Path) -> Iterator[Arrays]:
    """Files of two folders that have one name, each pair at its own size."""
    from tqdm import tqdm

    from jaxgen.data.folders import matched

    source = matched(images, reference, f"{images} and {reference}")
    for i in tqdm(range(len(source)), unit="image", leave=False, disable=None):
        pair = source[i]
        if pair["a"].shape != pair["b"].shape:
            shapes = (" x ".join(map(str, x.shape)) for x in (pair["a"], pair["b"]))
            raise UserError(
                f"image {i + 1} of {images} and its partner differ in size or channels "
                f"({' and '.join(shapes)}); make them alike"
            )
        yield {"made": pair["a"][None], "true": pair["b"][None]}
