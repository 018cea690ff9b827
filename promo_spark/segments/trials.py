"""How many segments: separation and stability on a bounded sample of customers.

The numbers of clusters are compared on the driver, on at most ``SAMPLE_SIZE`` customers by hash: some dozens of
k-means fits with restarts there take a second at any number of customers, and restarts are what makes
the fits agree with one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from threadpoolctl import threadpool_limits

from promo_spark.contracts.settings import SegmentSettings

SAMPLE_SIZE = 5_000
STABLE_ENOUGH = 0.6
_RESTARTS = 10
_SILHOUETTE_PLACES = 6

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """One number of clusters tried.

    Attributes:
        cluster_count: Clusters.
        centres: Their centres, shape (clusters, dimensions).
        silhouette: Mean silhouette, squared Euclidean (Rousseeuw 1987), -1 to 1; NULL for one cluster.
        agreements: Adjusted Rand index (Hubert and Arabie 1985) between the fit on all and each fit on
            a resample, both applied to all.
        smallest_rate: Share of customers in the smallest cluster.
    """

    cluster_count: int
    centres: Points
    silhouette: float | None
    agreements: tuple[float, ...]
    smallest_rate: float

    @property
    def stability(self) -> float | None:
        """Mean agreement over resamples; NULL when there was nothing to compare."""
        return fmean(self.agreements) if self.agreements else None

    @property
    def stability_sd(self) -> float | None:
        """Its standard deviation over resamples."""
        return pstdev(self.agreements) if self.agreements else None


def try_cluster_counts(sample: Points, *, settings: SegmentSettings, seed: int) -> tuple[Trial, ...]:
    """Fit every number of clusters on the sample and on resamples of it.

    Too few customers are one segment: fewer than two per cluster of the smallest number wanted, or all
    alike. Numbers above the number of different customers are left out; where that leaves none, the
    number of different customers is tried instead.

    Args:
        sample: Vectors of customers in a settled order, shape (customers, dimensions).
        settings: Numbers of clusters, resamples and their share.
        seed: Seed of every draw.

    Returns:
        Trials by number of clusters, at least one.
    """
    wanted = sorted({count for count in settings.cluster_counts if count > 1})
    different = len(np.unique(sample.round(9), axis=0))
    most = min(different, len(sample) // 2)
    if not wanted or len(sample) < 2 * wanted[0] or most < 2:  # noqa: PLR2004  (two groups are the fewest)
        return (Trial(1, sample.mean(axis=0, keepdims=True), None, (), 1.0),)
    counts = [count for count in wanted if count <= most] or [most]
    with threadpool_limits(limits=1):
        return tuple(_try(sample, count, settings, seed) for count in counts)


def choose_trial(trials: Sequence[Trial], smallest_rate: float) -> tuple[Trial, Mapping[int, str]]:
    """Choose the best separated among the stable ones; where none is stable, the most stable.

    Numbers with a cluster below ``smallest_rate`` are set aside first, unless all are. Equals go to
    fewer clusters.

    Returns:
        The choice, and the reason for or against each number of clusters.
    """
    if len(trials) == 1:
        count = trials[0].cluster_count
        why = (
            "too few different customers to tell segments apart"
            if count == 1
            else "the only number that could be tried"
        )
        return trials[0], {count: why}
    large = [trial for trial in trials if trial.smallest_rate >= smallest_rate] or list(trials)
    stable = [trial for trial in large if (trial.stability or 0.0) >= STABLE_ENOUGH]
    if stable:
        chosen = max(stable, key=lambda trial: (trial.silhouette or 0.0, -trial.cluster_count))
        why = f"best silhouette among those with a stability of at least {STABLE_ENOUGH}"
    else:
        chosen = max(large, key=lambda trial: (trial.stability or 0.0, -trial.cluster_count))
        why = f"most stable; none reaches {STABLE_ENOUGH}"
    reasons = {trial.cluster_count: _against(trial, large, stable) for trial in trials}
    return chosen, {**reasons, chosen.cluster_count: why}


def _against(trial: Trial, large: Sequence[Trial], stable: Sequence[Trial]) -> str:
    if trial not in large:
        return f"its smallest cluster holds {trial.smallest_rate:.1%} of customers"
    if stable and trial not in stable:
        return f"stability {trial.stability:.2f} is below {STABLE_ENOUGH}"
    return "lower silhouette" if stable else "less stable"


def _try(sample: Points, count: int, settings: SegmentSettings, seed: int) -> Trial:
    model = _fitted(sample, count, settings, seed)
    labels = model.labels_
    agreements = []
    for resample in range(settings.resamples):
        draws = np.random.default_rng([seed, resample]).random(len(sample))
        # The lowest draws: exactly the share asked for, and never fewer customers than clusters.
        size = max(count, round(settings.resample_rate * len(sample)))
        drawn = sample[np.sort(np.argsort(draws, kind="stable")[:size])]
        other = _fitted(drawn, count, settings, seed + 1 + resample).predict(sample)
        agreements.append(float(adjusted_rand_score(labels, other)))
    sizes = np.bincount(labels, minlength=count)
    silhouette = float(silhouette_score(sample, labels, metric="sqeuclidean"))
    return Trial(
        count,
        model.cluster_centers_,
        round(silhouette, _SILHOUETTE_PLACES),
        tuple(agreements),
        float(sizes.min() / sizes.sum()),
    )


def _fitted(points: Points, count: int, settings: SegmentSettings, seed: int) -> KMeans:
    return KMeans(
        n_clusters=count, n_init=_RESTARTS, max_iter=10 * settings.max_iterations, random_state=seed % 2**32
    ).fit(points)
