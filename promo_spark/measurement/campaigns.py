"""Which campaigns there were to measure, and for whom they were decided."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.campaign_effects import CAMPAIGNS
from promo_spark.contracts.campaign_effects_settings import CampaignEffectSettings
from promo_spark.contracts.silver import ASSIGNMENTS, ORDER_LINES
from promo_spark.contracts.step import produces

_NO_ARM = "none"


@produces(CAMPAIGNS, assignments=ASSIGNMENTS, order_lines=ORDER_LINES)
def list_campaigns(
    *,
    assignments: DataFrame,
    order_lines: DataFrame,
    as_of_date: date,
    time_zone: str,
    settings: CampaignEffectSettings,
) -> DataFrame:
    """List the campaigns that began before the date and that nobody drew at random.

    A campaign is a promotion that was decided for customers; its first day is the earliest of its decisions. Where
    every decision has a logged propensity it is an experiment, and left to its analysis.

    Args:
        assignments: silver.assignments.
        order_lines: silver.order_lines.
        as_of_date: Campaigns from this date on are left out.
        time_zone: The retailer's, in which days of decisions begin.
        settings: Lengths of the times before and after.

    Returns:
        measurement.campaigns.
    """
    given = given_promotions(assignments=assignments, as_of_date=as_of_date, time_zone=time_zone)
    starts = given.groupBy("promotion_id").agg(F.min("decided_date").alias("start_date"))
    known = order_lines.where((F.col("order_date") < F.lit(as_of_date)) & F.col("customer_id").isNotNull())
    first = known.agg(F.min("order_date").alias("first_date"))
    is_first = F.col("decided_date") == F.col("start_date")
    return (
        given.join(F.broadcast(starts), "promotion_id")
        .groupBy("promotion_id", "start_date")
        .agg(
            F.bool_and(F.col("propensity").isNotNull()).alias("is_drawn"),
            F.count_if(is_first).alias("named_count"),
            F.count_if(~is_first).alias("late_count"),
        )
        .where("NOT is_drawn")
        .crossJoin(F.broadcast(first))
        .withColumns(
            {
                "as_of_date": F.lit(as_of_date),
                "before_date": F.date_sub("start_date", settings.before_days),
                "end_date": F.date_add("start_date", settings.after_days),
                "history_days": F.datediff("start_date", "first_date"),
            }
        )
        .withColumns(
            {
                "has_history": F.coalesce(F.col("history_days") >= settings.before_days, F.lit(False)),
                "is_over": F.col("end_date") <= F.lit(as_of_date),
            }
        )
    )


def given_promotions(*, assignments: DataFrame, as_of_date: date, time_zone: str) -> DataFrame:
    """Customers and the promotions decided for them before the date, holdouts left out.

    Returns:
        promotion_id, customer_id, decided_date (the first), propensity (NULL if any is).
    """
    day = F.to_date(F.from_utc_timestamp("decided_at", time_zone))
    given = assignments.where((F.col("arm") != _NO_ARM) & ~F.col("is_holdout"))
    dated = given.select(F.col("arm").alias("promotion_id"), "customer_id", "propensity", day.alias("decided_date"))
    return (
        dated.where(F.col("decided_date") < F.lit(as_of_date))
        .groupBy("promotion_id", "customer_id")
        .agg(
            F.min("decided_date").alias("decided_date"),
            F.when(F.count("*") == F.count("propensity"), F.min("propensity")).alias("propensity"),
        )
    )
