"""Scores of the images in a folder: against real ones, or file by file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgen.data.pipeline import load
from jaxgen.data.specs import SHIPPED, open_source
from jaxgen.errors import UserError
from jaxgen.evaluate import pairs, scores, sets
from jaxgen.evaluate.metric import LEAST
from jaxgen.evaluate.run import unknown


def evaluate_folder(
    images: Path,
    reference: str,
    metrics: Sequence[str] = (),
    *,
    size: tuple[int, int] | None = None,
    samples: int | None = None,
    references: int | None = None,
    features: str = "squeezenet",
    weights: Path | None = None,
    split: str = "train",
    seed: int = 0,
    batch: int = 64,
) -> list[dict[str, Any]]:
    """The records of `metrics` (by default FID and KID) of the images in a folder.

    reference: the real images, a folder or a data SPEC; for metrics of pairs a folder whose images
      have the same names.
    size: to which the images of both are brought, by default that of the first image.  The other
      arguments are those of `jaxgen.evaluate.run.evaluate`.  Raises UserError.
    """
    metrics = metrics or ("fid", "kid")
    known = [*sets.COMPUTE, *(name for name in pairs.METRICS if name != "spread")]
    for name in metrics:
        if name not in known:
            raise UserError(unknown(name, known))
    of_pairs = [name for name in metrics if name in pairs.METRICS]
    if of_pairs:
        if others := [name for name in metrics if name not in of_pairs]:
            raise UserError(
                f"{others[0]} compares sets, {of_pairs[0]} pairs of files; ask for them one at a "
                "time"
            )
        if size is not None:
            raise UserError("size is left out where pairs are compared, each at its own")
        return _pairs(images, reference, metrics, weights)
    made = f"folder:{images}"
    if size is None:
        size = open_source(made)[0][0]["image"].shape[:2]
    options = {"size": size, "resident": "no"}
    ours, data = load(made, **options), load(as_spec(reference), split=split, **options)
    count = max(samples or len(ours), LEAST)
    if len(ours) < count:
        raise UserError(
            f"{images} has {len(ours)} images, and {count} are needed; add images"
            + (f", or ask for {len(ours)}" if samples else "")
        )
    network = sets.network_for(metrics, features, weights)
    return sets.compare(
        metrics,
        network,
        sets.pictures(ours, samples or len(ours), batch),
        data,
        references=references,
        batch=batch,
        seed=seed,
        images=str(images),
        images_fingerprint=ours.fingerprint,
    )


def _pairs(images, reference, metrics, weights):
    if not Path(reference).is_dir():
        raise UserError("reference is a folder whose images have the same names")
    trunks = pairs.networks(metrics, weights)
    count = 0

    def counted():
        nonlocal count
        for chunk in pairs.of_folders(images, Path(reference)):
            count += 1
            yield chunk

    found = pairs.compare(metrics, counted(), trunks)
    return [
        scores.record(
            name,
            **values,
            weights_sha256=trunks[name].sha256 if name in trunks else None,
            settings={"border": 0},
            samples=count,
            data=str(reference),
            images=str(images),
        )
        for name, values in found.items()
    ]


def as_spec(reference: str) -> str:
    """A folder's path as a SPEC; a SPEC as it is."""
    if reference in SHIPPED or ":" in reference:
        return reference
    return f"folder:{reference}" if "/" in reference or Path(reference).exists() else reference
