"""Why trees say what they say of a customer: exact Shapley values beside one other customer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

from promo_spark.kernels.boosted_trees import LEAF, Trees

Floats = NDArray[np.float64]


def shapley_values(trees: Trees, rows: NDArray[np.float32], baseline: NDArray[np.float32]) -> Floats:
    """How much each feature moves the sum of the trees from the baseline's to the row's, averaged over all orders.

    A leaf counts for a set S of features if a customer who has the row's values in S and the baseline's elsewhere falls
    into it. Of the features on its path, let a be those whose conditions the row alone meets, b those that the
    baseline alone meets; if some are met by neither, the leaf never counts. Then each of the a gets
    (a - 1)! b! / (a + b)! of the leaf's value, and each of the b loses a! (b - 1)! / (a + b)! of it.

    Args:
        trees: The trees.
        rows: Customers, shape (n_rows, n_features).
        baseline: The customer they are set beside, shape (n_features,).

    Returns:
        Shape (n_rows, n_features); each row sums to what the trees say of it less what they say of the baseline.

    Complexity: O(n_rows * leaves * depth), whatever the number of features. Source: Lundberg et al. 2020, From local
    explanations to global understanding with explainable AI for trees, interventional values for one reference.

    >>> stump = Trees(np.array([[0, LEAF, LEAF]]), np.array([[1.5, 0, 0]]), np.array([[0, -1.0, 2.0]]))
    >>> row, other = np.array([[2.0, 7.0]], dtype=np.float32), np.array([1.0, 0.0], dtype=np.float32)
    >>> shapley_values(stump, row, other).tolist()
    [[3.0, 0.0]]
    """
    told = np.zeros(rows.shape)
    for features, thresholds, values in zip(*trees, strict=True):
        for path, value in _leaves(features, values):
            names, own, others = _meets(path, features, thresholds, rows, baseline)
            if not len(names):
                continue
            alone, beside = own & ~others, others & ~own
            counts = alone.sum(axis=1), beside.sum(axis=1)
            reached = (own | others).all(axis=1)
            gains, losses = _weights(len(names))
            gain = np.where(reached, gains[counts], 0.0) * value
            loss = np.where(reached, losses[counts], 0.0) * value
            told[:, names] += alone * gain[:, None] - beside * loss[:, None]
    return told


def _leaves(features: NDArray[np.int64], values: Floats) -> Iterator[tuple[list[tuple[int, bool]], float]]:
    """Each leaf's way down, as nodes and whether it goes right there, and its value."""
    waiting: list[tuple[int, list[tuple[int, bool]]]] = [(0, [])]
    while waiting:
        node, path = waiting.pop()
        if features[node] == LEAF:
            yield path, float(values[node])
        else:
            waiting += [(2 * node + 1, [*path, (node, False)]), (2 * node + 2, [*path, (node, True)])]


def _meets(
    path: list[tuple[int, bool]],
    features: NDArray[np.int64],
    thresholds: Floats,
    rows: NDArray[np.float32],
    baseline: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """The features on a path, and which of them each row, and the baseline, meets all conditions of."""
    names = np.unique(features[[node for node, _ in path]]) if path else np.empty(0, dtype=np.int64)
    own = np.ones((len(rows), len(names)), dtype=np.bool_)
    others = np.ones(len(names), dtype=np.bool_)
    for node, is_right in path:
        place = int(np.searchsorted(names, features[node]))
        own[:, place] &= (rows[:, features[node]] > thresholds[node]) == is_right
        others[place] &= bool((baseline[features[node]] > thresholds[node]) == is_right)
    return names, own, np.broadcast_to(others, own.shape)


@cache
def _weights(size: int) -> tuple[Floats, Floats]:
    """What each of a features gains, and each of b loses, by a and b, shape (size + 1, size + 1)."""
    gains, losses = np.zeros((size + 1, size + 1)), np.zeros((size + 1, size + 1))
    for a in range(size + 1):
        for b in range(size + 1 - a):
            orders = factorial(a + b)
            gains[a, b] = factorial(a - 1) * factorial(b) / orders if a else 0.0
            losses[a, b] = factorial(a) * factorial(b - 1) / orders if b else 0.0
    return gains, losses
