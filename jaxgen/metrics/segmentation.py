"""Segmentation scores, and the FCN-score of generated photographs.

With the confusion n_ij, pixels of class i that were called j (Long et al., 2015,
https://arxiv.org/abs/1411.4038, Sec. 5):

    pixel accuracy = sum_i n_ii / sum_ij n_ij
    class accuracy = mean_i n_ii / sum_j n_ij
    IoU            = mean_i n_ii / (sum_j n_ij + sum_j n_ji - n_ii)

FCN-score (Isola et al., 2017, pix2pix, https://arxiv.org/abs/1611.07004, Sec. 4.1): a network that
segments real photographs segments those made from label maps, and its answer is scored against the
labels.  Conventions of pix2pix's scripts: 500 validation photographs of 256 pixels, enlarged to the
labels' 1024 x 2048; FCN-8s gets BGR minus `CITYSCAPES_BGR`; 19 classes; 1e-12 is added to every
denominator, so that a class in neither labels nor answers counts as 0.  Score real photographs
first: 0.80, 0.26, 0.21 (the paper) say that the scorer is sound.  With another network it is no
FCN-score: call it by the network's name.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

Labels = Int[Array | np.ndarray, "*b"]
CITYSCAPES_BGR = (72.78044, 83.21195, 73.45286)


class Scores(NamedTuple):
    """All in [0, 1]."""

    pixel: float
    classwise: float
    iou: float
    classwise_each: np.ndarray
    """[n]"""
    iou_each: np.ndarray
    """[n]"""


@partial(jax.jit, static_argnames="classes")
def confusion(
    label: Labels, predicted: Int[Array | np.ndarray, "*b"], classes: int
) -> Int[Array, "n n"]:
    """Pixels by label (row) and answer (column), to be summed over batches and devices.  Labels
    outside 0 <= label < classes (255, usually) are ignored; answers lie inside."""
    label, predicted = jnp.asarray(label, jnp.int32), jnp.asarray(predicted, jnp.int32)
    valid = (label >= 0) & (label < classes)
    cell = jnp.where(valid, label * classes + predicted, classes**2)
    return jnp.bincount(cell.ravel(), length=classes**2 + 1)[:-1].reshape(classes, classes)


def scores(confusion: Int[Array | np.ndarray, "n n"]) -> Scores:
    """The scores of a confusion matrix, computed on the host in float64."""
    n = np.asarray(confusion, np.float64)
    right, labelled, called = np.diag(n), n.sum(axis=1), n.sum(axis=0)
    by_class = right / (labelled + 1e-12)
    iou = right / (labelled + called - right + 1e-12)
    pixel = right.sum() / (n.sum() + 1e-12)
    return Scores(float(pixel), float(by_class.mean()), float(iou.mean()), by_class, iou)


def fcn_input(
    photos: Float[Array | np.ndarray, "b h w 3"], size: tuple[int, int]
) -> Float[Array, "b y x 3"]:
    """Photographs in [-1, 1] as FCN-8s takes them: 0..255 in whole steps, enlarged bilinearly to
    `size`, BGR, minus the mean."""
    whole = lambda x: jnp.clip(jnp.round(x), 0, 255)
    images = whole((jnp.asarray(photos) + 1) * 127.5)
    shape = (len(images), *size, 3)
    images = whole(jax.image.resize(images, shape, "bilinear", antialias=False))
    return images[..., ::-1] - jnp.asarray(CITYSCAPES_BGR)


def segmentation_score(
    segment: Callable[[Float[Array, "b h w 3"]], Float[Array, "b y x n"]],
    pairs: Iterable[tuple[Float[Array | np.ndarray, "_ h w 3"], Int[Array | np.ndarray, "_ y x"]]],
    classes: int = 19,
) -> Scores:
    """The scores of batches of photographs and their labels, under a network that gives each pixel
    of the labels `classes` logits (FCN-8s: `lambda x: fcn8s(fcn_input(x, (1024, 2048)))`)."""

    @jax.jit
    def batch(photos, label):
        return confusion(label, segment(photos).argmax(axis=-1), classes)

    total = np.zeros((classes, classes), np.int64)
    for photos, label in pairs:
        total += np.asarray(batch(photos, label))
    return scores(total)
