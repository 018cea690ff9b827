"""Cluster the customers, and say who they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.features import AFFINITY, CUSTOMER_FEATURES, PRODUCT_FEATURES, PROMOTION_FEATURES
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.segments import BEHAVIOUR, ENTITY_CLUSTERS, SEGMENT_CUSTOMERS, SEGMENT_PROFILES, SEGMENTS
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.errors import SettingsError
from promo_spark.kernels.clustering import MOVES_ON
from promo_spark.kernels.reduction import principal_axes, project
from promo_spark.pipelines.segments_behaviour import predict_behaviour
from promo_spark.pipelines.segments_choice import choose_segments
from promo_spark.pipelines.segments_entities import cluster_entities
from promo_spark.pipelines.segments_migration import tell_migration
from promo_spark.report.charts import segment_map
from promo_spark.runtime import Pipeline, Stage
from promo_spark.segments.clusters import DISTANCE, SEGMENT, SegmentClustering
from promo_spark.segments.customers import assign_value_tiers
from promo_spark.segments.profiles import build_profiles, draw_portraits, summarise
from promo_spark.segments.scaling import numeric_columns
from promo_spark.segments.vectors import Vectors, fit_vectors

_ALWAYS_PROFILED = (
    "weekly_spend_amount",
    "order_91d_count",
    "basket_spend_amount",
    "discount_depth_rate",
    "coupon_line_rate",
    "mailer_spend_rate",
)
Points = npt.NDArray[np.float64]


def run(stage: Stage) -> None:
    """Choose segments on a sample, fit them on everyone, label every customer, describe them.

    Raises:
        SettingsError: A column to cluster on is not a number in features.customers.
    """
    cluster_entities(stage)
    settings = stage.settings.segments
    wanted = _wanted_columns(settings.columns)
    customers = stage.read(CUSTOMER_FEATURES)
    if customers.isEmpty():
        _write_nothing(stage)
        return
    vectors = fit_vectors(customers, columns=wanted, settings=settings, seed=stage.settings.seed)
    _say_what_is_left_out(stage, vectors, wanted)
    chosen = choose_segments(stage, vectors.sample, wanted)
    points = vectors.transform(customers).select("customer_id", "weekly_spend_amount", vectors.column).cache()
    labels = SegmentClustering(
        chosen.clusters,
        features=vectors.column,
        iterations=settings.max_iterations if chosen.method == MOVES_ON else 0,
    ).fit(points)
    model = PipelineModel(stages=[*vectors.stages, labels])
    _label(stage, labels.transform(points), customers)
    points.unpersist()
    _describe(stage, columns=wanted, places=_map_places(vectors.sample.points, labels.clusters().middles()))
    tell_migration(stage)
    sample_rows = customers.select("customer_id", *vectors.scaler.getInputCols())
    stage.save_model("customer_segments", model, sample_rows, model.transform(sample_rows).select(SEGMENT, DISTANCE))
    predict_behaviour(stage)


def _wanted_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    wanted, unknown = numeric_columns(columns)
    if unknown:
        raise SettingsError(f"segments.columns: {', '.join(unknown)} is no number in features.customers.")
    return wanted


def _write_nothing(stage: Stage) -> None:
    stage.limitation("no customer is known before the date: there are no segments.")
    for contract in (*SEGMENTS, *BEHAVIOUR):
        stage.write(contract, contract_frame(stage.spark, contract))


def _say_what_is_left_out(stage: Stage, vectors: Vectors, wanted: tuple[str, ...]) -> None:
    kept = vectors.scaler.getInputCols()
    dropped = [name for name in wanted if name not in kept]
    if dropped:
        stage.limitation(f"segments are formed without {', '.join(dropped)}: unknown or the same for every customer.")
    reduction = stage.settings.segments.reduction
    if reduction != "none" and vectors.projection is None:
        stage.limitation(f"segments are formed without {reduction}: there are no fewer directions to choose.")


def _label(stage: Stage, placed: DataFrame, customers: DataFrame) -> None:
    bare = placed.select(
        "customer_id",
        F.lit(stage.as_of_date).alias("as_of_date"),
        SEGMENT,
        DISTANCE,
        F.lit(None).cast("string").alias("value_tier"),
    )
    stage.write(SEGMENT_CUSTOMERS, assign_value_tiers(customers=customers, segments=bare))
    tiers = stage.read(SEGMENT_CUSTOMERS).groupBy("value_tier").count().collect()
    stage.metrics({f"{row['value_tier'].replace('-', '_')}_customers": row["count"] for row in tiers})


def _describe(stage: Stage, *, columns: tuple[str, ...], places: dict[int, tuple[float, float]]) -> None:
    customers, segments = stage.read(CUSTOMER_FEATURES), stage.read(SEGMENT_CUSTOMERS)
    members = customers.join(segments.select("customer_id", SEGMENT), "customer_id").cache()
    summary = summarise(members, tuple(dict.fromkeys((*columns, *_ALWAYS_PROFILED))))
    totals = members.groupBy(SEGMENT).agg(F.count("*"), F.sum("spend_91d_amount")).collect()
    members.unpersist()
    people, spend = sum(row[1] for row in totals), float(sum(row[2] or 0 for row in totals)) or 1.0
    shares = {row[0]: (row[1] / people, float(row[2] or 0) / spend) for row in totals}
    portraits = draw_portraits(summary, shares=shares, places=places)
    profiles = build_profiles(
        segments=segments, customers=customers, affinity=stage.read(AFFINITY), portraits=portraits
    )
    stage.write(SEGMENT_PROFILES, profiles)
    told = stage.read(SEGMENT_PROFILES).orderBy(SEGMENT).toPandas()
    for row in told.itertuples():
        stage.progress(f"segment {row.segment_id} {row.segment_name}: {row.description}")
    stage.figure("segment_map", segment_map(told))
    stage.table("profiles", told.drop(columns=["averages", "contrasts", "favourite_categories"]))


def _map_places(sample: Points, middles: Points) -> dict[int, tuple[float, float]]:
    """The middle of each segment on the first two principal components of the sample."""
    axes = principal_axes(sample, 2)
    placed = np.zeros((len(middles), 2))
    placed[:, : axes.shape[1]] = project(middles - sample.mean(axis=0), axes)
    return {segment: (float(x), float(y)) for segment, (x, y) in enumerate(placed.round(6))}


PIPELINE = Pipeline(
    name="segments",
    summary="Cluster the customers, say who they are, and predict who will leave and what the others will spend.",
    reads=(CUSTOMER_FEATURES, PRODUCT_FEATURES, PROMOTION_FEATURES, AFFINITY, ORDER_LINES),
    writes=(*SEGMENTS, *BEHAVIOUR, *ENTITY_CLUSTERS),
    run=run,
    settings=("segments", "seed"),
    purpose="personalisation",
)
