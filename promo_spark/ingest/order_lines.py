"""Order lines: the retailer's own calendar, returns and outliers."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import bronze_of
from promo_spark.ingest.outliers import flag_outliers

_SIZED = ("product_id", "order_date", "quantity", "sales_amount")


@produces(ORDER_LINES, keep=("faults",), order_lines=bronze_of(ORDER_LINES), history=ORDER_LINES, products=PRODUCTS)
def conform_order_lines(
    *, order_lines: DataFrame, history: DataFrame, products: DataFrame, time_zone: str = "UTC"
) -> DataFrame:
    """Bring received order lines onto the retailer's calendar and flag what is unusual.

    A line that the source does not number takes the name of its file and its position in it: the same
    when the file is read again, another in any other file. A discount the source does not give stays
    NULL: unknown is not nil. Returns are lines of negative quantity or sales.

    Args:
        order_lines: bronze.order_lines of the new loads, one row per record.
        history: silver.order_lines of earlier loads; with the new ones they say what is usual in a category.
        products: silver.products, one row per product.
        time_zone: The retailer's own.

    Returns:
        silver.order_lines, one row per record, and its ``faults``.
    """
    local = F.from_utc_timestamp("ordered_at", time_zone)
    dated = order_lines.withColumns(
        {
            "line_id": F.coalesce("line_id", stand_in_line_id()),
            "order_date": local.cast("date"),
            "order_hour": F.hour(local),
            "week_start_date": F.trunc(local, "week"),
            "is_return": F.coalesce((F.col("quantity") < 0) | (F.col("sales_amount") < 0), F.lit(False)),
        }
    )
    kept = history.join(dated, list(ORDER_LINES.key), "left_anti").select(*_SIZED)
    known = kept.unionByName(dated.where(F.size("faults") == 0).select(*_SIZED))
    return flag_outliers(dated, known, products)


def stand_in_line_id() -> Column:
    """What numbers a line that the source does not: the name of its file, and its position in it."""
    return F.concat_ws("#", "source_file", F.col("source_ordinal").cast("string"))
