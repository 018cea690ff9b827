"""Categories that a customer buys regularly and has not bought for too long."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_REGULAR_ORDERS = 4
_GIVEN_UP = 2.0  # times the threshold: so late, a category is given up rather than forgotten
_CELL = ["customer_id", "subject"]


def late_categories(
    *,
    affinity: DataFrame,
    on_time: DataFrame,
    own_list: DataFrame,
    catalogue: DataFrame,
    order_lines: DataFrame,
    as_of_date: date,
    overdue_gaps: float,
) -> DataFrame:
    """Find categories bought in four baskets or more that are late by their own gaps, but not yet given up.

    The gap is the mean from the customer's first purchase of anything to the last of the category: never too short.

    Args:
        affinity: features.affinity.
        on_time: customer_id, tenure_days of customers who are not late as a whole.
        own_list: customer_id, rank, product_id.
        catalogue: product_id and its category as subject, of what may be spoken of.
        order_lines: silver.order_lines.
        as_of_date: Lines on or after this date are ignored.
        overdue_gaps: Late after so many gaps.

    Returns:
        customer_id, trigger, subject (the category), strength, product_id, reason.
    """
    gap = F.greatest((F.col("tenure_days") - F.col("recency_days")) / (F.col("order_count") - 1), F.lit(1.0))
    strength = F.col("recency_days") / (overdue_gaps * gap)
    told = "Last bought %d days ago, before in %d baskets about every %.0f days."
    regular = affinity.where(F.col("order_count") >= _REGULAR_ORDERS).join(on_time, "customer_id")
    due = regular.where((strength >= 1) & (strength < _GIVEN_UP)).select(
        "customer_id",
        F.lit("replenish").alias("trigger"),
        F.col("category").alias("subject"),
        strength.alias("strength"),
        F.format_string(told, "recency_days", "order_count", gap).alias("reason"),
    )
    return due.join(_products_of(due, own_list, catalogue, order_lines, as_of_date), _CELL)


def _products_of(
    due: DataFrame, own_list: DataFrame, catalogue: DataFrame, order_lines: DataFrame, as_of_date: date
) -> DataFrame:
    """One product for each customer and category: the best of the list, else what was bought in most baskets."""
    wanted = due.select(*_CELL)
    listed = own_list.join(catalogue, "product_id").join(wanted, _CELL, "left_semi")
    first = listed.groupBy(*_CELL).agg(F.min_by("product_id", "rank").alias("listed_id"))
    is_known = (F.col("order_date") < F.lit(as_of_date)) & F.col("customer_id").isNotNull() & ~F.col("is_return")
    bought = order_lines.where(is_known).select("customer_id", "product_id", "basket_id", "order_date")
    own = bought.join(catalogue, "product_id").join(wanted, _CELL, "left_semi")
    habits = own.groupBy(*_CELL, "product_id").agg(
        F.count_distinct("basket_id").alias("baskets"), F.max("order_date").alias("last_date")
    )
    usual = habits.groupBy(*_CELL).agg(
        F.max_by("product_id", F.struct("baskets", "last_date", "product_id")).alias("usual_id")
    )
    return usual.join(first, _CELL, "left").select(*_CELL, F.coalesce("listed_id", "usual_id").alias("product_id"))
