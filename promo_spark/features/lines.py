"""Order lines before the date, with what their product, store and week add to them."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.contracts.features import DESCRIBED_LINES, PRIVATE_BRAND
from promo_spark.contracts.settings import FeatureSettings
from promo_spark.contracts.silver import ORDER_LINES, PRICES, PRODUCTS
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import MONEY

UNKNOWN = "(unknown)"
_SHELF = ["product_id", "store_id", "week_start_date"]


@produces(DESCRIBED_LINES, order_lines=ORDER_LINES, products=PRODUCTS, prices=PRICES)
def describe_lines(
    *,
    order_lines: DataFrame,
    products: DataFrame,
    prices: DataFrame,
    as_of_date: date,
    settings: FeatureSettings,
) -> DataFrame:
    """Put category, brand tier, display and mailer on every order line before a date.

    Prices are joined once, on the build side of the lines, so that the far larger table streams by.
    A store and week without any price row is not covered: there, display and mailer are unknown, not
    absent.

    Args:
        order_lines: silver.order_lines, one row per line of a basket.
        products: silver.products; a product that is not there has an unknown category.
        prices: silver.prices, one row per product, store and week; may be empty.
        as_of_date: Lines on or after this date are left out.
        settings: The look-back that ``is_recent`` marks.

    Returns:
        features.lines, one row per order line before the date.
    """
    lines = _valued_lines(order_lines, as_of_date, settings)
    placed_prices = prices.where(F.col("week_start_date") < F.lit(as_of_date)).select(
        *_SHELF,
        F.col("display_location").isNotNull().alias("_is_displayed"),
        F.col("mailer_location").isNotNull().alias("_is_mailed"),
    )
    covered_weeks = placed_prices.select("store_id", "week_start_date", F.lit(True).alias("_is_covered")).distinct()
    described_products = products.select(
        "product_id",
        F.col("department").alias("_department"),
        F.col("category").alias("_category"),
        F.col("brand").rlike(PRIVATE_BRAND).alias("is_private_brand"),
    )
    known = F.col("_is_covered").isNotNull()
    return (
        lines.hint("shuffle_hash")
        .join(placed_prices, _SHELF, "left")
        .join(F.broadcast(covered_weeks), ["store_id", "week_start_date"], "left")
        .join(described_products, "product_id", "left")
        .withColumn("department", F.coalesce("_department", F.lit(UNKNOWN)))
        .withColumn("category", F.coalesce("_category", F.lit(UNKNOWN)))
        .withColumn("is_displayed", F.when(known, F.coalesce("_is_displayed", F.lit(False))))
        .withColumn("is_mailed", F.when(known, F.coalesce("_is_mailed", F.lit(False))))
    )


def _valued_lines(order_lines: DataFrame, as_of_date: date, settings: FeatureSettings) -> DataFrame:
    nothing = F.lit(0).cast(MONEY)
    discount = F.col("retail_discount_amount")
    coupon = F.col("coupon_discount_amount")
    match = F.col("coupon_match_amount")
    regular = F.col("sales_amount") + F.coalesce(discount, nothing) + F.coalesce(match, nothing)
    any_coupon = F.coalesce(coupon, nothing) + F.coalesce(match, nothing)
    return order_lines.where(F.col("order_date") < F.lit(as_of_date)).select(
        "basket_id",
        "line_id",
        "customer_id",
        *_SHELF,
        "order_date",
        "order_hour",
        F.when(~F.col("is_outlier"), F.col("quantity")).alias("quantity"),
        "sales_amount",
        regular.cast(MONEY).alias("regular_amount"),
        discount.alias("discount_amount"),
        F.when(coupon.isNotNull() | match.isNotNull(), any_coupon).cast(MONEY).alias("coupon_amount"),
        (coupon > 0).alias("has_coupon"),
        "is_return",
        (F.col("order_date") >= F.lit(as_of_date - timedelta(days=settings.lookback_days))).alias("is_recent"),
    )
