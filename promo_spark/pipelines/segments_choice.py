"""The part of the segments stage that weighs methods and numbers of clusters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pandas as pd

from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.segments import SEGMENT_QUALITY
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.kernels.clustering import FINDS_THE_NUMBER
from promo_spark.report.charts import cluster_choice
from promo_spark.runtime import Stage
from promo_spark.segments.choice import choose_trial
from promo_spark.segments.clusters import Sample
from promo_spark.segments.later import LATER, join_later
from promo_spark.segments.trials import Trial, try_clusters
from promo_spark.segments.vectors import fit_vectors

LEAST_LATER_DAYS = 28
"""What came in fewer days says more of chance than of customers."""


def choose_segments(stage: Stage, sample: Sample, columns: tuple[str, ...]) -> Trial:
    """Try the methods and numbers of clusters that settings name, keep the evidence, and choose.

    Args:
        stage: The stage.
        sample: Vectors of customers at the date.
        columns: What they are made of.
    """
    settings = stage.settings.segments
    trials = try_clusters(
        sample.points, earlier=_earlier_sample(stage, columns), settings=settings, seed=stage.settings.seed
    )
    chosen, reasons = choose_trial(trials, settings.smallest_rate)
    _keep(stage, trials, chosen, reasons)
    reason = reasons[chosen.method, chosen.cluster_count]
    stage.progress(f"segments: {chosen.cluster_count} by {chosen.method}, {reason}")
    least = min(settings.cluster_counts)
    if chosen.cluster_count < least and (chosen.method != FINDS_THE_NUMBER or chosen.silhouette is None):
        stage.limitation(
            f"{len(sample.points)} customers, too few or too alike for {least} segments: "
            f"{chosen.cluster_count} instead."
        )
    return chosen


def _earlier_sample(stage: Stage, columns: tuple[str, ...]) -> Sample | None:
    """Customers as features.customers had them at an earlier date, and what they did from it on.

    Clusters are found again from what was known then, so that none of what judges them was seen. What they
    did is counted up to this date, for at most the horizon.
    """
    settings = stage.settings.segments
    customers = stage.read_before(CUSTOMER_FEATURES, days=LEAST_LATER_DAYS)
    newest = customers.select("as_of_date").first()
    if newest is None:
        if len(settings.methods) > 1:
            stage.limitation(
                f"methods of clustering are compared by silhouette alone: it takes features of a date at least "
                f"{LEAST_LATER_DAYS} days before to see which explains what customers do later."
            )
        return None
    day = newest["as_of_date"]
    last = min(stage.as_of_date, day + timedelta(days=settings.horizon_days))
    told = join_later(customers=customers, order_lines=stage.read(ORDER_LINES), first=day, last=last)
    stage.progress(f"segments are also tried on features of {day}, and judged by what came until {last}")
    return fit_vectors(told, columns=columns, settings=settings, seed=stage.settings.seed, beside=LATER).sample


def _keep(stage: Stage, trials: tuple[Trial, ...], chosen: Trial, reasons: Mapping[tuple[str, int], str]) -> None:
    rows = [
        (
            trial.method,
            trial.cluster_count,
            stage.as_of_date,
            trial.silhouette,
            trial.stability,
            trial.stability_sd,
            trial.smallest_rate,
            trial.clusters.noise_rate,
            None if trial.later is None else trial.later.rate,
            None if trial.later is None else trial.later.standard_error,
            trial is chosen,
            reasons[trial.method, trial.cluster_count],
        )
        for trial in trials
    ]
    stage.write(SEGMENT_QUALITY, contract_frame(stage.spark, SEGMENT_QUALITY, rows))
    quality = pd.DataFrame(rows, columns=list(SEGMENT_QUALITY.column_names))
    measures = ["silhouette", "stability_ari", "stability_ari_sd", "later_explained_rate", "later_explained_se"]
    quality[measures] = quality[measures].astype(float)
    stage.figure("cluster_choice", cluster_choice(quality))
    stage.table("cluster_trials", quality.drop(columns="as_of_date"))
    stage.metrics({"segment_count": chosen.cluster_count, **_figures(chosen, "")})
    for trial in trials:
        stage.metrics(_figures(trial, f"{trial.method}_{trial.cluster_count}_"))


def _figures(trial: Trial, prefix: str) -> dict[str, float]:
    figures = {
        "silhouette": trial.silhouette,
        "stability_ari": trial.stability,
        "smallest_rate": trial.smallest_rate,
        "later_explained_rate": None if trial.later is None else trial.later.rate,
    }
    return {f"{prefix}{name}": float(value) for name, value in figures.items() if value is not None}
