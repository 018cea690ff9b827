"""The margin rate of a category, from those of its products."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

_RATE = T.DecimalType(9, 6)  # exact sums do not depend on the order of rows


def category_margins(*, product_features: DataFrame, planned_products: DataFrame, default_rate: float) -> DataFrame:
    """Average margin rates over the products of each planned category, weighted by what was sold.

    Args:
        product_features: features.products.
        planned_products: response.products.
        default_rate: Assumed where no product of a category has a rate.

    Returns:
        category, margin_rate (share of the regular price), is_margin_assumed (for at least one product).
    """
    known = product_features.select("product_id", F.col("margin_rate").cast(_RATE).alias("rate"), "is_margin_assumed")
    sold = planned_products.join(known, "product_id", "left")
    gross = F.col("gross_amount").cast(T.DecimalType(18, 2))
    weight = F.when(F.col("rate").isNotNull(), gross)
    mean = F.sum(F.col("rate") * weight).cast(T.DoubleType()) / F.sum(weight).cast(T.DoubleType())
    return sold.groupBy("category").agg(
        F.coalesce(mean, F.lit(default_rate)).alias("margin_rate"),
        F.coalesce(F.bool_or(F.coalesce("is_margin_assumed", F.lit(True))), F.lit(True)).alias("is_margin_assumed"),
    )
