"""Clusters of products, or of promotions: how many, where, and what a manager would call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import threadpool_limits

Floats = npt.NDArray[np.float64]
Words = Mapping[str, tuple[str | None, str | None]]
"""By column, what a mean clearly above and one clearly below that of all is called; None says nothing."""

_RESTARTS = 5
_RESAMPLES = 4
_RESAMPLED_RATE = 0.7
_JUDGED = 2_000
_PLACES = 6
_CLEAR = 0.4
_WORDS_IN_NAME = 2


@dataclass(frozen=True, eq=False)
class EntityClusters:
    """Clusters found.

    Attributes:
        centres: Shape (clusters, dimensions).
        silhouette: Mean silhouette of at most 2,000 points (Rousseeuw 1987), -1 to 1; none for one cluster.
        stability: Mean adjusted Rand index (Hubert and Arabie 1985) between these and clusters found on resamples, both
            applied to all points; none for one cluster.
    """

    centres: Floats
    silhouette: float | None = None
    stability: float | None = None


def find_clusters(points: Floats, counts: Sequence[int], *, smallest_rate: float, seed: int) -> EntityClusters:
    """Find the number of clusters that separates best, and the clusters.

    Numbers that leave a cluster with less than ``smallest_rate`` of the points are set aside, unless all do. Fewer
    than two different points for each cluster of the smallest number wanted are one cluster.

    Args:
        points: In a settled order, each dimension on one scale, shape (points, dimensions), at least one.
        counts: Numbers of clusters to try.
        smallest_rate: Smallest share of the points that is a cluster.
        seed: Seed of every draw.

    Returns:
        The clusters, in the order in which k-means gives them.

    Complexity: O(points × clusters × dimensions) for each of some dozens of starts, O(2,000²) for each number.

    >>> found = find_clusters(np.array([[0.0], [0.1], [5.0], [5.1]]), (2, 3), smallest_rate=0.1, seed=1)
    >>> sorted(found.centres.round(2)[:, 0].tolist()), found.stability
    ([0.05, 5.05], 1.0)
    """
    most = len(np.unique(points.round(9), axis=0)) // 2
    wanted = [count for count in sorted(set(counts)) if 1 < count <= most]
    if not wanted:
        return EntityClusters(points.mean(axis=0, keepdims=True))
    with threadpool_limits(limits=1):
        fits = [_fitted(points, count, seed) for count in wanted]
        large = [fit for fit in fits if _smallest_rate(fit) >= smallest_rate] or fits
        silhouettes = [_silhouette(points, fit, seed) for fit in large]
        best = int(np.argmax(silhouettes))
        return EntityClusters(large[best].cluster_centers_, silhouettes[best], _stability(points, large[best], seed))


def name_clusters(centres: Floats, columns: Sequence[str], words: Words) -> list[str]:
    """Name clusters by how they differ most clearly from all entities.

    Args:
        centres: In standard deviations from the mean of all, shape (clusters, columns).
        columns: Name of each column.
        words: What a high and a low mean is called.

    Returns:
        One name each, all different: further differences are added where two would be alike, then a number.

    >>> name_clusters(np.array([[2.0, -0.5], [0.1, 0.1]]), ("price_amount", "sales_amount"),
    ...     {"price_amount": ("dear", "cheap"), "sales_amount": ("best sellers", "slow sellers")})
    ['Dear, slow sellers', 'Average']
    """
    names: list[str] = []
    for centre in centres:
        order = sorted(range(len(columns)), key=lambda place: (-abs(round(centre[place], _PLACES)), columns[place]))
        said = [words[columns[place]][int(centre[place] < 0)] for place in order if abs(centre[place]) >= _CLEAR]
        told = [word for word in said if word is not None] or ["average"]
        lengths = range(min(_WORDS_IN_NAME, len(told)), len(told) + 1)
        tried = [", ".join(told[:length]).capitalize() for length in lengths]
        numbered = (f"{tried[-1]} ({number})" for number in range(2, len(centres) + 2))
        names.append(next(name for name in (*tried, *numbered) if name not in names))
    return names


def _fitted(points: Floats, count: int, seed: int) -> KMeans:
    return KMeans(n_clusters=count, n_init=_RESTARTS, random_state=seed % 2**32).fit(points)


def _smallest_rate(fit: KMeans) -> float:
    return float(np.bincount(fit.labels_, minlength=fit.n_clusters).min() / len(fit.labels_))


def _silhouette(points: Floats, fit: KMeans, seed: int) -> float:
    judged = np.sort(np.random.default_rng(seed).permutation(len(points))[:_JUDGED])
    labels = fit.labels_[judged]
    if len(np.unique(labels)) < fit.n_clusters:
        return -1.0
    return round(float(silhouette_score(points[judged], labels)), _PLACES)


def _stability(points: Floats, fit: KMeans, seed: int) -> float:
    agreements = []
    for resample in range(_RESAMPLES):
        size = max(fit.n_clusters, round(_RESAMPLED_RATE * len(points)))
        drawn = np.sort(np.random.default_rng([seed, resample]).permutation(len(points))[:size])
        other = _fitted(points[drawn], fit.n_clusters, seed + 1 + resample).predict(points)
        agreements.append(adjusted_rand_score(fit.labels_, other))
    return float(np.mean(agreements))
