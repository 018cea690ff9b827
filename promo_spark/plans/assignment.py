"""The assignment: what everybody gets, forced, drawn or decided, and how likely it was."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.assignment import ASSIGNED_PROMOTIONS, ASSIGNMENT
from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.step import produces
from promo_spark.plans.limits import NO_SEGMENT
from promo_spark.plans.responses import joined_promotions
from promo_spark.plans.roles import DECIDED, EXPLORATION, FORCED, HOLDOUT

_PAIR = ("customer_id", "promotion_id")


def decision_id(as_of_date: date) -> str:
    """Name of the decision of a date."""
    return f"assign-{as_of_date.isoformat()}"


def assemble_assignment(
    *,
    offers: DataFrame,
    roles: DataFrame,
    choices: DataFrame,
    responses: DataFrame,
    customer_features: DataFrame,
    as_of_date: date,
    settings: AssignSettings,
) -> DataFrame:
    """Put together what was forced, drawn and decided.

    With the rates h of the holdout and e of exploration, n promotions that may be drawn, and the probability s that
    the decision gives just what the customer got (``share_decisions``), the propensity of it is what the draws and the
    decision make of it together:

        a promotion:        e / n + (1 - h - e) s
        several together:           (1 - h - e) s
        none:                   h + (1 - h - e) s

    What a manager forces is certain.

    Args:
        offers: plans.offers, those that may be given.
        roles: plans.roles.
        choices: Pairs customer_id, promotion_id that the allocation chose among those decided for.
        responses: What ``share_decisions`` returned.
        customer_features: features.customers, for when customers shop.
        as_of_date: The day of the decision.
        settings: Rates of the draws.

    Returns:
        plans.assignment, lazily.
    """
    decided = choices.select(*_PAIR)
    drawn = roles.where(F.col("given").isNotNull()).select("customer_id", F.explode("given").alias("promotion_id"))
    given = decided.unionByName(drawn).join(offers, list(_PAIR), "inner")
    best_first = Window.partitionBy("customer_id").orderBy(F.desc_nulls_last("value_amount"), "promotion_id")
    slotted = given.withColumn("slot", F.row_number().over(best_first)).withColumn("arm", F.col("promotion_id"))
    owners = offers.groupBy("customer_id").agg(F.first("segment_id", ignorenulls=True).alias("segment_id"))
    nothing = owners.join(slotted, "customer_id", "left_anti").select(
        "customer_id",
        "segment_id",
        F.lit(1).alias("slot"),
        F.lit(NO_ARM).alias("arm"),
        *(F.lit(0.0).alias(name) for name in _AMOUNTS),
    )
    slots = customer_features.select("customer_id", F.col("favourite_time_slot").alias("time_slot"))
    whole = Window.partitionBy("customer_id")
    everybody = (
        slotted.unionByName(nothing, allowMissingColumns=True)
        .join(roles.select("customer_id", "role", "explorable"), "customer_id", "inner")
        .withColumn("given", joined_promotions(F.collect_set("arm").over(whole)))
        .join(responses, ["customer_id", "given"], "left")
        .join(slots, "customer_id", "left")
    )
    told = everybody.withColumns(
        {
            "as_of_date": F.lit(as_of_date),
            "decision_id": F.lit(decision_id(as_of_date)),
            "propensity": _propensity(settings),
            "is_holdout": F.col("role") == HOLDOUT,
            "is_exploration": F.col("role") == EXPLORATION,
            "reason": _reason(),
        }
    )
    return told.select(*(F.col(column.name).cast(column.dtype) for column in ASSIGNMENT.columns))


_AMOUNTS = ("value_amount", "value_low_amount", "value_high_amount", "cost_amount")


def _propensity(settings: AssignSettings) -> Expression:
    ways = F.size("explorable")
    held, explored = settings.holdout_rate, F.when(ways > 0, settings.exploration_rate).otherwise(0.0)
    is_drawn = (F.col("given") == F.col("arm")) & F.array_contains("explorable", F.col("arm"))
    by_chance = F.when(is_drawn, explored / ways).otherwise(F.lit(0.0))
    drawn = F.when(F.col("arm") == NO_ARM, F.lit(held)).otherwise(by_chance)
    whole = drawn + (1.0 - held - explored) * F.coalesce("share", F.lit(0.0))
    return F.when(F.col("role") == FORCED, F.lit(1.0)).otherwise(F.least(whole, F.lit(1.0)))


def _reason() -> Expression:
    is_none = F.col("arm") == NO_ARM
    return (
        F.when(F.col("role") != DECIDED, F.col("role"))
        .when(~is_none, F.lit("worth_it"))
        .when(F.col("is_limited"), F.lit("limit"))
        .otherwise(F.lit("not_worth_it"))
    )


@produces(ASSIGNED_PROMOTIONS, assignment=ASSIGNMENT)
def sum_up_segments(*, assignment: DataFrame, as_of_date: date) -> DataFrame:
    """Sum the assignment up by segment and promotion.

    Args:
        assignment: plans.assignment of the date.
        as_of_date: The day of the decision.

    Returns:
        plans.segment_promotions.
    """
    value, cost = F.sum("value_amount"), F.sum("cost_amount")
    return assignment.groupBy(
        F.coalesce("segment_id", F.lit(NO_SEGMENT)).alias("segment_id"), F.col("arm").alias("promotion_id")
    ).agg(
        F.lit(as_of_date).alias("as_of_date"),
        F.count("*").alias("customer_count"),
        F.count_if("is_holdout").alias("holdout_count"),
        F.count_if("is_exploration").alias("exploration_count"),
        F.coalesce(F.sum("redemption_prob"), F.lit(0.0)).alias("expected_redemption_count"),
        value.alias("value_amount"),
        F.sum("value_low_amount").alias("value_low_amount"),
        F.sum("value_high_amount").alias("value_high_amount"),
        cost.alias("cost_amount"),
        F.when(cost > 0, value / cost).alias("roi_rate"),
    )
