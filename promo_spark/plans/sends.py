"""What is handed over: a code per message, and what the next learning starts from."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNMENT, SENDS
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.learning import FEEDBACK
from promo_spark.contracts.step import produces
from promo_spark.plans.responses import joined_promotions
from promo_spark.plans.roles import uniform

_CODE_DIGITS = 20


@produces(SENDS, assignment=ASSIGNMENT)
def list_sends(*, assignment: DataFrame, as_of_date: date, settings: AssignSettings, seed: int) -> DataFrame:
    """Give each promotion of the assignment its code and a variant of the message.

    A code is 80 bits of a hash of the pseudonym, the decision and the promotion: nobody guesses it who does not know
    pseudonyms, and a repeat makes the same.

    Args:
        assignment: plans.assignment of the date.
        as_of_date: The day of the decision.
        settings: Variants and their weights.
        seed: Of the draw of variants.

    Returns:
        plans.sends.
    """
    given = assignment.where(F.col("arm") != NO_ARM)
    text = F.concat_ws("|", "customer_id", "decision_id", "arm")
    draw = uniform(seed, "variant", as_of_date, F.col("arm"))
    total, reached = sum(settings.variants.values()), 0.0
    bounds = []
    for name, weight in settings.variants.items():
        reached += weight / total
        bounds.append((name, reached))
    variant = F.lit(bounds[-1][0])
    for name, bound in reversed(bounds[:-1]):
        variant = F.when(draw < bound, F.lit(name)).otherwise(variant)
    return given.select(
        F.upper(F.left(F.sha2(text, 256), F.lit(_CODE_DIGITS))).alias("code"),
        F.lit(as_of_date).alias("as_of_date"),
        "customer_id",
        "decision_id",
        F.col("arm").alias("promotion_id"),
        "slot",
        F.coalesce("channel", F.lit("unknown")).alias("channel"),
        variant.alias("variant"),
    )


@produces(FEEDBACK, assignment=ASSIGNMENT)
def hand_to_learning(*, assignment: DataFrame, as_of_date: date, time_zone: str) -> DataFrame:
    """Shape the assignment as the decisions that response models learn from.

    Args:
        assignment: plans.assignment of the date; what a customer got together is one arm of its own.
        as_of_date: The day of the decision.
        time_zone: The retailer's.

    Returns:
        learning.feedback.
    """
    midnight = F.to_utc_timestamp(F.lit(as_of_date).cast("timestamp"), time_zone)
    together = joined_promotions(F.collect_set("arm")).alias("arm")
    whole = assignment.groupBy("decision_id", "customer_id").agg(
        together, F.min("propensity").alias("propensity"), F.bool_or("is_holdout").alias("is_holdout")
    )
    return whole.withColumn("decided_at", midnight)
