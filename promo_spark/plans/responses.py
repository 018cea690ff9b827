"""What each customer would be given at the shadow prices alone."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.decision_settings import AssignSettings
from promo_spark.plans.net_values import NET_VALUE


def respond_to_prices(*, priced: DataFrame, settings: AssignSettings) -> DataFrame:
    """Take the offers of positive net value, the best first, within the caps per category and customer.

    Taking the best that still fits is optimal where caps are nested (a laminar matroid: Edmonds, 1971).

    Args:
        priced: plans.offers with their net value.
        settings: The caps.

    Returns:
        customer_id and promotion_id of what would be given.
    """
    best = (F.desc(NET_VALUE), F.asc("promotion_id"))
    within = Window.partitionBy("customer_id", "category").orderBy(*best)
    overall = Window.partitionBy("customer_id").orderBy(*best)
    worth = priced.where(F.col(NET_VALUE) > 0)
    capped = worth.withColumn("_place", F.row_number().over(within)).where(F.col("_place") <= settings.per_category)
    taken = capped.withColumn("_place", F.row_number().over(overall))
    return taken.where(F.col("_place") <= settings.promotions_per_customer).select("customer_id", "promotion_id")
