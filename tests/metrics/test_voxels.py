"""Overlaps and pieces of shapes, by hand."""

import numpy as np

from jaxgen.metrics.voxels import best_iou, largest_component


def boxes(*sides):
    shapes = np.zeros((len(sides), 4, 4, 4), bool)
    for shape, (a, b, c) in zip(shapes, sides, strict=True):
        shape[:a, :b, :c] = True
    return shapes


def test_best_iou():
    shapes = boxes((2, 2, 2), (4, 4, 4), (0, 0, 0))
    others = boxes((2, 2, 1), (2, 2, 3))
    # 8 of 8 and 12, and 4 of 4 and 8: 2/3 and 1/2; 12 of 64
    np.testing.assert_allclose(best_iou(shapes, others), [2 / 3, 12 / 64, 0])
    np.testing.assert_allclose(best_iou(others, shapes), [1 / 2, 2 / 3])


def test_pieces_hang_together_by_their_faces():
    shapes = boxes((2, 2, 2), (2, 2, 2), (2, 2, 2), (0, 0, 0))
    shapes[1, 2, 2, 2] = True  # touches a corner
    shapes[2, 2, 1, 1] = True
    np.testing.assert_allclose(largest_component(shapes), [1, 8 / 9, 1, 0])
