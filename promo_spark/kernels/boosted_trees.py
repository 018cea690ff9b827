"""Boosted trees as arrays, so that a worker can score candidates where they are made."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAF = -1
"""In the place of a feature: the node is a leaf."""


class Trees(NamedTuple):
    """Complete binary trees: the children of node i are 2 i + 1 (at most the threshold) and 2 i + 2.

    Attributes:
        features: Column a node looks at, or ``LEAF``, shape (n_trees, n_nodes).
        thresholds: Shape (n_trees, n_nodes).
        values: What a leaf adds, the tree's weight included, shape (n_trees, n_nodes).
    """

    features: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    values: NDArray[np.float64]


def add_trees(trees: Trees, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sum what the leaves that each row falls into add.

    Complexity: O(n_rows * n_trees * depth).

    >>> stump = Trees(np.array([[0, LEAF, LEAF]]), np.array([[1.5, 0, 0]]), np.array([[0, -1.0, 2.0]]))
    >>> add_trees(stump, np.array([[1.5], [1.6]], dtype=np.float32)).tolist()
    [-1.0, 2.0]
    """
    n_rows, n_nodes = len(rows), trees.features.shape[1]
    sums = np.zeros(n_rows)
    depth = (n_nodes + 1).bit_length() - 2
    flat, firsts = np.ascontiguousarray(rows).ravel(), np.arange(n_rows) * rows.shape[1]
    for features, thresholds, values in zip(*trees, strict=True):
        # A leaf passes everything on to itself.
        is_leaf = features == LEAF
        columns = np.where(is_leaf, 0, features)
        lefts = np.where(is_leaf, np.arange(n_nodes), 2 * np.arange(n_nodes) + 1)
        bounds = np.where(is_leaf, np.inf, thresholds)
        nodes = np.zeros(n_rows, dtype=np.int64)
        for _ in range(depth):
            nodes = lefts[nodes] + (flat[firsts + columns[nodes]] > bounds[nodes])
        sums += values[nodes]
    return sums
