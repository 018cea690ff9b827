"""Cluster the customers, and say who they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pyspark.ml import PipelineModel
from pyspark.ml.feature import PCA
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.features import AFFINITY, CUSTOMER_FEATURES
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS, SEGMENT_PROFILES, SEGMENT_QUALITY, SEGMENTS
from promo_spark.errors import HistoryError, SettingsError
from promo_spark.report.charts import cluster_choice, segment_map
from promo_spark.runtime import Pipeline, Stage
from promo_spark.segments.clusters import Trial, choose_trial, fit_trials
from promo_spark.segments.customers import assign_value_tiers, label_customers, order_by_value
from promo_spark.segments.profiles import build_profiles, draw_portraits, summarise
from promo_spark.segments.vectors import (
    VECTOR,
    informative_columns,
    numeric_columns,
    settled_order,
    vector_pipeline,
)

_ALWAYS_PROFILED = (
    "weekly_spend_amount",
    "order_91d_count",
    "basket_spend_amount",
    "discount_depth_rate",
    "coupon_line_rate",
)


def run(stage: Stage) -> None:
    """Fit the trials, choose one, label every customer, and describe the segments.

    Raises:
        HistoryError: There are too few customers to tell any apart.
        SettingsError: A column to cluster on is not a number in features.customers.
    """
    settings = stage.settings.segments
    customers = stage.read(CUSTOMER_FEATURES)
    count = customers.count()
    columns = _usable_columns(stage, customers)
    prepared = vector_pipeline(columns, settings.principal_components).fit(settled_order(customers, count))
    points = (
        prepared.transform(settled_order(customers, count)).select("customer_id", "weekly_spend_amount", VECTOR).cache()
    )
    trials = fit_trials(points, count=count, settings=settings, seed=stage.settings.seed)
    if not trials:
        raise HistoryError(
            f"{count} customers bought before {stage.as_of_date}; {2 * min(settings.cluster_counts)} are needed for "
            f"{min(settings.cluster_counts)} segments. Choose a later as_of_date or smaller segments.cluster_counts."
        )
    chosen, reasons = choose_trial(trials, settings.smallest_rate)
    stage.progress(f"{chosen.cluster_count} segments: {reasons[chosen.cluster_count]}")
    segments = _label(stage, points, chosen, customers)
    _describe(stage, columns=columns, segments=segments, points=points, chosen=chosen)
    _quality(stage, trials, chosen, reasons)
    model = PipelineModel(stages=[*prepared.stages, chosen.model])
    sample = customers.select("customer_id", *columns)
    stage.save_model("customer_segments", model, sample, model.transform(sample).select("prediction"))
    points.unpersist()


def _usable_columns(stage: Stage, customers: DataFrame) -> tuple[str, ...]:
    wanted, unknown = numeric_columns(stage.settings.segments.columns)
    if unknown:
        raise SettingsError(f"segments.columns: {', '.join(unknown)} is no number in features.customers.")
    columns = informative_columns(customers, wanted)
    dropped = [name for name in wanted if name not in columns]
    if dropped:
        stage.limitation(f"segments are formed without {', '.join(dropped)}: unknown or the same for every customer.")
    if not columns:
        raise HistoryError(f"customers do not differ in any of segments.columns before {stage.as_of_date}.")
    return columns


def _label(stage: Stage, points: DataFrame, chosen: Trial, customers: DataFrame) -> DataFrame:
    labelled = chosen.model.transform(points)
    numbers = order_by_value(labelled)
    centres = [list(centre) for centre in chosen.model.clusterCenters()]
    placed = label_customers(points=labelled, segment_ids=numbers, centres=centres)
    bare = placed.select(
        "customer_id",
        F.lit(stage.as_of_date).alias("as_of_date"),
        "segment_id",
        "distance",
        F.lit(None).alias("value_tier"),
    )
    stage.write(SEGMENT_CUSTOMERS, assign_value_tiers(customers=customers, segments=bare))
    return stage.read(SEGMENT_CUSTOMERS)


def _describe(stage: Stage, *, columns: tuple[str, ...], segments: DataFrame, points: DataFrame, chosen: Trial) -> None:
    customers = stage.read(CUSTOMER_FEATURES)
    members = customers.join(segments.select("customer_id", "segment_id"), "customer_id").cache()
    averages, overall, spread = summarise(members, tuple(dict.fromkeys((*columns, *_ALWAYS_PROFILED))))
    totals = members.groupBy("segment_id").agg(F.count("*"), F.sum("spend_91d_amount")).collect()
    people, spend = sum(row[1] for row in totals), float(sum(row[2] or 0 for row in totals)) or 1.0
    shares = {row[0]: (row[1] / people, float(row[2] or 0) / spend) for row in totals}
    members.unpersist()
    places = _map_places(points, chosen, order_by_value(chosen.model.transform(points)))
    portraits = draw_portraits(averages, overall, spread, shares=shares, places=places)
    profiles = build_profiles(
        segments=segments, customers=customers, affinity=stage.read(AFFINITY), portraits=portraits
    )
    stage.write(SEGMENT_PROFILES, profiles)
    told = stage.read(SEGMENT_PROFILES).orderBy("segment_id").toPandas()
    for row in told.itertuples():
        stage.progress(f"segment {row.segment_id} {row.segment_name}: {row.description}")
    stage.figure("segment_map", segment_map(told))
    stage.table("profiles", told.drop(columns=["averages", "contrasts", "favourite_categories"]))


def _map_places(points: DataFrame, chosen: Trial, numbers: Mapping[int, int]) -> dict[int, tuple[float, float]]:
    """Centres on the first two principal components of the customers' vectors."""
    centres = np.array(chosen.model.clusterCenters())
    dimensions = min(2, centres.shape[1])
    axes = PCA(k=dimensions, inputCol=VECTOR, outputCol="_map").fit(points).pc.toArray()
    placed = np.zeros((len(centres), 2))
    placed[:, :dimensions] = centres @ axes
    return {numbers[cluster]: (float(x), float(y)) for cluster, (x, y) in enumerate(placed) if cluster in numbers}


def _quality(stage: Stage, trials: tuple[Trial, ...], chosen: Trial, reasons: Mapping[int, str]) -> None:
    rows = [
        (
            trial.cluster_count,
            stage.as_of_date,
            trial.silhouette,
            trial.stability,
            trial.stability_sd,
            trial.smallest_rate,
            trial is chosen,
            reasons[trial.cluster_count],
        )
        for trial in trials
    ]
    stage.write(SEGMENT_QUALITY, stage.spark.createDataFrame(rows, SEGMENT_QUALITY.schema(all_nullable=True)))
    table = pd.DataFrame(rows, columns=list(SEGMENT_QUALITY.column_names))
    figure: Figure = cluster_choice(table)
    stage.figure("cluster_choice", figure)
    stage.metrics(
        {
            "segment_count": float(chosen.cluster_count),
            "silhouette": chosen.silhouette,
            "stability_ari": chosen.stability,
        }
    )


PIPELINE = Pipeline(
    name="segments",
    summary="Cluster the customers, choose how many segments by evidence, and say who they are.",
    reads=(CUSTOMER_FEATURES, AFFINITY),
    writes=SEGMENTS,
    run=run,
)
