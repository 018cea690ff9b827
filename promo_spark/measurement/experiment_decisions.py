"""Which decisions were drawn at random, who was drawn into what, and which days count."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.experiment_settings import ExperimentSettings
from promo_spark.measurement.experiment_variants import list_variants

PLAN_ARM = "plan"
"""The arm of all who were not held out of a decision of this system's own, whatever it gave them."""
_COLUMNS = ("experiment", "customer_id", "arm", "promotion_id", "propensity", "decided_at", "_is_own")
_MOST_HELD = 0.5


def list_drawn(
    *,
    assignments: DataFrame,
    feedback: DataFrame,
    experiments: DataFrame,
    experiment_units: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: ExperimentSettings,
) -> DataFrame:
    """List the customers of randomised decisions whose outcomes are known.

    A decision is randomised where a propensity below 1 was logged for every customer and there is more than one arm, or
    should be. Of this system's own decisions the holdout was drawn, and what the others got was not: they are one arm,
    the plan. Who would have got the same in any case, as those whom a manager forces, takes no part.

    Args:
        assignments: silver.assignments.
        feedback: learning.feedback; decisions that the ledger holds too are left to the ledger.
        experiments: measurement.experiments with their variants; their dates win over the day of the decision.
        experiment_units: measurement.experiment_units, for the variants that customers were told in.
        as_of_date: Nothing from this date on is used.
        time_zone: The retailer's, in which days begin.
        settings: Days whose outcomes count where they were not designed, and how far back decisions are analysed.

    Returns:
        experiment, customer_id, arm, promotion_id (what was given, or none), propensity, decided_date, first_date,
        end_date (the first day that no longer counts).
    """
    dates = experiments.groupBy("experiment").agg(F.min("start_date").alias("_start"), F.max("end_date").alias("_end"))
    today = F.lit(as_of_date)
    ledger = assignments.select(
        F.col("decision_id").alias("experiment"),
        "customer_id",
        F.when(F.col("is_holdout"), F.lit(NO_ARM)).otherwise(F.col("arm")).alias("arm"),
        F.col("arm").alias("promotion_id"),
        "propensity",
        "decided_at",
        F.lit(False).alias("_is_own"),
    )
    variants = list_variants(experiment_units=experiment_units, assignments=assignments, experiments=experiments)
    drawn = ledger.unionByName(_own_decisions(feedback, ledger)).unionByName(
        variants.withColumn("_is_own", F.lit(False))
    )
    dated = drawn.join(F.broadcast(dates), "experiment", "left")
    windowed = dated.withColumn("decided_date", F.to_date(F.from_utc_timestamp("decided_at", time_zone))).withColumns(
        {
            "first_date": F.coalesce("_start", "decided_date"),
            # LEAST passes over NULL: without a design there is no end to be earlier than today.
            "end_date": F.when(F.col("_end").isNull(), F.date_add("decided_date", settings.outcome_days)).otherwise(
                F.least(F.date_add("_end", 1), today)
            ),
        }
    )
    kinds = windowed.groupBy("experiment").agg(
        (
            (F.bool_and(F.coalesce(F.col("propensity") < 1, F.lit(False))) | F.bool_or("_is_own"))
            & ((F.count_distinct("arm") > 1) | F.bool_or(F.col("_start").isNotNull()))
        ).alias("_is_randomised")
    )
    named = kinds.where("_is_randomised").select("experiment")
    oldest = F.lit(as_of_date - timedelta(days=settings.lookback_days))
    is_known = (F.col("first_date") >= oldest) & (F.col("first_date") < today) & (F.col("end_date") <= today)
    known = windowed.where(is_known).join(F.broadcast(named), "experiment", "left_semi")
    return known.drop("_start", "_end", "decided_at", "_is_own")


def _own_decisions(feedback: DataFrame, ledger: DataFrame) -> DataFrame:
    """Holdout against plan. For those who would be given something, the arm none has the rate of the holdout alone."""
    least = F.min(F.when(F.col("arm") == NO_ARM, F.col("propensity")))
    # Where nobody would be, the rate of the holdout cannot be told from the plan's.
    rates = feedback.groupBy("decision_id").agg(F.when(least < _MOST_HELD, least).alias("_held"))
    chance = F.when(F.col("is_holdout"), F.col("_held")).otherwise(1.0 - F.col("_held"))
    own = (
        feedback.where(F.col("propensity") < 1)
        .join(F.broadcast(rates), "decision_id")
        .withColumnsRenamed({"decision_id": "experiment", "arm": "promotion_id"})
        .withColumns(
            {
                "arm": F.when(F.col("is_holdout"), F.lit(NO_ARM)).otherwise(F.lit(PLAN_ARM)),
                "propensity": chance,
                "_is_own": F.lit(True),
            }
        )
    )
    known = ledger.select("experiment").distinct()
    return own.join(F.broadcast(known), "experiment", "left_anti").select(*_COLUMNS)
