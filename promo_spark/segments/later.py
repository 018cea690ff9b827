"""What customers did after a date that has passed: the evidence that segments of that date are judged by."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

LATER = ("later_visit_root", "later_spend_root")


def join_later(*, customers: DataFrame, order_lines: DataFrame, first: date, last: date) -> DataFrame:
    """Put beside each customer how often they came and what they spent in the days after.

    Both come as square roots: their spread then hardly depends on their size, and who stayed away keeps a zero.

    Args:
        customers: One row per ``customer_id``.
        order_lines: silver.order_lines; returns are left out.
        first: First day that counts.
        last: The day after the last.

    Returns:
        The same rows with a column for each of ``LATER``: the roots of shopping days and of spend.
    """
    bought = (F.col("order_date") >= F.lit(first)) & (F.col("order_date") < F.lit(last)) & ~F.col("is_return")
    later = (
        order_lines.where(bought)
        .groupBy("customer_id")
        .agg(F.count_distinct("order_date").alias("_visits"), F.sum("sales_amount").cast("double").alias("_spend"))
    )
    roots = [F.sqrt(F.greatest(F.coalesce(name, F.lit(0)), F.lit(0))) for name in ("_visits", "_spend")]
    joined = customers.join(later, "customer_id", "left")
    return joined.withColumns(dict(zip(LATER, roots, strict=True))).drop("_visits", "_spend")
