"""`python -m jaxgen compare RUN RUN ...`: the newest scores of several runs, side by side."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from jaxgen.errors import UserError


def compare(runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN ...")]) -> str:
    """The newest scores of several runs as a table; a star marks the best of each metric.

    Scores that were not measured in the same way are shown, but not ranked. Seeds that evaluate
    --copy has scored, and a sweep's values, have a row each. ± is the deviation over seeds where
    their number follows, otherwise the metric's own.

    Args:
        runs: Run folders, or files of scores such as evaluate --out writes.
    """
    if len(runs) < 2:
        raise UserError("compare takes two runs or more")
    from jaxgen.evaluate.compare import best, differences, newest, table

    if len(set(map(str, runs))) < len(runs):
        raise UserError("a run is named twice; compare takes different ones")
    columns = {name: records for run in runs for name, records in newest(run).items()}
    refused = differences(columns)
    print(table(columns, starred := best(columns, refused)))
    if refused:
        raise UserError(
            "not ranked, as not measured alike: "
            + "; ".join(f"{name} ({', '.join(parts)})" for name, parts in refused.items())
            + ". Evaluate these runs again with the same flags and version"
        )
    if not starred:
        return (
            "\nno best: no metric was measured of two of these; evaluate them by the same --metrics"
        )
    return "\n* the best; all else that scores depend on is the same"
