"""Scores over the truncation of latents: quality against variety (Brock et al., 2019, Fig. 17)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxgen.errors import UserError
from jaxgen.evaluate import scores
from jaxgen.evaluate.run import check, evaluate
from jaxgen.progress import say
from jaxgen.train.abilities import Sampler

if TYPE_CHECKING:
    from jaxgen.runs.trained import TrainedRun

METRICS = ("is", "fid", "precision", "recall")


def truncation_curve(
    trained: "TrainedRun", metrics: Sequence[str] = (), **options
) -> list[dict[str, Any]]:
    """The records of `metrics`, by default IS, FID, precision and recall, at each truncation of the
    sampler's curve; `options` are those of `jaxgen.evaluate.run.evaluate`.  UserError for a system
    whose samples cannot be truncated."""
    sampler = trained.ability(Sampler, "draws no samples")
    option = sampler.options.get("truncation")
    if option is None or not option.curve:
        raise UserError(f"{trained.name} takes no truncation, so that there is no curve over it")
    if "truncation" in options:
        raise UserError("truncation is what the curve goes over; leave it out")
    metrics = metrics or METRICS
    check(trained.name, trained.system, metrics)
    records = []
    for value in option.curve:
        say(f"truncation {value:g}")
        records += evaluate(trained, metrics, truncation=value, **options)
    return records


def figure(records: Sequence[Mapping[str, Any]]) -> Any:
    """A matplotlib Figure of a curve's records: a panel a metric, over the truncation."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(scores.label(record) for record in records))
    plot = Figure(figsize=(3.2 * len(names), 3), layout="constrained")
    copies = list(dict.fromkeys(record.get("copy") for record in records))
    for axes, name in zip(plot.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for copy in copies:
            same = lambda record: (scores.label(record), record.get("copy")) == (name, copy)  # noqa: B023
            own = [record for record in records if same(record)]
            x = [float(record["choices"]["truncation"]) for record in own]
            y = [record["value"] for record in own]
            axes.plot(x, y, marker="o", markersize=3, label=f"copy {copy}")
        axes.set(title=name, xlabel="truncation")
        axes.grid(alpha=0.3)
        if len(copies) > 1:
            axes.legend()
    return plot
