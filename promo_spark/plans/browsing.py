"""What customers looked at and did not buy."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_LOOKS = ("view", "search", "click", "cart")


def unbought_looks(
    *, events: DataFrame, order_lines: DataFrame, as_of_date: date, days: int, time_zone: str
) -> DataFrame:
    """Find products that customers looked at in the last days before a date and have not bought since.

    A look before the customer's last purchase of the product does not count.

    Args:
        events: silver.events; reviews are no looks. May be empty.
        order_lines: silver.order_lines; returns are no purchases.
        as_of_date: Events from the retailer's own midnight on, and lines from the date on, are ignored.
        days: Days before the date in which looks count.
        time_zone: The retailer's time zone; instants are UTC.

    Returns:
        customer_id, product_id, look_count, last_event_type; one row per customer and product.
    """
    midnight = F.to_utc_timestamp(F.lit(as_of_date).cast("timestamp"), time_zone)
    first = F.to_utc_timestamp(F.date_sub(F.lit(as_of_date), days).cast("timestamp"), time_zone)
    happened = F.col("happened_at")
    looks = events.where(F.col("event_type").isin(*_LOOKS) & (happened >= first) & (happened < midnight))
    bought = (
        order_lines.where((F.col("order_date") < F.lit(as_of_date)) & ~F.col("is_return"))
        .join(F.broadcast(looks.select("product_id").distinct()), "product_id", "left_semi")
        .groupBy("customer_id", "product_id")
        .agg(F.max("ordered_at").alias("bought_at"))
    )
    unbought = looks.join(bought, ["customer_id", "product_id"], "left").where(
        F.col("bought_at").isNull() | (F.col("bought_at") < happened)
    )
    return unbought.groupBy("customer_id", "product_id").agg(
        F.count("*").alias("look_count"),
        F.max_by("event_type", F.struct("happened_at", "event_type")).alias("last_event_type"),
    )
