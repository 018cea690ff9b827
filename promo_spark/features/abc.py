"""ABC analysis: few products make most of the sales."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.features.measures import share, sum_amount

_A_RATE, _B_RATE = 0.80, 0.95
_NO_SALES = -64


def class_products(*, lines: DataFrame) -> DataFrame:
    """Class products by the share of sales that better sellers make before them.

    A product is A while those that sell more make less than 80 % of all sales, B while they make less than
    95 %, C after that or without sales. Products are ranked within powers of two of their sales, and
    the few bands are added up afterwards, so that no partition has to hold them all.

    Args:
        lines: features.lines.

    Returns:
        One row per product: ``product_id``, ``sales_share_rate``, ``abc_class``.
    """
    sales = lines.groupBy("product_id").agg(sum_amount(F.col("sales_amount")).alias("_sales"))
    sold = sales.withColumn("_sold", F.greatest(F.col("_sales"), F.lit(0)))
    banded = sold.withColumn("_band", F.when(F.col("_sold") > 0, F.floor(F.log2("_sold"))).otherwise(F.lit(_NO_SALES)))
    bands = banded.groupBy("_band").agg(F.sum("_sold").alias("_band_sold"), F.sum("_sales").alias("_band_sales"))
    others = bands.select(
        F.col("_band").alias("_other_band"),
        F.col("_band_sold").alias("_other_sold"),
        F.col("_band_sales").alias("_other_sales"),
    )
    totals = (
        bands.crossJoin(F.broadcast(others))
        .groupBy("_band")
        .agg(
            F.sum(F.when(F.col("_other_band") > F.col("_band"), F.col("_other_sold")).otherwise(0)).alias("_better"),
            F.sum("_other_sold").alias("_total_sold"),
            F.sum("_other_sales").alias("_total_sales"),
        )
    )
    better_in_band = (
        Window.partitionBy("_band")
        .orderBy(F.col("_sold").desc(), "product_id")
        .rowsBetween(Window.unboundedPreceding, -1)
    )
    before = F.col("_better") + F.coalesce(F.sum("_sold").over(better_in_band), F.lit(0))
    rate_before = share(before, F.col("_total_sold"))
    sells = F.col("_sold") > 0
    return banded.join(F.broadcast(totals), "_band").select(
        "product_id",
        share(F.col("_sales"), F.col("_total_sales")).alias("sales_share_rate"),
        F.when(sells & (rate_before < _A_RATE), "A")
        .when(sells & (rate_before < _B_RATE), "B")
        .otherwise("C")
        .alias("abc_class"),
    )
