"""Order lines on the retailer's own calendar, each with a number."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def place_lines(order_lines: DataFrame, time_zone: str) -> DataFrame:
    """Number received lines and put them on the calendar; see ``conform_order_lines``.

    Args:
        order_lines: bronze.order_lines, one row per record.
        time_zone: The retailer's own.

    Returns:
        The same rows, ``line_id`` filled, with order_date, order_hour, week_start_date and is_return.
    """
    local = F.from_utc_timestamp("ordered_at", time_zone)
    return order_lines.withColumns(
        {
            "line_id": F.coalesce("line_id", stand_in_line_id()),
            "order_date": local.cast("date"),
            "order_hour": F.hour(local),
            "week_start_date": F.trunc(local, "week"),
            "is_return": F.coalesce((F.col("quantity") < 0) | (F.col("sales_amount") < 0), F.lit(False)),
        }
    )


def stand_in_line_id() -> Column:
    """What numbers a line that the source does not: the name of its file, and its position in it."""
    return F.concat_ws("#", "source_file", F.col("source_ordinal").cast("string"))
