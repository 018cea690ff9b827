"""Order lines: the retailer's own calendar, returns and outliers."""

from __future__ import annotations

from pyspark.sql import DataFrame

from promo_spark.contracts.ingest import USUAL_SIZES
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import bronze_of
from promo_spark.ingest.outliers import flag_outliers
from promo_spark.ingest.placed_lines import place_lines


@produces(ORDER_LINES, keep=("faults",), order_lines=bronze_of(ORDER_LINES), usual_sizes=USUAL_SIZES, products=PRODUCTS)
def conform_order_lines(
    *, order_lines: DataFrame, usual_sizes: DataFrame, products: DataFrame, time_zone: str = "UTC"
) -> DataFrame:
    """Bring received order lines onto the retailer's calendar and flag what is unusual.

    A line that the source does not number takes the name of its file and its position in it: the same
    when the file is read again, another in any other file. A discount the source does not give stays
    NULL: unknown is not nil. Returns are lines of negative quantity or sales.

    Args:
        order_lines: bronze.order_lines of the new loads, one row per record.
        usual_sizes: ingest.usual_sizes, learnt from these lines and those before them.
        products: silver.products, one row per product.
        time_zone: The retailer's own.

    Returns:
        silver.order_lines, one row per record, and its ``faults``.
    """
    return flag_outliers(place_lines(order_lines, time_zone), usual_sizes, products)
