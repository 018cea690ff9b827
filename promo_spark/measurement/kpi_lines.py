"""What lines of baskets come to for the retailer, in amounts whose sums do not depend on the order of rows."""

from __future__ import annotations

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

AMOUNTS = ("sales", "margin", "discount")
UNITS = 10_000
"""Amounts are whole numbers of this part of the currency: sums are then exact."""


def valued_lines(*, order_lines: DataFrame, product_features: DataFrame, default_rate: float) -> DataFrame:
    """Put sales, the retailer's own discount and the margin beside each line that has a customer.

    The margin is the product's rate of the regular price, less the discounts that the retailer paid.

    Args:
        order_lines: silver.order_lines.
        product_features: features.products, for margin rates and categories.
        default_rate: Margin rate of products without one.

    Returns:
        The lines with sales, margin and discount in units (long), category, ``day``, and whether discounts are told.
    """
    own = F.coalesce("retail_discount_amount", F.lit(0)) + F.coalesce("coupon_match_amount", F.lit(0))
    lines = order_lines.where(F.col("customer_id").isNotNull()).select(
        "customer_id",
        "basket_id",
        "product_id",
        F.col("order_date").alias("day"),
        "is_return",
        "is_outlier",
        F.col("sales_amount").cast("double").alias("_sales"),
        own.cast("double").alias("_discount"),
        (F.col("retail_discount_amount").isNotNull() | F.col("coupon_match_amount").isNotNull()).alias("is_told"),
    )
    rates = product_features.select("product_id", "category", "margin_rate")
    described = lines.join(F.broadcast(rates), "product_id", "left")
    rate = F.coalesce("margin_rate", F.lit(default_rate))
    margin = rate * (F.col("_sales") + F.col("_discount")) - F.col("_discount")
    amounts = {"sales": F.col("_sales"), "margin": margin, "discount": F.col("_discount")}
    return described.withColumns({name: in_units(amount) for name, amount in amounts.items()}).drop(
        "_sales", "_discount", "margin_rate"
    )


def in_units(amount: Expression) -> Expression:
    """An amount as a whole number of units."""
    return F.rint(amount * UNITS).cast("bigint")


def summed(amount: Expression) -> Expression:
    """A sum of amounts in units, as currency; 0 over no rows."""
    return F.coalesce(F.sum(amount), F.lit(0)).cast("double") / UNITS
