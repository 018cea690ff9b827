"""What each customer spends, on what terms: amounts, trend, brands and promotions."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from promo_spark.features.measures import money, share, sum_amount, when_sum

_TREND_DAYS = 28


def summarise_spending(*, lines: DataFrame, as_of_date: date) -> DataFrame:
    """Sum each customer's sales over windows, and split recent purchases by how they were promoted.

    Shares are of purchases within the look-back; returns count in amounts only. A line for which a
    lever is unknown (no prices for its store and week, no brand) is in neither part nor whole.

    Args:
        lines: features.lines.
        as_of_date: The windows end the day before.

    Returns:
        One row per known customer: spend amounts, ``recent_spend_amount`` within the look-back,
        ``previous_28d_amount``, and the shares of spend.
    """
    sales = F.col("sales_amount")
    bought = F.col("is_recent") & ~F.col("is_return")

    def since(days: int) -> Expression:
        return F.col("order_date") >= F.lit(as_of_date - timedelta(days=days))

    previous = since(2 * _TREND_DAYS) & ~since(_TREND_DAYS)
    return (
        lines.where(F.col("customer_id").isNotNull())
        .groupBy("customer_id")
        .agg(
            money(sum_amount(sales)).alias("spend_amount"),
            money(when_sum(since(28), sales)).alias("spend_28d_amount"),
            money(when_sum(since(91), sales)).alias("spend_91d_amount"),
            money(when_sum(previous, sales)).alias("previous_28d_amount"),
            money(when_sum(F.col("is_recent"), sales)).alias("recent_spend_amount"),
            _spend_share(bought, F.col("is_private_brand")).alias("private_brand_rate"),
            _spend_share(bought, F.col("is_displayed")).alias("display_spend_rate"),
            _spend_share(bought, F.col("is_mailed")).alias("mailer_spend_rate"),
            _spend_share(bought, F.col("discount_amount") > 0).alias("discount_spend_rate"),
            share(
                when_sum(bought, F.col("discount_amount")),
                when_sum(bought & F.col("discount_amount").isNotNull(), F.col("regular_amount")),
            ).alias("discount_depth_rate"),
            F.avg(F.when(bought, F.col("has_coupon").cast("int"))).alias("coupon_line_rate"),
        )
    )


def spend_trend_rate() -> Expression:
    """Change of sales from the 28 days before last to the last 28, within ±1.

    Returns over purchases can make a window negative: it then counts as nothing bought. NULL while the
    customer has not been there for both windows.
    """
    recent = F.greatest("spend_28d_amount", F.lit(0)).cast("double")
    previous = F.greatest("previous_28d_amount", F.lit(0)).cast("double")
    change = F.when(previous > 0, recent / previous - 1).when(recent > 0, F.lit(1.0)).otherwise(F.lit(0.0))
    return F.when(F.col("tenure_days") >= 2 * _TREND_DAYS, F.least(change, F.lit(1.0)))


def _spend_share(bought: Expression, lever: Expression) -> Expression:
    sales = F.col("sales_amount")
    known = when_sum(bought & lever.isNotNull(), sales)
    return share(F.coalesce(when_sum(bought & lever, sales), F.lit(0)), known)
