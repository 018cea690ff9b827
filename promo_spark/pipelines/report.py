"""Write the manager's pages from what the other stages left in the tables."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNED_PROMOTIONS, BUDGET_CURVE, CONSTRAINT_USE
from promo_spark.contracts.audit import STAGE_RUNS
from promo_spark.contracts.campaign_effects import CAMPAIGN_CHECKS, CAMPAIGN_EFFECTS
from promo_spark.contracts.decisions import SEGMENT_UPLIFTS
from promo_spark.contracts.experiments import EFFECTS as MEASURED_EFFECTS
from promo_spark.contracts.experiments import EXPERIMENT_CHECKS
from promo_spark.contracts.fairness import CONTACT_PRESSURE, FAIRNESS
from promo_spark.contracts.features import PRODUCT_FEATURES, PROMOTION_FEATURES
from promo_spark.contracts.ideas import BUNDLES, TRIGGERS
from promo_spark.contracts.kpis import KPIS
from promo_spark.contracts.measurement import BACKTESTS, FORECAST_ACTUALS, POLICY_VALUES
from promo_spark.contracts.off_policy import OFF_POLICY
from promo_spark.contracts.plans import SEGMENT_PLAN
from promo_spark.contracts.response import EFFECTS, PANEL
from promo_spark.contracts.segments import (
    LIFETIME_VALUES,
    SEGMENT_CUSTOMERS,
    SEGMENT_MIGRATION,
    SEGMENT_PRODUCTS,
    SEGMENT_PROFILES,
    SEGMENT_PROMOTIONS,
    SEGMENT_QUALITY,
)
from promo_spark.contracts.silver import PRODUCTS, SILVER
from promo_spark.contracts.table import rejected_of
from promo_spark.report.customer_plan import CustomerPlan
from promo_spark.report.facts import Evidence
from promo_spark.report.measured import Measured
from promo_spark.report.page import Heading, render_pages
from promo_spark.runtime import Pipeline, Stage

MEASURED = {
    "effects": MEASURED_EFFECTS,
    "experiment_checks": EXPERIMENT_CHECKS,
    "campaign_effects": CAMPAIGN_EFFECTS,
    "campaign_checks": CAMPAIGN_CHECKS,
    "off_policy": OFF_POLICY,
    "kpis": KPIS,
    "fairness": FAIRNESS,
    "contact_pressure": CONTACT_PRESSURE,
}
_REJECTED = tuple(rejected_of(table) for table in SILVER)
_CLUSTER = ("cluster_id", "cluster_name")
_BUNDLES_SHOWN = 10
_LEVERS = ("depth_rate", "display_rate", "mailer_rate")


def run(stage: Stage) -> None:
    """Collect the aggregates, render the page, keep it beside the tables and in MLflow."""
    settings = stage.settings
    pages = render_pages(
        evidence=_evidence(stage),
        measured=_measured(stage),
        heading=Heading(
            title=settings.report.title,
            as_of_date=stage.as_of_date,
            currency=settings.currency,
            run_id=stage.run_id,
            source_kind=settings.source.kind,
        ),
        budget=settings.plan.budget_amount,
        interval_level=settings.plan.interval_level,
    )
    stage.progress(f"report: {stage.write_report(pages)}")


def _measured(stage: Stage) -> Measured:
    return Measured(**{name: stage.read(table).toPandas() for name, table in MEASURED.items()})


def _evidence(stage: Stage) -> Evidence:
    forecasts = stage.read(FORECAST_ACTUALS)
    return Evidence(
        plan=stage.read(SEGMENT_PLAN).orderBy("segment_id", "category").toPandas(),
        profiles=stage.read(SEGMENT_PROFILES).orderBy("segment_id").toPandas(),
        quality=stage.read(SEGMENT_QUALITY).orderBy("method", "cluster_count").toPandas(),
        migration=stage.read(SEGMENT_MIGRATION).orderBy("previous_segment_id", "segment_id").toPandas(),
        lifetimes=mean_lifetimes(stage),
        product_clusters=sum_product_clusters(stage),
        promotion_clusters=sum_promotion_clusters(stage),
        effects=stage.read(EFFECTS).orderBy("segment_id", "category", "offer_id").toPandas(),
        weeks=_past_weeks(stage),
        backtests=stage.read(BACKTESTS).orderBy("subject", "model", "metric").toPandas(),
        forecasts=_weekly_totals(forecasts).toPandas(),
        cells=forecasts.where(F.col("model") == "gbt").select("predicted_amount", "actual_amount").toPandas(),
        promotions=_past_promotions(stage),
        stages=newest_runs(stage).toPandas(),
        rejects=_rejects(stage),
        customers=_customer_plan(stage),
    )


def _customer_plan(stage: Stage) -> CustomerPlan:
    names = stage.read(PRODUCTS).select("product_id", "product_name")
    bundles = stage.read(BUNDLES).where(F.col("rank") <= _BUNDLES_SHOWN)
    for role in ("anchor", "added"):
        own = names.select(F.col("product_id").alias(f"{role}_product_id"), F.col("product_name").alias(f"{role}_name"))
        bundles = bundles.join(own, f"{role}_product_id", "left")
    triggered = stage.read(TRIGGERS).groupBy("trigger").agg(F.countDistinct("customer_id").alias("customer_count"))
    return CustomerPlan(
        policies=stage.read(POLICY_VALUES).orderBy("policy").toPandas(),
        assigned=stage.read(ASSIGNED_PROMOTIONS).orderBy("segment_id", "promotion_id").toPandas(),
        limits=stage.read(CONSTRAINT_USE).orderBy("name").toPandas(),
        budget_curve=stage.read(BUDGET_CURVE).orderBy("budget_amount").toPandas(),
        bundles=bundles.orderBy("rank").toPandas(),
        triggers=triggered.orderBy("trigger").toPandas(),
        uplifts=_margin_uplifts(stage).toPandas(),
    )


def _margin_uplifts(stage: Stage) -> DataFrame:
    names = stage.read(SEGMENT_PROFILES).select("segment_id", "segment_name")
    margins = stage.read(SEGMENT_UPLIFTS).where(F.col("outcome") == "margin_amount")
    return margins.join(names, "segment_id", "left").orderBy("arm", "segment_id")


def mean_lifetimes(stage: Stage) -> pd.DataFrame:
    """Mean lifetime value of each segment's customers, and what it is made of."""
    segments = stage.read(SEGMENT_CUSTOMERS).select("customer_id", "segment_id")
    told = ("alive_prob", "expected_purchase_count", "lifetime_value_amount")
    means = [F.avg(F.col(name).cast("double")).alias(name) for name in told]
    valued = stage.read(LIFETIME_VALUES).join(segments, "customer_id")
    return valued.groupBy("segment_id").agg(F.max("horizon_days").alias("horizon_days"), *means).toPandas()


