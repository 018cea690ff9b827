"""Randomised decisions of the ledger: who was drawn into which arm, what was known before, and what followed."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.experiment_settings import ExperimentSettings
from promo_spark.contracts.experiments import ALL_SEGMENTS, EXPERIMENT_ROWS, EXPERIMENT_UNITS, EXPERIMENTS
from promo_spark.contracts.features import PRODUCT_FEATURES
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import ASSIGNMENTS, ORDER_LINES, REDEMPTIONS
from promo_spark.contracts.step import produces
from promo_spark.measurement.experiment_decisions import list_drawn
from promo_spark.measurement.purchase_days import LEDGER_COVARIATES, LEDGER_OUTCOMES, sum_purchase_days

_KEY = ("experiment", "customer_id")
_BANDS = ("spent_nothing", "spent_little", "spent_middling", "spent_much")
_DAYS = ("first_date", "end_date")


@produces(
    EXPERIMENT_ROWS,
    assignments=ASSIGNMENTS,
    feedback=FEEDBACK,
    experiments=EXPERIMENTS,
    experiment_units=EXPERIMENT_UNITS,
    order_lines=ORDER_LINES,
    redemptions=REDEMPTIONS,
    product_features=PRODUCT_FEATURES,
    segment_customers=SEGMENT_CUSTOMERS,
)
def gather_experiment_rows(
    *,
    assignments: DataFrame,
    feedback: DataFrame,
    experiments: DataFrame,
    experiment_units: DataFrame,
    order_lines: DataFrame,
    redemptions: DataFrame,
    product_features: DataFrame,
    segment_customers: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: ExperimentSettings,
    features: FeatureSettings,
) -> DataFrame:
    """Gather each customer of a randomised decision with outcomes and covariates.

    A decision that was designed here counts from its first day on, up to now while it runs; any other once its window
    is over. Customers held out have the arm none. Refunds and outliers are left out of amounts. Which decisions were
    randomised: see `list_drawn`.

    Args:
        assignments: silver.assignments.
        feedback: learning.feedback: this system's own decisions, holdout against plan.
        experiments: measurement.experiments with their variants; their dates win over the day of the decision.
        experiment_units: measurement.experiment_units, for what was drawn and its stratum.
        order_lines: silver.order_lines.
        redemptions: silver.redemptions, of promotions that are arms.
        product_features: features.products, for margin rates.
        segment_customers: segments.customers of some date; segments told are those known before a decision's first day,
            fourths of earlier spend where there are none.
        as_of_date: Nothing from this date on is used.
        time_zone: The retailer's, in which days begin.
        settings: Windows.
        features: The margin rate of products without one.

    Returns:
        measurement.experiment_rows, with outcomes and covariates in the order of ``LEDGER_OUTCOMES`` and
        ``LEDGER_COVARIATES``.
    """
    drawn = list_drawn(
        assignments=assignments,
        feedback=feedback,
        experiments=experiments,
        experiment_units=experiment_units,
        as_of_date=as_of_date,
        time_zone=time_zone,
        settings=settings,
    )
    days = sum_purchase_days(
        order_lines=order_lines.where(F.col("order_date") < F.lit(as_of_date)),
        product_features=product_features,
        default_rate=features.margin_rate,
    )
    measured = measure_windows(drawn=drawn, days=days, covariate_days=settings.covariate_days)
    redeemed = _redeemed(drawn, redemptions)
    units = experiment_units.select(*_KEY, "unit_id", F.col("stratum").alias("_stratum"))
    clustered = experiments.select("experiment", (F.col("unit") != "customer").alias("_is_clustered")).distinct()
    rows = (
        drawn.join(measured, list(_KEY), "left")
        .join(redeemed, list(_KEY), "left")
        .join(units, list(_KEY), "left")
        .join(F.broadcast(clustered), "experiment", "left")
    )
    return _with_segments(rows, segment_customers).select(
        *_KEY,
        F.lit(as_of_date).alias("as_of_date"),
        "arm",
        "propensity",
        F.coalesce("_stratum", F.lit(ALL_SEGMENTS)).alias("stratum"),
        F.when(F.col("_is_clustered"), F.lit(ALL_SEGMENTS)).otherwise(F.col("segment")).alias("segment"),
        F.when(F.col("_is_clustered"), F.col("unit_id")).alias("cluster_id"),
        F.lit(1).cast("long").alias("record_count"),
        F.lit(1).cast("long").alias("arm_count"),
        (F.col("decided_date") > F.col("first_date")).alias("is_early"),
        F.lit(False).alias("is_missing"),
        *measured_arrays(),
    )


def measure_windows(*, drawn: DataFrame, days: DataFrame, covariate_days: int) -> DataFrame:
    """Sum purchase days over the window of each customer of an experiment, and over the days before it.

    Args:
        drawn: experiment, customer_id, first_date, end_date (not in the window).
        days: What `sum_purchase_days` returned.
        covariate_days: Days before the first.

    Returns:
        experiment, customer_id, each of ``LEDGER_OUTCOMES`` that purchases tell, and each of ``LEDGER_COVARIATES`` with
        the prefix ``pre_``; none for who bought nothing in either.
    """
    windows = drawn.select(*_KEY, *_DAYS)
    joined = windows.join(days, "customer_id").where(
        (F.col("order_date") < F.col("end_date"))
        & (F.col("order_date") >= F.date_sub(F.col("first_date"), covariate_days))
    )
    is_before = F.col("order_date") < F.col("first_date")
    sums = {f"pre_{name}": _total(name, is_before) for name in LEDGER_COVARIATES if name != "is_buyer"}
    sums |= {name: _total(name, ~is_before) for name in LEDGER_OUTCOMES if not name.startswith("is_")}
    flags = {"pre_is_buyer": F.bool_or(is_before), "is_buyer": F.bool_or(~is_before)}
    return joined.groupBy(*_KEY).agg(*(value.alias(name) for name, value in (sums | flags).items()))


def _total(name: str, condition: Expression) -> Expression:
    return F.sum(F.when(condition, F.col(name)))


def _redeemed(drawn: DataFrame, redemptions: DataFrame) -> DataFrame:
    """Who redeemed a promotion that is an arm of the experiment, whichever arm was drawn."""
    promotions = drawn.where(F.col("promotion_id") != NO_ARM).select("experiment", "promotion_id").distinct()
    used = redemptions.join(F.broadcast(promotions), "promotion_id").select(*_KEY, "redeemed_date")
    inside = (F.col("redeemed_date") >= F.col("first_date")) & (F.col("redeemed_date") < F.col("end_date"))
    counted = drawn.select(*_KEY, *_DAYS).join(used, list(_KEY)).where(inside)
    return counted.groupBy(*_KEY).agg(F.lit(True).alias("is_redeemed"))


def _with_segments(rows: DataFrame, segment_customers: DataFrame) -> DataFrame:
    """Segments that were known before the first day; else whether, and how much, was spent before."""
    known = segment_customers.select(
        "customer_id",
        F.col("as_of_date").alias("_segmented_date"),
        F.col("segment_id").cast("string").alias("_segment"),
    )
    spent = F.coalesce(F.col("pre_sales_amount"), F.lit(0.0))
    cuts = rows.where(spent > 0).groupBy("experiment").agg(F.percentile_approx(spent, [1 / 3, 2 / 3]).alias("_cuts"))
    band = (
        F.when(spent <= 0, F.lit(_BANDS[0]))
        .when(spent <= F.get("_cuts", F.lit(0)), F.lit(_BANDS[1]))
        .when(spent <= F.get("_cuts", F.lit(1)), F.lit(_BANDS[2]))
        .otherwise(F.lit(_BANDS[3]))
    )
    dated = known.agg(F.max("_segmented_date").alias("_date")).scalar()
    told = F.when(dated <= F.col("first_date"), F.coalesce("_segment", F.lit("unsegmented"))).otherwise(band)
    return (
        rows.join(F.broadcast(cuts), "experiment", "left")
        .join(known, "customer_id", "left")
        .withColumn("segment", told)
    )


def measured_arrays() -> tuple[Expression, Expression]:
    """Covariates and outcomes of the ledger as arrays, in their order."""
    covariates = F.array(*(_known(f"pre_{name}") for name in LEDGER_COVARIATES))
    return covariates.alias("covariates"), F.array(*(_known(name) for name in LEDGER_OUTCOMES)).alias("outcomes")


def _known(name: str) -> Expression:
    """As a number; nothing bought is 0."""
    return F.coalesce(F.col(name).cast("double"), F.lit(0.0))
