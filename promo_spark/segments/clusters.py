"""K-means, with the number of clusters chosen by separation and stability."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, pstdev

from pyspark.ml.clustering import KMeans, KMeansModel
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.settings import SegmentSettings
from promo_spark.kernels.agreement import adjusted_rand_index
from promo_spark.segments.vectors import VECTOR

STABLE_ENOUGH = 0.6
_HASH_RANGE = 1_000_000


@dataclass(frozen=True)
class Trial:
    """One number of clusters tried.

    Attributes:
        model: Fitted on all customers.
        cluster_count: Clusters asked for.
        silhouette: Mean silhouette, squared Euclidean (Rousseeuw 1987), -1 to 1.
        agreements: Adjusted Rand index between the fit on all and each fit on a resample.
        smallest_rate: Share of customers in the smallest cluster.
    """

    model: KMeansModel
    cluster_count: int
    silhouette: float
    agreements: tuple[float, ...]
    smallest_rate: float

    @property
    def stability(self) -> float:
        """Mean agreement over resamples (Hennig 2007 in spirit, with the adjusted Rand index)."""
        return fmean(self.agreements)

    @property
    def stability_sd(self) -> float:
        """Its standard deviation over resamples."""
        return pstdev(self.agreements)


def fit_trials(points: DataFrame, *, count: int, settings: SegmentSettings, seed: int) -> tuple[Trial, ...]:
    """Fit every number of clusters on all customers and on resamples.

    Args:
        points: customer_id and ``vector``, cached and in settled order.
        count: Number of rows.
        settings: Numbers of clusters, resamples.
        seed: Seed of every fit.

    Returns:
        Trials by number of clusters; those with more clusters than half the customers are left out.
    """
    sizes = sorted({size for size in settings.cluster_counts if 1 < size <= count // 2})
    return tuple(_fit_trial(points, size, settings, seed) for size in sizes)


def choose_trial(trials: Iterable[Trial], smallest_rate: float) -> tuple[Trial, Mapping[int, str]]:
    """Choose the best separated among the stable ones; where none is stable, the most stable.

    Returns:
        The choice, and the reason for or against each number of clusters.
    """
    trials = list(trials)
    large = [trial for trial in trials if trial.smallest_rate >= smallest_rate] or trials
    stable = [trial for trial in large if trial.stability >= STABLE_ENOUGH]
    if stable:
        chosen = max(stable, key=lambda trial: (trial.silhouette, -trial.cluster_count))
        why = f"best silhouette among those with stability of at least {STABLE_ENOUGH}"
    else:
        chosen = max(large, key=lambda trial: (trial.stability, -trial.cluster_count))
        why = f"most stable; none reaches {STABLE_ENOUGH}"
    reasons = {}
    for trial in trials:
        if trial is chosen:
            reasons[trial.cluster_count] = why
        elif trial not in large:
            reasons[trial.cluster_count] = f"smallest cluster holds {trial.smallest_rate:.1%} of customers"
        elif stable and trial not in stable:
            reasons[trial.cluster_count] = f"stability {trial.stability:.2f} is below {STABLE_ENOUGH}"
        else:
            reasons[trial.cluster_count] = "lower silhouette" if stable else "less stable"
    return chosen, reasons


def _fit_trial(points: DataFrame, size: int, settings: SegmentSettings, seed: int) -> Trial:
    def kmeans(name: str) -> KMeans:
        return KMeans(
            k=size, featuresCol=VECTOR, predictionCol=name, seed=seed, maxIter=settings.max_iterations, tol=1e-3
        )

    model = kmeans("prediction").fit(points)
    labelled = model.transform(points).select("customer_id", VECTOR, "prediction")
    names = []
    for resample in range(settings.resamples):
        name = f"resample_{resample}"
        draw = F.pmod(F.xxhash64("customer_id", F.lit(seed + resample)), F.lit(_HASH_RANGE))
        drawn = points.where(draw < int(settings.resample_rate * _HASH_RANGE))
        labelled = kmeans(name).fit(drawn).transform(labelled)
        names.append(name)
    labelled = labelled.cache()
    silhouette = ClusteringEvaluator(featuresCol=VECTOR, predictionCol="prediction").evaluate(labelled)
    agreements = _agreements(labelled, names)
    counts = [row["count"] for row in labelled.groupBy("prediction").count().collect()]
    labelled.unpersist()
    return Trial(model, size, float(silhouette), agreements, min(counts) / sum(counts))


def _agreements(labelled: DataFrame, names: list[str]) -> tuple[float, ...]:
    """Adjusted Rand index of each resample's labels with ``prediction``, from counts of pairs of labels."""
    pairs = F.explode(F.array(*(F.struct(F.lit(name).alias("name"), F.col(name).alias("other")) for name in names)))
    counted = (
        labelled.select("prediction", pairs.alias("pair")).groupBy("pair.name", "prediction", "pair.other").count()
    )
    cells: dict[str, list[tuple[int, int, int]]] = {name: [] for name in names}
    for row in counted.collect():
        cells[row["name"]].append((row["prediction"], row["other"], row["count"]))
    return tuple(adjusted_rand_index(cells[name]) for name in names)