def sum_product_clusters(stage: Stage) -> pd.DataFrame:
    """Size, share of sales and means of each cluster of products."""
    features = stage.read(PRODUCT_FEATURES)
    rates = [F.avg(name).alias(name) for name in ("discounted_line_rate", "repeat_customer_rate")]
    clusters = (
        features.join(stage.read(SEGMENT_PRODUCTS).select("product_id", *_CLUSTER), "product_id")
        .groupBy(*_CLUSTER)
        .agg(
            F.count("*").alias("product_count"),
            F.sum("sales_share_rate").alias("sales_rate"),
            F.median("regular_price_amount").alias("regular_price_amount"),
            *rates,
        )
    )
    return clusters.orderBy("cluster_id").toPandas()


def sum_promotion_clusters(stage: Stage) -> pd.DataFrame:
    """Size and means of each cluster of promotions."""
    features = stage.read(PROMOTION_FEATURES).select("promotion_id", "targeted_customer_count", "duration_days")
    told = ("expected_redemption_rate", "targeted_customer_count", "duration_days")
    clusters = (
        features.join(stage.read(SEGMENT_PROMOTIONS), "promotion_id")
        .groupBy(*_CLUSTER)
        .agg(F.count("*").alias("promotion_count"), *[F.avg(name).alias(name) for name in told])
    )
    return clusters.orderBy("cluster_id").toPandas()


