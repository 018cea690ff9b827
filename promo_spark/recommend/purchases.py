"""What each customer bought before a date, and the products that may be recommended."""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from promo_spark.contracts.rows import local_frame
from promo_spark.contracts.settings import RecommendSettings

_WEIGHT_SCALE = 1e12
"""Decay weights are summed as whole numbers of this fraction, so that a sum is the same in any order."""


def keep_eligible_lines(
    *, order_lines: DataFrame, products: DataFrame, as_of_date: date, settings: RecommendSettings
) -> DataFrame:
    """Keep the order lines that say what a known customer chose to buy.

    Returns, anonymous lines, lines without a positive quantity and the excluded departments and categories
    are left out; a product that silver.products does not describe is kept.

    Args:
        order_lines: silver.order_lines.
        products: silver.products.
        as_of_date: Lines on or after this date are ignored.
        settings: Names the departments and categories that are excluded.

    Returns:
        customer_id, product_id, basket_id, order_date, is_discounted (below the usual price); one row per line.
    """
    is_discounted = F.coalesce(F.col("retail_discount_amount") > 0, F.lit(False))
    return (
        order_lines.where(F.col("order_date") < F.lit(as_of_date))
        .where(F.col("customer_id").isNotNull() & (F.col("quantity") > 0) & ~F.col("is_return"))
        .select("customer_id", "product_id", "basket_id", "order_date", is_discounted.alias("is_discounted"))
        .join(products.where(is_excluded(settings)).select("product_id"), "product_id", "left_anti")
    )


def is_excluded(settings: RecommendSettings) -> Column:
    """Whether a row of silver.products is of an excluded department or category; never NULL."""
    department = F.col("department").isin(*settings.excluded_departments)
    category = F.col("category").isin(*settings.excluded_categories)
    return F.coalesce(department, F.lit(False)) | F.coalesce(category, F.lit(False))


def summarise_purchases(
    *, order_lines: DataFrame, products: DataFrame, as_of_date: date, settings: RecommendSettings
) -> DataFrame:
    """Summarise how often and how lately each customer bought each product.

    A basket counts once per product and loses half its weight every ``half_life_days``.

    Args:
        order_lines: silver.order_lines.
        products: silver.products.
        as_of_date: Lines on or after this date are ignored.
        settings: Exclusions and half-life.

    Returns:
        customer_id, product_id, decayed_basket_count, first_order_date, last_order_date; one row per customer and
        product.
    """
    lines = keep_eligible_lines(order_lines=order_lines, products=products, as_of_date=as_of_date, settings=settings)
    age_days = F.date_diff(F.lit(as_of_date), F.col("order_date"))
    weight = F.pow(F.lit(0.5), age_days / F.lit(settings.half_life_days))
    # Laid out by customer once: both aggregations, and the lists made from them, need no further shuffle.
    return (
        lines.repartition("customer_id")
        .groupBy("customer_id", "product_id", "basket_id")
        .agg(F.max("order_date").alias("order_date"))
        .groupBy("customer_id", "product_id")
        .agg(
            (F.sum(F.round(weight * _WEIGHT_SCALE).cast("long")) / _WEIGHT_SCALE).alias("decayed_basket_count"),
            F.min("order_date").alias("first_order_date"),
            F.max("order_date").alias("last_order_date"),
        )
    )


def list_catalogue(*, purchases: DataFrame, as_of_date: date, settings: RecommendSettings) -> DataFrame:
    """List the products that enough customers bought, with their popularity.

    Args:
        purchases: Rows of ``summarise_purchases``.
        as_of_date: End of the popularity window, not included.
        settings: ``min_customers`` and ``popularity_days``.

    Returns:
        product_id, customer_count (distinct customers so far) and recent_customer_count (distinct customers
        in the last ``popularity_days``); one row per product.
    """
    window_start = as_of_date - timedelta(days=settings.popularity_days)
    return (
        purchases.groupBy("product_id")
        .agg(
            F.count("*").alias("customer_count"),
            F.count_if(F.col("last_order_date") >= F.lit(window_start)).alias("recent_customer_count"),
        )
        .where(F.col("customer_count") >= settings.min_customers)
    )


def number_products(*, catalogue: DataFrame) -> DataFrame:
    """Number the catalogue's products from 0 in the order of their ids.

    Args:
        catalogue: Rows of ``list_catalogue``; bounded, so that one task may hold it.

    Returns:
        product_id, product_index (int); one row per product.
    """
    in_order = F.sort_array(F.collect_set("product_id"))
    return catalogue.agg(in_order.alias("in_order")).select(
        F.posexplode("in_order").alias("product_index", "product_id")
    )


def index_products(spark: SparkSession, product_ids: Sequence[str]) -> DataFrame:
    """Give a catalogue's products their places in it, to be joined: product_id, product_index (int)."""
    rows = [(product_id, index) for index, product_id in enumerate(product_ids)]
    return local_frame(spark, rows, "product_id string, product_index int")
