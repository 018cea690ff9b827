"""What counts as a contact of a customer: one rule for what may be planned and for what is audited."""

from __future__ import annotations

import re
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.decisions import NO_ARM
from promo_spark.contracts.learning import TOGETHER


def given_before(*, decisions: DataFrame, as_of_date: date, time_zone: str) -> DataFrame:
    """What decisions gave before a date; what was given together stands apart.

    Args:
        decisions: silver.assignments or learning.feedback.
        as_of_date: The day after the last that counts.
        time_zone: The retailer's, in which days begin.

    Returns:
        customer_id, promotion_id, day; once each.
    """
    day = F.from_utc_timestamp("decided_at", time_zone).cast("date")
    given = decisions.where((F.col("arm") != NO_ARM) & ~F.col("is_holdout")).withColumn("day", day)
    past = given.where(F.col("day") < F.lit(as_of_date))
    apart = F.explode(F.split("arm", re.escape(TOGETHER))).alias("promotion_id")
    return past.select("customer_id", apart, "day").distinct()


def past_contacts(
    *, assignments: DataFrame, exposures: DataFrame, handed_over: DataFrame, as_of_date: date, time_zone: str
) -> DataFrame:
    """Every contact before a date.

    What was assigned elsewhere stands in where no exposure was recorded by then. What was handed over from here counts
    unless an exposure since shows that it was counted.

    Args:
        assignments: silver.assignments.
        exposures: silver.exposures.
        handed_over: learning.feedback.
        as_of_date: The day after the last that counts.
        time_zone: The retailer's, in which days begin.

    Returns:
        customer_id, day; one row per contact.
    """
    day = F.from_utc_timestamp("exposed_at", time_zone).cast("date")
    seen = exposures.select("customer_id", "promotion_id", day.alias("day")).where(F.col("day") < F.lit(as_of_date))
    has_seen = seen.limit(1).select(F.lit(True).alias("_has_exposures"))
    decided = given_before(decisions=assignments, as_of_date=as_of_date, time_zone=time_zone)
    own = given_before(decisions=handed_over, as_of_date=as_of_date, time_zone=time_zone)
    stand_in = decided.join(F.broadcast(has_seen), how="left").where(F.col("_has_exposures").isNull())
    shown = seen.groupBy("customer_id", "promotion_id").agg(F.max("day").alias("_seen_day"))
    unseen = own.join(shown, ["customer_id", "promotion_id"], "left").where(
        F.col("_seen_day").isNull() | (F.col("_seen_day") < F.col("day"))
    )
    planned = stand_in.drop("_has_exposures").unionByName(unseen.drop("_seen_day")).distinct()
    return seen.unionByName(planned).select("customer_id", "day")
