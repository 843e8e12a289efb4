"""How well a score tells two sets apart: the area under the ROC curve."""

import numpy as np
from jaxtyping import Array, Float

Scores = Float[Array | np.ndarray, "_n"]


def auroc(inside: Scores, outside: Scores) -> float:
    """The probability that a score of the first set is higher than one of the second; of equal
    ones half counts (Mann & Whitney, 1947).  1 where they are told apart, 0.5 by chance.

    Raises ValueError for scores that are NaN, which have no order, and where a set has none."""
    if not len(inside) or not len(outside):
        raise ValueError("one of the two sets has no scores")
    if lost := int(np.isnan(inside).sum() + np.isnan(outside).sum()):
        raise ValueError(f"{lost} of the scores {'is' if lost == 1 else 'are'} not a number")
    order, scores = np.sort(np.asarray(outside)), np.asarray(inside)
    lower, upper = (np.searchsorted(order, scores, side) for side in ("left", "right"))
    return float((lower + upper).mean() / 2 / len(order))
