"""Silhouettes of animals, from the package animal-shape-mnist.

Its arrays are pickled; they are read without running the pickle.
"""

import functools

import numpy as np

from jaxgen.data.source import Field, Source, package_digest, package_folder, unit_hash
from jaxgen.weights.pickles import read_arrays

NAMES = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")
HELD_OUT = 0.1
# Euclidean distance of pixels in [0, 1] below which two images are one silhouette.  Of the nearest
# neighbours 284 pairs are equal, next to none lie up to 1.6, and up to 2.5 they are the same
# outline at another size or with other cracks.  From 2.75 on clusters grow into chains of giraffes'
# necks (40 images; 266 at 3.5).
SAME = 2.5


def animals(split: str) -> Source:
    """10,000 silhouettes [28, 28, 1], white on black, 1,000 of each of ten animals.

    About a tenth is test: whole clusters of near-duplicates, chosen by a hash.  There are 9,636
    clusters, 320 of them of two images or more (684 images, 12 in the largest).
    """
    images, labels = _arrays()
    clusters = _clusters()
    held = np.array([unit_hash(f"animal {k}") < HELD_OUT for k in range(clusters.max() + 1)])
    kept = np.flatnonzero(held[clusters] == (split == "test"))
    return Source(
        length=len(kept),
        read=lambda i: {"image": images[kept[i]], "label": int(labels[kept[i]])},
        fingerprint=package_digest(len(kept), "animal-shape-mnist"),
        fields={"image": Field("image", 1), "label": Field("label")},
        label_names=NAMES,
    )


@functools.cache
def _arrays() -> tuple[np.ndarray, np.ndarray]:
    folder = package_folder("animal_shape_mnist", "animal-shape-mnist", "animals")
    folder = folder / "data" / "Animal Shape"
    images, labels = (
        read_arrays(folder / f"animal_{name}_version_3.gz") for name in ("data", "label")
    )
    return images.reshape(-1, 28, 28, 1), labels.ravel()


@functools.cache
def _clusters() -> np.ndarray:
    """The cluster of each image: those that chains of distances below `SAME` connect, within one
    class (no two of different classes are as near).  Whole numbers, so that every machine finds
    the same."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    images, labels = _arrays()
    pixels = images.reshape(len(images), -1).astype(np.float64)
    one, two = [], []
    for label in range(len(NAMES)):
        own = np.flatnonzero(labels == label)
        squares = (pixels[own] ** 2).sum(axis=1)
        distances = squares[:, None] + squares - 2 * pixels[own] @ pixels[own].T
        i, j = np.nonzero(distances < (255 * SAME) ** 2)
        one.append(own[i])
        two.append(own[j])
    i, j = np.concatenate(one), np.concatenate(two)
    graph = coo_array((np.ones(len(i), bool), (i, j)), shape=(len(images), len(images)))
    return connected_components(graph, directed=False)[1]
