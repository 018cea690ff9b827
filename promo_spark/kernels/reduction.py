"""A few directions instead of many columns: where points vary most, or where labels lie apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def principal_axes(points: Floats, count: int) -> Floats:
    """Directions of largest variance (Pearson 1901).

    Args:
        points: Shape (n_points, dimensions).
        count: Directions wanted.

    Returns:
        Orthonormal columns, each with its largest loading positive, shape (dimensions, at most count).

    >>> principal_axes(np.array([[0.0, 1.0], [0.0, 3.0], [1.0, 7.0]]), 1).round(1)
    array([[0.2],
           [1. ]])
    """
    axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][:count].T
    return _signed(axes)


def discriminant_axes(points: Floats, labels: Ints, count: int) -> Floats:
    """Directions in which labels lie furthest apart for their own spread (Fisher 1936, Rao 1948).

    Args:
        points: Shape (n_points, dimensions).
        labels: Shape (n_points,).
        count: Directions wanted; there are fewer than labels.

    Returns:
        Columns in which the spread within labels is 1, the best first, each with its largest loading positive,
        shape (dimensions, at most count); none where there is one label, or as many as points, or nothing varies.
    """
    different = len(np.unique(labels))
    if not 1 < different < len(points) or not np.ptp(points, axis=0).any():
        return np.empty((points.shape[1], 0))
    model = LinearDiscriminantAnalysis(n_components=min(count, different - 1, points.shape[1])).fit(points, labels)
    return _signed(model.scalings_[:, : min(count, model.scalings_.shape[1])])


def project(points: Floats, axes: Floats) -> Floats:
    """Coordinates along directions; each point is summed on its own, whatever points come with it.

    Args:
        points: Shape (n_points, dimensions).
        axes: Shape (dimensions, directions).
    """
    return np.column_stack([(points * axis).sum(axis=1) for axis in axes.T]) if axes.shape[1] else points[:, :0]


def _signed(axes: Floats) -> Floats:
    if not axes.size:
        return axes
    largest = np.abs(axes).argmax(axis=0)
    return axes * np.where(axes[largest, np.arange(axes.shape[1])] < 0, -1.0, 1.0)
