"""Which segment and which value tier each customer is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from promo_spark.contracts.features import CUSTOMER_FEATURES
from promo_spark.contracts.segments import SEGMENT_CUSTOMERS
from promo_spark.contracts.step import produces
from promo_spark.segments.vectors import VECTOR

NEW_DAYS = 56
LAPSED_DAYS = 56
LAPSED_GAPS = 3.0
HIGH_VALUE_QUANTILE = 0.8


def order_by_value(labelled: DataFrame) -> dict[int, int]:
    """Number clusters by mean weekly spend, 0 the highest; an action over one row per cluster.

    Args:
        labelled: ``prediction`` and ``weekly_spend_amount`` per customer.

    Returns:
        segment_id by cluster.
    """
    means = labelled.groupBy("prediction").agg(F.avg("weekly_spend_amount").alias("spend"))
    ordered = means.orderBy(F.desc_nulls_last(F.round("spend", 6)), "prediction").collect()
    return {row["prediction"]: place for place, row in enumerate(ordered)}


def label_customers(
    *, points: DataFrame, segment_ids: Mapping[int, int], centres: Sequence[Sequence[float]]
) -> DataFrame:
    """Turn clusters into segments with the distance to their centres.

    Args:
        points: Customers with ``vector`` and ``prediction``.
        segment_ids: segment_id by cluster.
        centres: Centre of each cluster, in the order of clusters.

    Returns:
        The same rows with ``segment_id`` and ``distance``, lazily.
    """
    numbers = F.create_map(*(F.lit(value) for pair in sorted(segment_ids.items()) for value in pair))
    rows = F.array(*(F.array(*(F.lit(float(value)) for value in centre)) for centre in centres))
    gaps = F.zip_with(vector_to_array(F.col(VECTOR)), rows[F.col("prediction")], lambda a, b: (a - b) * (a - b))
    return points.withColumns(
        {
            "segment_id": numbers[F.col("prediction")],
            "distance": F.sqrt(F.aggregate(gaps, F.lit(0.0), lambda total, gap: total + gap)),
        }
    )


@produces(SEGMENT_CUSTOMERS, customers=CUSTOMER_FEATURES, segments=SEGMENT_CUSTOMERS)
def assign_value_tiers(*, customers: DataFrame, segments: DataFrame) -> DataFrame:
    """Add the value tier to each customer's segment.

    Rules, the first that holds: *new*, first bought at most 56 days before the date; *at-risk*, away for more
    than three of the customer's usual gaps or 56 days, whichever is longer; *high-value*, in the top fifth by
    spend of the last 91 days; *potential*, everybody else.

    Args:
        customers: features.customers of one date.
        segments: segments.customers without the tier, one row per customer.

    Returns:
        segments.customers.
    """
    everyone = Window.partitionBy("as_of_date")
    top = F.percentile("spend_91d_amount", F.lit(HIGH_VALUE_QUANTILE)).over(everyone)
    tiered = customers.select("customer_id", "as_of_date", value_tier(top).alias("value_tier"))
    return segments.drop("value_tier").join(tiered, ["customer_id", "as_of_date"], "inner")


def value_tier(top_spend: Column) -> Column:
    """The tier of a row of features.customers, given the spend that marks the top fifth."""
    usual_absence = F.greatest(LAPSED_GAPS * F.coalesce("order_gap_days", F.lit(0.0)), F.lit(float(LAPSED_DAYS)))
    return (
        F.when(F.col("tenure_days") <= NEW_DAYS, "new")
        .when(F.col("recency_days") > usual_absence, "at-risk")
        .when(F.col("spend_91d_amount") >= top_spend, "high-value")
        .otherwise("potential")
    )
