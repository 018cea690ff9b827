"""What customers bought, day by day: the measures that experiments are judged by."""

from __future__ import annotations

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

LEDGER_OUTCOMES = ("sales_amount", "margin_amount", "discount_amount", "order_count", "is_buyer", "is_redeemed")
"""Outcomes of decisions in the ledger, in the order of their arrays."""
LEDGER_COVARIATES = ("sales_amount", "discount_amount", "order_count", "is_buyer")
"""The same of the time before."""
LEDGER_RATIOS = {"basket_amount": ("sales_amount", "order_count")}
"""Metrics that are sums of one outcome over sums of another."""
_EXACT = T.DecimalType(28, 6)  # exact sums do not depend on the order of rows


def sum_purchase_days(*, order_lines: DataFrame, product_features: DataFrame, default_rate: float) -> DataFrame:
    """Sum each customer's purchases by day.

    Margin is the product's rate of the regular price, less the discounts that the retailer paid. Refunds and outliers
    are left out.

    Args:
        order_lines: silver.order_lines.
        product_features: features.products, for margin rates.
        default_rate: Of products without one.

    Returns:
        customer_id, order_date, sales_amount, margin_amount, discount_amount (exact decimals), order_count.
    """
    rates = product_features.select("product_id", F.col("margin_rate").cast(T.DecimalType(9, 6)).alias("_rate"))
    sound = order_lines.where(F.col("customer_id").isNotNull() & ~F.col("is_return") & ~F.col("is_outlier"))
    discount = _amount("retail_discount_amount") + _amount("coupon_match_amount")
    rate = F.coalesce("_rate", F.lit(default_rate).cast(T.DecimalType(9, 6)))
    margin = rate * (F.col("sales_amount") + discount) - discount
    return (
        sound.join(F.broadcast(rates), "product_id", "left")
        .groupBy("customer_id", "order_date")
        .agg(
            F.sum("sales_amount").cast(_EXACT).alias("sales_amount"),
            F.sum(margin.cast(_EXACT)).alias("margin_amount"),
            F.sum(discount).cast(_EXACT).alias("discount_amount"),
            F.count_distinct("basket_id").alias("order_count"),
        )
    )


def _amount(name: str) -> Expression:
    return F.coalesce(F.col(name), F.lit(0).cast(T.DecimalType(18, 2)))
