"""What promoted a category in a week: discount depth, display and mailer, at fixed product weights.

The same for every segment, because promotions are run store-wide. The weights are fixed, so that a product that
sells more when promoted does not make its category look more promoted.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

_WHOLE = 1_000_000_000  # weights are summed as whole billionths: the order of rows then changes nothing


def category_levers(*, lines: DataFrame, planned: DataFrame, prices: DataFrame) -> DataFrame:
    """Measure the levers of each planned category in each week.

    Args:
        lines: Sound order lines with discount_amount and gross_amount.
        planned: response.products.
        prices: silver.prices; may be empty.

    Returns:
        category, week_start_date, depth_rate, display_rate, mailer_rate; a missing row or NULL means 0.
    """
    weights = planned.select("product_id", "category", _whole(F.col("weight_rate")).alias("weight"))
    depths = _depths(lines=lines, weights=weights)
    return depths.join(_placements(prices=prices, weights=weights), ["category", "week_start_date"], "full").select(
        "category", "week_start_date", "depth_rate", "display_rate", "mailer_rate"
    )


def _whole(rate: Column) -> Column:
    return F.round(rate * F.lit(float(_WHOLE))).cast(T.LongType())


def _depths(*, lines: DataFrame, weights: DataFrame) -> DataFrame:
    """Weighted mean of discount over gross, over the products that sold that week.

    A product that did not sell shows no price. Counting it as undiscounted would make busy weeks, in which more
    products sell, look more promoted, and so invent an effect.
    """
    amounts = lines.groupBy("product_id", "week_start_date").agg(
        F.sum("discount_amount").alias("discount"), F.sum("gross_amount").alias("gross")
    )
    sold = amounts.where(F.col("gross") > 0).join(F.broadcast(weights), "product_id", "inner")
    depth = F.col("discount").cast(T.DoubleType()) / F.col("gross").cast(T.DoubleType())
    clipped = F.greatest(F.lit(0.0), F.least(F.lit(1.0), depth))
    discounted = F.round(clipped * F.col("weight")).cast(T.LongType())
    return sold.groupBy("category", "week_start_date").agg(
        F.try_divide(F.sum(discounted), F.sum("weight")).alias("depth_rate")
    )


def _placements(*, prices: DataFrame, weights: DataFrame) -> DataFrame:
    """Weighted share of (product, store) on display and in the mailer, of the stores with any row that week."""
    stores = prices.groupBy("week_start_date").agg(F.countDistinct("store_id").alias("store_count"))
    is_placed = F.col("display_location").isNotNull() | F.col("mailer_location").isNotNull()
    placed = prices.where(is_placed).join(F.broadcast(weights), "product_id", "inner")
    totals = placed.groupBy("category", "week_start_date").agg(
        F.sum(F.when(F.col("display_location").isNotNull(), F.col("weight")).otherwise(0)).alias("displayed"),
        F.sum(F.when(F.col("mailer_location").isNotNull(), F.col("weight")).otherwise(0)).alias("mailed"),
    )
    whole = F.col("store_count") * F.lit(_WHOLE)
    return totals.join(F.broadcast(stores), "week_start_date", "inner").select(
        "category",
        "week_start_date",
        F.least(F.lit(1.0), F.col("displayed") / whole).alias("display_rate"),
        F.least(F.lit(1.0), F.col("mailed") / whole).alias("mailer_rate"),
    )
