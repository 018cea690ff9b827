"""Which promotions each customer was given, and what they redeemed."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.features.measures import has_rows, share

_NO_ARM = "none"


def targeted_customers(*, assignments: DataFrame, as_of_date: date, time_zone: str) -> DataFrame:
    """Find who was given which promotion before a date.

    Args:
        assignments: silver.assignments; the arm ``none`` and customers held out were given nothing.
        as_of_date: Decisions from the retailer's own midnight on are left out.
        time_zone: The retailer's time zone; instants of decisions are UTC.

    Returns:
        One row per promotion and customer.
    """
    midnight = F.to_utc_timestamp(F.lit(as_of_date).cast("timestamp"), time_zone)
    given = (F.col("arm") != _NO_ARM) & ~F.col("is_holdout") & (F.col("decided_at") < midnight)
    return assignments.where(given).select(F.col("arm").alias("promotion_id"), "customer_id").distinct()


def redeemed_coupons(*, redemptions: DataFrame, as_of_date: date) -> DataFrame:
    """Count the coupons redeemed before a date.

    Returns:
        One row per promotion and customer who redeemed, with ``redemption_count``.
    """
    return (
        redemptions.where(F.col("redeemed_date") < F.lit(as_of_date))
        .groupBy("promotion_id", "customer_id")
        .agg(F.count("*").alias("redemption_count"))
    )


def summarise_targeting(
    *, assignments: DataFrame, redemptions: DataFrame, as_of_date: date, time_zone: str
) -> DataFrame:
    """Count each customer's promotions, redemptions and the share of promotions redeemed.

    Args:
        assignments: silver.assignments.
        redemptions: silver.redemptions, one row per coupon redeemed.
        as_of_date: Only decisions and redemptions before it count.
        time_zone: The retailer's time zone.

    Returns:
        One row per customer targeted or redeeming; rates are NULL for who was never targeted.
    """
    targeted = targeted_customers(assignments=assignments, as_of_date=as_of_date, time_zone=time_zone)
    redeemed = redeemed_coupons(redemptions=redemptions, as_of_date=as_of_date)
    both = targeted.withColumn("_is_targeted", F.lit(1)).join(redeemed, ["promotion_id", "customer_id"], "full")
    return both.groupBy("customer_id").agg(
        F.count("_is_targeted").alias("_targeted_count"),
        F.coalesce(F.sum("redemption_count"), F.lit(0)).alias("_redemption_count"),
        share(
            F.count(F.when(F.col("_is_targeted").isNotNull(), F.col("redemption_count"))), F.count("_is_targeted")
        ).alias("redemption_rate"),
    )


def with_known_targeting(*, customers: DataFrame, assignments: DataFrame, redemptions: DataFrame) -> DataFrame:
    """Tell customers who got no promotion from customers of whom nothing is known.

    Args:
        customers: Rows with ``_targeted_count`` and ``_redemption_count``, NULL where nothing was found.
        assignments: silver.assignments; when empty, counts stay NULL.
        redemptions: silver.redemptions; when empty, counts and rates stay NULL.

    Returns:
        The same rows with ``targeted_promotion_count``, ``redemption_count`` and ``redemption_rate``.
    """
    known = customers.crossJoin(has_rows(assignments, "_has_assignments")).crossJoin(
        has_rows(redemptions, "_has_redemptions")
    )
    return known.withColumns(
        {
            "targeted_promotion_count": F.when(
                F.col("_has_assignments"), F.coalesce("_targeted_count", F.lit(0).cast("long"))
            ),
            "redemption_count": F.when(
                F.col("_has_redemptions"), F.coalesce("_redemption_count", F.lit(0).cast("long"))
            ),
            "redemption_rate": F.when(F.col("_has_redemptions"), F.col("redemption_rate")),
        }
    )
