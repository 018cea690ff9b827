"""Which segments: methods and numbers of clusters, compared on a bounded sample of customers.

They are compared on the driver, on at most ``SAMPLE_SIZE`` customers by hash: some dozens of fits with restarts
there take seconds at any number of customers, and restarts are what makes the fits agree with one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

import numpy as np
import numpy.typing as npt
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import threadpool_limits

from promo_spark.contracts.settings import SegmentSettings
from promo_spark.kernels.clustering import FINDS_THE_NUMBER, Clusters, fit_clusters
from promo_spark.kernels.variance_explained import Explained, variance_explained
from promo_spark.segments.clusters import Sample

SAMPLE_SIZE = 5_000
_SILHOUETTE_PLACES = 6

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trial:
    """One method with one number of clusters.

    Attributes:
        method: How the clusters were found.
        clusters: Where they lie.
        silhouette: Mean silhouette, squared Euclidean (Rousseeuw 1987), -1 to 1; NULL for one cluster.
        agreements: Adjusted Rand index (Hubert and Arabie 1985) between the fit on all and each fit on
            a resample, both applied to all.
        smallest_rate: Share of customers in the smallest cluster.
        later: What the same fit at an earlier date explains of what customers did after it; NULL without one.
    """

    method: str
    clusters: Clusters
    silhouette: float | None
    agreements: tuple[float, ...]
    smallest_rate: float
    later: Explained | None = None

    @property
    def cluster_count(self) -> int:
        """Clusters."""
        return self.clusters.count

    @property
    def stability(self) -> float | None:
        """Mean agreement over resamples; NULL when there was nothing to compare."""
        return fmean(self.agreements) if self.agreements else None

    @property
    def stability_sd(self) -> float | None:
        """Its standard deviation over resamples."""
        return pstdev(self.agreements) if self.agreements else None


def try_clusters(sample: Floats, *, earlier: Sample | None, settings: SegmentSettings, seed: int) -> tuple[Trial, ...]:
    """Fit every method and number of clusters on the sample, on resamples of it, and at an earlier date.

    Too few customers are one segment: fewer than two per cluster of the smallest number wanted, or all
    alike. Numbers above the number of different customers are left out; where that leaves none, the
    number of different customers is tried instead.

    Args:
        sample: Vectors of customers in a settled order, shape (customers, dimensions).
        earlier: Vectors of customers at an earlier date, and beside them what they did after it.
        settings: Methods, numbers of clusters, resamples and their share.
        seed: Seed of every draw.

    Returns:
        Trials by method and number of clusters found, at least one.
    """
    wanted = sorted({count for count in settings.cluster_counts if count > 1})
    most = _most_clusters(sample)
    if not wanted or len(sample) < 2 * wanted[0] or most < 2:  # noqa: PLR2004  (two groups are the fewest)
        alone = Clusters.around(sample.mean(axis=0, keepdims=True))
        return (Trial(settings.methods[0], alone, None, (), 1.0),)
    counts = [count for count in wanted if count <= most] or [most]
    found: dict[tuple[str, int], Trial] = {}
    with threadpool_limits(limits=1):
        for method in settings.methods:
            for count in counts[-1:] if method == FINDS_THE_NUMBER else counts:
                trial = _try(method, count, sample=sample, earlier=earlier, settings=settings, seed=seed)
                found.setdefault((method, trial.cluster_count), trial)
    return tuple(found.values())


def _most_clusters(points: Floats) -> int:
    return min(len(np.unique(points.round(9), axis=0)), len(points) // 2)


def _try(
    method: str, count: int, *, sample: Floats, earlier: Sample | None, settings: SegmentSettings, seed: int
) -> Trial:
    def fitted(points: Floats, start: int) -> Clusters:
        return fit_clusters(method, points, count, least_rate=settings.smallest_rate, seed=start)

    clusters = fitted(sample, seed)
    labels = clusters.place(sample)[0]
    agreements = []
    for resample in range(settings.resamples):
        drawn = _resampled(sample, count, settings.resample_rate, [seed, resample])
        other = fitted(drawn, seed + 1 + resample).place(sample)[0]
        agreements.append(float(adjusted_rand_score(labels, other)))
    explained = None
    if earlier is not None and count <= _most_clusters(earlier.points):
        explained = variance_explained(fitted(earlier.points, seed).place(earlier.points)[0], earlier.beside)
    silhouette = float(silhouette_score(sample, labels, metric="sqeuclidean")) if clusters.count > 1 else None
    return Trial(
        method,
        clusters,
        None if silhouette is None else round(silhouette, _SILHOUETTE_PLACES),
        tuple(agreements) if clusters.count > 1 else (),
        float(np.bincount(labels).min() / len(labels)),
        explained,
    )


def _resampled(sample: Floats, count: int, rate: float, seed: Sequence[int]) -> Floats:
    """The customers with the lowest draws: exactly the share asked for, and never fewer than clusters."""
    draws = np.random.default_rng(seed).random(len(sample))
    size = max(count, round(rate * len(sample)))
    return sample[np.sort(np.argsort(draws, kind="stable")[:size])]
