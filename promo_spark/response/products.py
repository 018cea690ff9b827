"""What is planned: the best-selling categories, and how much each of their products weighs."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from promo_spark.contracts.response import PLANNED_PRODUCTS
from promo_spark.contracts.settings import FeatureSettings, ResponseSettings
from promo_spark.contracts.silver import ORDER_LINES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.response.lines import sound_lines

UNKNOWN = "(unknown)"


@produces(PLANNED_PRODUCTS, order_lines=ORDER_LINES, products=PRODUCTS)
def weigh_products(
    *,
    order_lines: DataFrame,
    products: DataFrame,
    as_of_date: date,
    settings: ResponseSettings,
    features: FeatureSettings,
) -> DataFrame:
    """Choose the best-selling categories and weigh their products by what was bought before the date.

    Args:
        order_lines: silver.order_lines; returns and outliers are left out.
        products: silver.products; products without a category are left out.
        as_of_date: Lines from this date on are ignored.
        settings: How many categories, and which departments and categories are excluded.
        features: Look-back: the days before the date that count.

    Returns:
        response.products. Of equal sellers the category that is first by name is planned.
    """
    first = F.lit(as_of_date - timedelta(days=features.lookback_days))
    lines = sound_lines(order_lines).where((F.col("order_date") < F.lit(as_of_date)) & (F.col("order_date") >= first))
    sold = lines.groupBy("product_id").agg(F.sum("gross_amount").alias("gross"))
    plannable = products.where(_is_plannable(settings)).select("product_id", "category")
    sold = sold.join(plannable, "product_id", "inner").where(F.col("gross") > 0)
    ranked = sold.withColumn("total", F.sum("gross").over(Window.partitionBy("category")))
    best = Window.orderBy(F.desc("total"), F.asc("category"))
    chosen = ranked.withColumn("place", F.dense_rank().over(best)).where(F.col("place") <= settings.categories)
    gross = F.col("gross").cast(T.DoubleType())
    return chosen.select(
        "product_id",
        F.lit(as_of_date).alias("as_of_date"),
        "category",
        gross.alias("gross_amount"),
        (gross / F.col("total").cast(T.DoubleType())).alias("weight_rate"),
    )


def _is_plannable(settings: ResponseSettings) -> Column:
    known = F.col("category").isNotNull() & (F.col("category") != UNKNOWN)
    wanted = ~F.col("category").isin(list(settings.excluded_categories))
    return known & wanted & ~F.coalesce("department", F.lit(UNKNOWN)).isin(list(settings.excluded_departments))
