"""Cluster the customers, and say who they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.feature import PCA
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.features import AFFINITY, CUSTOMER_FEATURES
from promo_spark.contracts.rows import contract_frame
from promo_spark.contracts.segments import BEHAVIOUR, SEGMENT_CUSTOMERS, SEGMENT_PROFILES, SEGMENT_QUALITY, SEGMENTS
from promo_spark.contracts.silver import ORDER_LINES
from promo_spark.errors import SettingsError
from promo_spark.pipelines.segments_behaviour import predict_behaviour
from promo_spark.pipelines.segments_migration import tell_migration
from promo_spark.report.charts import cluster_choice, segment_map
from promo_spark.runtime import Pipeline, Stage
from promo_spark.segments.clusters import DISTANCE, SEGMENT, SegmentKMeans, SegmentKMeansModel, draw_sample
from promo_spark.segments.customers import assign_value_tiers
from promo_spark.segments.profiles import build_profiles, draw_portraits, summarise
from promo_spark.segments.scaling import FEATURES, CustomerScaler, CustomerScalerModel, numeric_columns
from promo_spark.segments.trials import SAMPLE_SIZE, Trial, choose_trial, try_cluster_counts

_REDUCED = "components"
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
    """Choose a number of segments on a sample, fit them on everyone, label every customer, describe them.

    Raises:
        SettingsError: A column to cluster on is not a number in features.customers.
    """
    settings = stage.settings.segments
    wanted = _wanted_columns(settings.columns)
    customers = stage.read(CUSTOMER_FEATURES)
    if customers.isEmpty():
        _write_nothing(stage)
        return
    scaler, vectors = _scale(stage, customers, wanted)
    points = vectors.transform(customers).select("customer_id", "weekly_spend_amount", _vector(vectors)).cache()
    sample = draw_sample(points, features=_vector(vectors), size=SAMPLE_SIZE, seed=stage.settings.seed)
    trials = try_cluster_counts(sample, settings=settings, seed=stage.settings.seed)
    chosen, reasons = choose_trial(trials, settings.smallest_rate)
    stage.progress(f"segments: {chosen.cluster_count}, {reasons[chosen.cluster_count]}")
    if chosen.cluster_count < min(settings.cluster_counts):
        stage.limitation(
            f"{len(sample)} customers, too few or too alike for {min(settings.cluster_counts)} segments: "
            f"{chosen.cluster_count} instead."
        )
    clusters = SegmentKMeans(
        centres=chosen.centres.tolist(), features=_vector(vectors), iterations=settings.max_iterations
    ).fit(points)
    model = PipelineModel(stages=[*vectors.stages, clusters])
    _label(stage, clusters.transform(points), customers)
    points.unpersist()
    _describe(stage, columns=wanted, places=_map_places(sample, clusters))
    _quality(stage, trials, chosen, reasons)
    tell_migration(stage)
    sample_rows = customers.select("customer_id", *scaler.getInputCols())
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


def _scale(stage: Stage, customers: DataFrame, wanted: tuple[str, ...]) -> tuple[CustomerScalerModel, PipelineModel]:
    """Fit the vectors; the scaler is also returned alone, for the columns it kept."""
    scaler = CustomerScaler(columns=wanted).fit(customers)
    kept = scaler.getInputCols()
    dropped = [name for name in wanted if name not in kept]
    if dropped:
        stage.limitation(f"segments are formed without {', '.join(dropped)}: unknown or the same for every customer.")
    components = stage.settings.segments.principal_components
    stages: list[Transformer] = [scaler]
    if components is not None and components < len(kept):
        reduction = PCA(k=components, inputCol=FEATURES, outputCol=_REDUCED)
        stages.append(reduction.fit(scaler.transform(customers)))
    return scaler, PipelineModel(stages=stages)


def _vector(vectors: PipelineModel) -> str:
    return FEATURES if len(vectors.stages) == 1 else _REDUCED


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


def _map_places(sample: Points, clusters: SegmentKMeansModel) -> dict[int, tuple[float, float]]:
    """Centres on the first two principal components of the sample, each with its largest loading positive."""
    centres = clusters.cluster_centres()
    middle = sample.mean(axis=0)
    axes = np.linalg.svd(sample - middle, full_matrices=False)[2][:2]
    signs = [np.sign(axis[np.abs(axis).argmax()]) or 1.0 for axis in axes]
    placed = np.zeros((len(centres), 2))
    if len(axes):
        placed[:, : len(axes)] = (centres - middle) @ (axes * np.array(signs)[:, None]).T
    return {segment: (float(x), float(y)) for segment, (x, y) in enumerate(placed.round(6))}


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
    stage.write(SEGMENT_QUALITY, contract_frame(stage.spark, SEGMENT_QUALITY, rows))
    quality = pd.DataFrame(rows, columns=list(SEGMENT_QUALITY.column_names))
    numbers = ["silhouette", "stability_ari", "stability_ari_sd"]
    quality[numbers] = quality[numbers].astype(float)
    stage.figure("cluster_choice", cluster_choice(quality))
    figures = {
        "segment_count": chosen.cluster_count,
        "silhouette": chosen.silhouette,
        "stability_ari": chosen.stability,
        "smallest_rate": chosen.smallest_rate,
    }
    stage.metrics({name: float(value) for name, value in figures.items() if value is not None})


PIPELINE = Pipeline(
    name="segments",
    summary="Cluster the customers, say who they are, and predict who will leave and what the others will spend.",
    reads=(CUSTOMER_FEATURES, AFFINITY, ORDER_LINES),
    writes=(*SEGMENTS, *BEHAVIOUR),
    run=run,
    settings=("segments", "seed"),
)
