"""Shapes made of voxels: how they overlap, and whether they are of one piece."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

Shapes = Bool[np.ndarray, "n d h w"]


def best_iou(shapes: Shapes, others: Bool[np.ndarray, "m d h w"]) -> Float[np.ndarray, "n"]:
    """The intersection over union of each shape with that of the others which it overlaps most,
    0 to 1; 0 for an empty one."""
    a, b = (x.reshape(len(x), -1).astype(np.float32) for x in (shapes, others))
    both = a @ b.T
    either = a.sum(axis=1)[:, None] + b.sum(axis=1) - both
    return (both / np.maximum(either, 1)).max(axis=1)


def largest_component(shapes: Shapes) -> Float[np.ndarray, "n"]:
    """The share of each shape's filled voxels that is in its largest piece, whose voxels hang
    together by their faces, 0 to 1; 0 for an empty shape."""

    def share(shape):
        pieces: np.ndarray = ndimage.label(shape)[0]  # pyright: ignore
        sizes = np.bincount(pieces.ravel())[1:]
        return sizes.max(initial=0) / max(sizes.sum(), 1)

    return np.array([share(shape) for shape in shapes])