def _past_weeks(stage: Stage) -> pd.DataFrame:
    """Levers per week, weighted by the categories' sales over the weeks shown."""
    first = stage.as_of_date - timedelta(weeks=stage.settings.report.weeks_shown)
    shown = stage.read(PANEL).where(F.col("week_start_date") >= F.lit(first))
    weight = F.sum("gross_amount").over(Window.partitionBy("category"))
    weighted = shown.withColumn("_weight", weight)
    means = [F.try_divide(F.sum(F.col(name) * F.col("_weight")), F.sum("_weight")).alias(name) for name in _LEVERS]
    return weighted.groupBy("week_start_date").agg(*means).orderBy("week_start_date").toPandas()


def _past_promotions(stage: Stage) -> pd.DataFrame:
    first = stage.as_of_date - timedelta(weeks=stage.settings.report.weeks_shown)
    ran = stage.read(PROMOTION_FEATURES).where(F.col("end_date") >= F.lit(first))
    return ran.orderBy("start_date", "promotion_id").toPandas()


def _weekly_totals(forecasts: DataFrame) -> DataFrame:
    amounts = ("actual_amount", "predicted_amount", "low_amount", "high_amount")
    sums = [F.sum(name).alias(name) for name in amounts]
    return forecasts.groupBy("week_start_date", "model").agg(*sums).orderBy("week_start_date", "model")


def newest_runs(stage: Stage) -> DataFrame:
    """The newest account of each stage that finished: for the date, and of ingest for every date."""
    newest = Window.partitionBy("stage").orderBy(F.col("sequence").desc())
    date = F.col("as_of_date")
    runs = stage.read(STAGE_RUNS).where(date.isNull() | (date == F.lit(stage.as_of_date)))
    finished = runs.where(F.col("finished_at").isNotNull())
    return finished.withColumn("_place", F.row_number().over(newest)).where("_place = 1").orderBy("sequence")


def _rejects(stage: Stage) -> pd.DataFrame:
    """Rejected rows per table and reason."""
    counts = [
        stage.read(table)
        .select(F.lit(table.name.removesuffix("_rejected")).alias("table"), F.explode("reasons").alias("reason"))
        .groupBy("table", "reason")
        .agg(F.count("*").alias("rows"))
        for table in _REJECTED
    ]
    total = counts[0]
    for more in counts[1:]:
        total = total.unionByName(more)
    return total.orderBy(F.col("rows").desc(), "table", "reason").toPandas()


PIPELINE = Pipeline(
    name="report",
    summary="Write the manager's page: the plan, why, and how far earlier predictions held.",
    reads=(
        SEGMENT_PLAN,
        SEGMENT_PROFILES,
        SEGMENT_QUALITY,
        SEGMENT_MIGRATION,
        SEGMENT_CUSTOMERS,
        LIFETIME_VALUES,
        SEGMENT_PRODUCTS,
        SEGMENT_PROMOTIONS,
        EFFECTS,
        PANEL,
        PRODUCT_FEATURES,
        PROMOTION_FEATURES,
        BACKTESTS,
        FORECAST_ACTUALS,
        *(POLICY_VALUES, ASSIGNED_PROMOTIONS, CONSTRAINT_USE, BUDGET_CURVE, BUNDLES, TRIGGERS, PRODUCTS),
        *(SEGMENT_UPLIFTS, *MEASURED.values()),
        STAGE_RUNS,
        *_REJECTED,
    ),
    writes=(),
    run=run,
    settings=("report", "source", "currency", "plan.budget_amount", "plan.interval_level"),
    purpose="personalisation",
)
