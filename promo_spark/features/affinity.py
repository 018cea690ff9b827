"""How much each customer leans to each category."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.features import AFFINITY, DESCRIBED_LINES
from promo_spark.contracts.step import produces
from promo_spark.contracts.table import AS_OF_DATE
from promo_spark.features.measures import money, share, sum_amount, when_sum


@produces(AFFINITY, lines=DESCRIBED_LINES)
def build_affinity(*, lines: DataFrame, as_of_date: date) -> DataFrame:
    """Compare each customer's spend by category with everyone's.

    Shares are of purchases, returns left out, over all history; everyone includes lines without a customer.

    Args:
        lines: features.lines, order lines before the date.
        as_of_date: Date of the features.

    Returns:
        features.affinity, one row per known customer and category bought.
    """
    sold = when_sum(~F.col("is_return"), F.col("sales_amount"))
    everyone = lines.groupBy("category").agg(sold.alias("_everyone_amount"))
    total = everyone.agg(F.sum("_everyone_amount").alias("_total_amount"))
    categories = everyone.crossJoin(F.broadcast(total)).select(
        "category", share(F.col("_everyone_amount"), F.col("_total_amount")).alias("_everyone_rate")
    )
    bought = (
        lines.where(F.col("customer_id").isNotNull())
        .groupBy("customer_id", "category")
        .agg(
            money(sum_amount(F.col("sales_amount"))).alias("spend_amount"),
            sold.alias("_bought_amount"),
            F.count_distinct(F.when(~F.col("is_return"), F.col("basket_id"))).alias("order_count"),
            F.max(F.when(~F.col("is_return"), F.col("order_date"))).alias("_last_date"),
        )
        .where(F.col("order_count") > 0)
    )
    own_total = F.sum("_bought_amount").over(Window.partitionBy("customer_id"))
    return (
        bought.withColumn("_customer_amount", own_total)
        .join(F.broadcast(categories), "category")
        .withColumn(AS_OF_DATE, F.lit(as_of_date))
        .withColumn("recency_days", F.datediff(F.lit(as_of_date), F.col("_last_date")))
        .withColumn("spend_share_rate", share(F.col("_bought_amount"), F.col("_customer_amount")))
        .withColumn("affinity_index", share(F.col("spend_share_rate"), F.col("_everyone_rate")))
    )
