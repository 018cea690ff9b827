"""How many baskets, and how many shoppers, hold each pair of products."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_HASHES = 1 << 20
# Wholesale and restocking: a basket of n products holds n (n - 1) / 2 pairs, and says little of what belongs together.
_MOST_PRODUCTS = 200
_PAIR = ("first_product_id", "second_product_id")


def draw_items(*, order_lines: DataFrame, as_of_date: date, days: int, basket_count: int) -> DataFrame:
    """List what is in the baskets of the days before a date, or in a part of them drawn by a hash.

    Args:
        order_lines: silver.order_lines; returns are left out, and so are baskets of more than 200 products.
        as_of_date: Lines on or after this date are ignored.
        days: Days before it that count.
        basket_count: About so many baskets are drawn; all where there are fewer.

    Returns:
        basket_id, shopper, product_id, scale (baskets that each drawn one stands for); one row per product of a
        basket. A basket without a known customer is a shopper of its own.
    """
    first_date = as_of_date - timedelta(days=days)
    is_recent = (F.col("order_date") >= F.lit(first_date)) & (F.col("order_date") < F.lit(as_of_date))
    baskets = (
        order_lines.where(is_recent & ~F.col("is_return") & (F.col("quantity") > 0))
        .groupBy("basket_id")
        .agg(F.min(F.coalesce("customer_id", "basket_id")).alias("shopper"), F.collect_set("product_id").alias("held"))
        .where(F.size("held") <= _MOST_PRODUCTS)
    )
    total = baskets.agg(F.count("*").alias("total"))
    rate = F.least(F.lit(1.0), F.lit(float(basket_count)) / F.col("total"))
    is_drawn = F.pmod(F.xxhash64("basket_id"), F.lit(_HASHES)) < rate * _HASHES
    drawn = baskets.crossJoin(F.broadcast(total)).where(is_drawn)
    return drawn.select("basket_id", "shopper", (1 / rate).alias("scale"), F.explode("held").alias("product_id"))


def count_pairs(*, items: DataFrame, frequent: DataFrame) -> DataFrame:
    """Count the baskets and shoppers of every pair of frequent products.

    Args:
        items: Rows of ``draw_items``.
        frequent: product_id of the products that count; small enough for every worker.

    Returns:
        first_product_id, second_product_id (the larger id), shared (baskets with both), shoppers (different ones).
    """
    held = (
        items.join(F.broadcast(frequent.select("product_id")), "product_id")
        .groupBy("basket_id", "shopper")
        .agg(F.sort_array(F.collect_list("product_id")).alias("held"))
        .where(F.size("held") > 1)
    )
    firsts = held.select("shopper", "held", F.posexplode("held").alias("place", "first_product_id"))
    rest = F.slice("held", F.col("place") + 2, F.size("held"))
    pairs = firsts.select("shopper", "first_product_id", F.explode(rest).alias("second_product_id"))
    of_shoppers = pairs.groupBy(*_PAIR, "shopper").agg(F.count("*").alias("baskets"))
    return of_shoppers.groupBy(*_PAIR).agg(F.sum("baskets").alias("shared"), F.count("*").alias("shoppers"))
