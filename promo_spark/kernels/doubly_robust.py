"""Doubly robust scores of what each arm would have brought, their means by customer clusters, and overlap."""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SUMS_TO_ONE = 1e-6


class ClusterMoments(NamedTuple):
    """Sums over clusters of the sums v of their rows' values: enough for means of any linear combination.

    Attributes:
        total: Sum of v, shape (n_values,).
        second: Sum of v v', shape (n_values, n_values).
    """

    total: Floats
    second: Floats


class Overlap(NamedTuple):
    """How far the arms' customers are alike.

    Attributes:
        least: Smallest propensity of an assigned arm.
        largest: Largest of them.
        trimmed_share: Share of the rows left out.
        effective_size: (sum of weights)^2 / sum of squared weights, weights 1 / propensity; in rows.
    """

    least: float
    largest: float
    trimmed_share: float
    effective_size: float


def doubly_robust_values(outcomes: Floats, arms: Ints, propensities: Floats, expected: Floats) -> Floats:
    """What each row's outcomes would have been under each arm, right on average over rows.

    Args:
        outcomes: Shape (n_rows, n_outcomes).
        arms: Assigned arm, shape (n_rows,).
        propensities: P(assigned arm), above 0, shape (n_rows,).
        expected: Outcomes that a model expects, fitted on other customers, shape (n_rows, n_arms, n_outcomes).

    Returns:
        Shape (n_rows, n_arms, n_outcomes). Their mean is right if the propensities or the expectations are.

    Source: Robins, Rotnitzky and Zhao 1994. Complexity: O(n_rows * n_arms * n_outcomes).

    >>> doubly_robust_values(np.array([[3.0]]), np.array([1]), np.array([0.5]), np.array([[[1.0], [2.0]]])).ravel()
    array([1., 4.])
    """
    values = expected.copy()
    rows = np.arange(len(arms))
    values[rows, arms] += (outcomes - expected[rows, arms]) / propensities[:, None]
    return values


def cluster_sums(values: Floats, clusters: Ints) -> Floats:
    """Sums of each run of equal clusters, shape (n_clusters, ...).

    Args:
        values: Shape (n_rows, ...).
        clusters: Cluster of each row, equal ones side by side, shape (n_rows,).

    >>> cluster_sums(np.array([1.0, 2.0, 4.0]), np.array([7, 7, 9])).tolist()
    [3.0, 4.0]
    """
    if len(values) == 0:
        return values
    starts = np.concatenate([[0], np.flatnonzero(np.diff(clusters)) + 1])
    if len(starts) == len(values):
        return values
    sums: Floats = np.add.reduceat(values, starts, axis=0)
    return sums


def cluster_moments(values: Floats, clusters: Ints) -> ClusterMoments:
    """First and second moments of the clusters' sums; a first value of 1 lets means be taken per row.

    >>> cluster_moments(np.array([[1.0, 2.0], [1.0, 3.0]]), np.array([0, 0])).total.tolist()
    [2.0, 5.0]
    """
    sums = cluster_sums(values, clusters)
    return ClusterMoments(sums.sum(axis=0), sums.T @ sums)


def mean_and_error(moments: ClusterMoments, combination: Floats) -> tuple[float, float]:
    """Mean per row of a linear combination of the values, and its cluster-robust standard error.

    Args:
        moments: Their first value is 1 in every row.
        combination: Weights of the values, shape (n_values,).

    Source: linearised variance of a ratio of cluster totals (Cochran 1977, section 6.3).

    >>> mean_and_error(cluster_moments(np.array([[1.0, 2.0], [1.0, 4.0]]), np.array([0, 1])), np.array([0.0, 1.0]))
    (3.0, 0.7071067811865476)
    """
    count = moments.total[0]
    mean = float(moments.total @ combination / count)
    gap = combination.astype(np.float64).copy()
    gap[0] -= mean
    return mean, float(np.sqrt(max(float(gap @ moments.second @ gap), 0.0)) / count)


def normal_quantile(level: float) -> float:
    """Half-width, in standard errors, of a two-sided normal interval of that level.

    >>> round(normal_quantile(0.95), 3)
    1.96
    """
    return NormalDist().inv_cdf(0.5 + level / 2)


def overlap_of(propensities: Floats, trimmed: int = 0) -> Overlap:
    """Describe the propensities of the assigned arms of the rows that were kept.

    Raises:
        ValueError: No row is left.

    >>> overlap_of(np.array([0.5, 0.25]), trimmed=2)
    Overlap(least=0.25, largest=0.5, trimmed_share=0.5, effective_size=1.8)
    """
    if len(propensities) == 0:
        raise ValueError("no row has enough overlap: every one was trimmed; lower the propensity floor")
    weights = 1 / propensities
    size = float(weights.sum() ** 2 / (weights**2).sum())
    share = trimmed / (trimmed + len(propensities))
    return Overlap(float(propensities.min()), float(propensities.max()), share, size)


def check_propensities(propensities: Floats) -> None:
    """Refuse vectors of propensities that no experiment can have.

    Args:
        propensities: P(arm) of every arm, shape (n_rows, n_arms).

    Raises:
        ValueError: One is missing, not in (0, 1), or a row does not sum to one; says how many rows.

    >>> check_propensities(np.array([[0.5, 0.4]]))
    Traceback (most recent call last):
    ...
    ValueError: the propensities of 1 of 1 rows do not sum to one
    """
    count = len(propensities)
    wrong = int((~((propensities > 0) & (propensities < 1))).any(axis=1).sum())
    if wrong:
        raise ValueError(f"{wrong} of {count} rows have a propensity that is missing or not between 0 and 1")
    uneven = int((np.abs(propensities.sum(axis=1) - 1) > _SUMS_TO_ONE).sum())
    if uneven:
        raise ValueError(f"the propensities of {uneven} of {count} rows do not sum to one")


def trimming_limits(shares: Floats, floor: float) -> Floats:
    """Estimated propensities below which a row tells nothing of an arm, shape (n_arms,).

    The floor, but never above a tenth of the arm's own share: a rare arm is rare for everybody.

    >>> trimming_limits(np.array([0.9, 0.1]), 0.02).round(3).tolist()
    [0.02, 0.01]
    """
    return np.minimum(floor, shares / 10)
