"""Linear separability of latents (Karras et al., 2019), https://arxiv.org/abs/1812.04948, Sec. 4.2.

For each of several binary attributes a linear support vector machine tells from a latent whether
its image has the attribute, as a classifier of images says. What the machine leaves unknown is the
conditional entropy of the class Y given its answer X; the score is

    2 ^ sum over attributes of H(Y | X)    (bits)

so that 1 is best. As in the released code the images of which the classifier is surest count, half
of them, and the machine is scored on the latents that it was fitted to. Theirs is scikit-learn's
LinearSVC: squared hinge, cost 1, the bias is penalised as the weights are.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize

Floats = Float[np.ndarray, "n"]
Answers = Bool[np.ndarray, "n"]


class Separability(NamedTuple):
    score: float
    bits: np.ndarray
    """H(Y | X) of each attribute [a]"""


def separability(
    latents: Float[np.ndarray, "n k"], logits: Float[np.ndarray, "n a"], keep: float = 0.5
) -> Separability:
    """The score of `latents` whose images have each attribute with these logits.  keep: the share
    of the images, those of the largest |logit|, that count for an attribute."""
    count = max(1, round(keep * len(latents)))
    bits = []
    for column in np.asarray(logits).T:
        sure = np.argsort(-np.abs(column), kind="stable")[:count]
        has = column[sure] > 0
        bits.append(conditional_entropy(table(svm(latents[sure], has), has)))
    return Separability(score(np.array(bits)), np.array(bits))


def score(bits: Float[np.ndarray, "a"]) -> float:
    """2 to the sum of the attributes' entropies."""
    return float(2 ** bits.sum())


def table(predicted: Answers, has: Answers) -> Float[np.ndarray, "2 2"]:
    """Shares of the images by prediction (rows) and class (columns), no before yes."""
    found = np.zeros((2, 2))
    np.add.at(found, (np.int32(predicted), np.int32(has)), 1)
    return found / len(has)


def conditional_entropy(shares: Float[np.ndarray, "2 2"]) -> float:
    """H(class | prediction) in bits."""
    rows = shares.sum(axis=1, keepdims=True)
    given = np.divide(shares, rows, out=np.ones_like(shares), where=shares > 0)
    return float((shares * np.log2(1 / given)).sum())


def svm(x: Float[np.ndarray, "n k"], has: Answers, cost: float = 1.0) -> Answers:
    """What the linear support vector machine that was fitted to x and its classes says of x."""
    x = np.column_stack([np.asarray(x, np.float64), np.ones(len(x))])
    sign = np.where(has, 1.0, -1.0)

    def loss(weights):
        lacking = np.maximum(0, 1 - sign * (x @ weights))
        slope = weights - 2 * cost * (x.T @ (sign * lacking))
        return weights @ weights / 2 + cost * (lacking @ lacking), slope

    found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B")
    return x @ found.x > 0
