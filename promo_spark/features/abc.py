"""ABC analysis: few products make most of the sales."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.features.measures import share

_A_RATE, _B_RATE = 0.80, 0.95


def with_abc_class(*, products: DataFrame) -> DataFrame:
    """Class products by the share of sales that better sellers make before them.

    A product is A while those that sell more make less than 80 % of all sales, B while they make less than
    95 %, C after that or without sales. Products are ranked within powers of two of their sales, and
    the few bands are added up afterwards, so that no partition has to hold them all.

    Args:
        products: One row per ``product_id`` with ``sales_amount``.

    Returns:
        The same rows with ``sales_share_rate`` and ``abc_class``.
    """
    sold = products.withColumn("_sold", F.greatest(F.col("sales_amount"), F.lit(0)))
    banded = sold.withColumn("_band", F.when(F.col("_sold") > 0, F.floor(F.log2("_sold"))).otherwise(F.lit(-64)))
    bands = banded.groupBy("_band").agg(F.sum("_sold").alias("_band_sold"))
    better = bands.select(F.col("_band").alias("_better_band"), F.col("_band_sold").alias("_better_sold"))
    offsets = (
        bands.join(F.broadcast(better), F.col("_better_band") > F.col("_band"), "left")
        .groupBy("_band")
        .agg(F.coalesce(F.sum("_better_sold"), F.lit(0)).alias("_bands_before"))
    )
    totals = banded.agg(F.sum("_sold").alias("_total_sold"), F.sum("sales_amount").alias("_total_sales"))
    ranked = (
        Window.partitionBy("_band")
        .orderBy(F.col("_sold").desc(), "product_id")
        .rowsBetween(Window.unboundedPreceding, -1)
    )
    before = F.col("_bands_before") + F.coalesce(F.sum("_sold").over(ranked), F.lit(0))
    rate_before = share(before, F.col("_total_sold"))
    return (
        banded.join(F.broadcast(offsets), "_band")
        .crossJoin(F.broadcast(totals))
        .withColumn("_before", rate_before)
        .withColumn("sales_share_rate", share(F.col("sales_amount"), F.col("_total_sales")))
        .withColumn(
            "abc_class",
            F.when((F.col("_before") < _A_RATE) & (F.col("_sold") > 0), "A")
            .when((F.col("_before") < _B_RATE) & (F.col("_sold") > 0), "B")
            .otherwise("C"),
        )
    )
